"""Parts of the program that a storm may rage over beside its tasks: each a caller with a tenant of its own.

A part acts until the storm is over, brings what it has begun to an end, and knows what must have come of it.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from core.accounts import create_token
from core.context import Context
from core.errors import Unavailable
from tests.factories import an_account, rows

T = TypeVar("T")

REFUSED = -1  # nobody listened
UNHEARD = {0, REFUSED, 429, 503}
PATIENCE = 120.0  # seconds that somebody goes on asking after the storm
WEATHER = {"provider_error", "quota", "timeout", "empty_output", "poison"}
NOT_ENDED = "SELECT count(*) AS n FROM runs WHERE account_id = :account AND finished_at IS NULL"
FAILED = "SELECT id::text, error_class FROM runs WHERE account_id = :account AND state = 'failed'"


class GaveUp(Exception):
    """The storm has been over for long, and still no answer."""


@dataclass(frozen=True)
class Stage:
    """Where the parts act: the database itself for what they prepare, the ports of the API for the rest."""

    context: Context
    ports: Sequence[int]
    seed: int


@dataclass(frozen=True)
class Answer:
    """Of a request: how it ended, and what it said."""

    status: int
    said: dict[str, Any]

    @property
    def is_final(self) -> bool:
        """Whether asking again could tell more: a turn that goes on is asked for again."""
        goes_on = self.status == 408 and "goes on" in str(self.said.get("message"))
        return self.status not in UNHEARD and not goes_on


class Part(threading.Thread, ABC):
    """One caller. What goes wrong on its side is in `trouble`."""

    called: ClassVar[str]
    pause: ClassVar[tuple[float, float]] = (0.2, 1.0)

    def __init__(self, stage: Stage, number: int) -> None:
        super().__init__(name=f"{self.called}-{number}", daemon=True)
        self.stage = stage
        self.drawn = random.Random(f"{stage.seed}/{self.name}")
        self.account = an_account(stage.context, self.name)
        with stage.context.transaction() as session:
            self.token = create_token(session, self.account, "storm")[1]
        self.over = threading.Event()
        self.trouble: list[str] = []
        self._until = float("inf")

    @abstractmethod
    def act(self) -> None:
        """Does one thing, to its end."""

    def finish(self) -> None:
        """What is left to be looked at once all is quiet."""

    @abstractmethod
    def wrong(self) -> Iterator[str]:
        """What has not become as it must."""

    def figures(self) -> dict[str, Any]:
        return {}

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self.act()
                self.over.wait(self.drawn.uniform(*self.pause))
        except Exception as error:  # noqa: BLE001 (it is told in the report)
            self.trouble.append(f"{type(error).__name__}: {error}")

    def end(self) -> None:
        self._until = time.monotonic() + PATIENCE
        self.over.set()

    def judged(self) -> list[str]:
        """Everything that is wrong, a sentence each."""
        here = {"account": self.account}
        found = [*self.trouble, *self.wrong()]
        if self.is_alive():
            found.append("it still waits for an answer")
        if left := rows(self.stage.context, NOT_ENDED, **here)[0]["n"]:
            found.append(f"{left} runs have not ended")
        found += [
            f"run {run['id']} failed with {run['error_class']}"
            for run in rows(self.stage.context, FAILED, **here)
            if run["error_class"] not in WEATHER
        ]
        return [f"{self.name}: {sentence}" for sentence in found]

    def insist(self, ask: Callable[[], T | None]) -> T:
        """Asks until there is an answer.

        Raises:
            GaveUp: the storm has been over for two minutes.

        """
        while (found := ask()) is None:
            if time.monotonic() > self._until:
                raise GaveUp(f"no answer {PATIENCE:.0f} seconds after the storm")
            time.sleep(self.drawn.uniform(0.05, 0.3))
        return found

    def store(self, work: Callable[[], T]) -> T:
        """Does something to the database itself, again as long as it is away: twice where that is unknown."""
        return self.insist(lambda: _unless_away(work))[0]

    def write(self, path: str, body: object, key: str | None = None) -> Answer:
        """The answer of a write, asked for under one key until it comes. At times we hang up on it."""
        named = key or uuid.uuid4().hex

        def ask() -> Answer | None:
            answer = self._sent(path, body, named)
            if answer.status >= 500 and answer.status != 503:
                raise AssertionError(f"{path} answered {answer.status}")
            return answer if answer.is_final else None

        return self.insist(ask)

    def _sent(self, path: str, body: object, key: str) -> Answer:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        patience = self.drawn.uniform(0.01, 1.5) if self.drawn.random() < 0.3 else 15.0
        link = http.client.HTTPConnection("127.0.0.1", self.drawn.choice(self.stage.ports), timeout=patience)
        try:
            link.request("POST", f"/api/v1{path}", json.dumps(body), headers)
            answer = link.getresponse()
            return Answer(answer.status, json.loads(answer.read()))
        except ConnectionRefusedError:
            return Answer(REFUSED, {})
        except (OSError, http.client.HTTPException, ValueError):
            return Answer(0, {})
        finally:
            link.close()

    def a_word(self) -> str:
        """One that nobody has said yet, and that is nobody's name or number."""
        return "xq" + "".join(self.drawn.choices("bcdfghjklmnpqrstvwz", k=14))


def _unless_away(work: Callable[[], T]) -> tuple[T] | None:
    try:
        return (work(),)
    except Unavailable:
        return None
