"""What is asked of the installation, and what is therefore expected of it, computed outside of it."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from core.accounts import create_token
from core.backfills import create_backfill
from core.context import Context
from tests.acceptance.storm.telling import subscribe
from tests.factories import an_account
from tests.hook_server import HookServer

TENANTS = 3
MANUAL = 12
TICKERS = 3
TICK = timedelta(seconds=3)
PAST = 40  # instants of a backfill
WATCHED = 30
AT_ONCE = 5000  # tasks that one statement stores
LATEST_CREATE = 10.0

SEED = text(
    "WITH given AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:accounts AS uuid[]),"
    "  CAST(:names AS text[]), CAST(:actions AS text[]), CAST(:schedules AS text[]),"
    "  CAST(:dues AS timestamptz[])) AS g (id, account, name, action, schedule, due)),"
    " made AS (INSERT INTO tasks (id, account_id, bot_id, name, description, action, schedule)"
    "  SELECT g.id, g.account, b.id, g.name, '[' || g.name || '] Say something.', g.action, g.schedule"
    "  FROM given g JOIN bots b ON b.account_id = g.account)"
    " INSERT INTO task_clocks (task_id, account_id, next_run_at) SELECT id, account, due FROM given"
)


@dataclass(frozen=True)
class Planned:
    """A task of ours before it is stored; due once unless it ticks or waits to be triggered."""

    id: uuid.UUID
    account: int
    name: str
    action: str
    schedule: str | None
    due: datetime | None


@dataclass(frozen=True)
class Op:
    """One request and what its client knows: `ok`, `failed` (nothing may have happened) or `unknown`."""

    kind: str
    target: str
    outcome: str
    asked_at: float
    answered_at: float
    answer: dict[str, Any] = field(default_factory=dict, hash=False)
    due: datetime | None = None


@dataclass
class World:
    """The tenants, the tasks stored before the storm, and everything the clients have asked since."""

    accounts: list[uuid.UUID]
    tokens: list[str]
    seeded: list[Planned]
    manual: list[Planned]
    tickers: list[Planned]
    past: list[datetime] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    history: list[Op] = field(default_factory=list)

    def of(self, kind: str, *outcomes: str) -> list[Op]:
        return [op for op in self.history if op.kind == kind and op.outcome in outcomes]


def prepare(
    context: Context, server: HookServer, *, seed: int, occurrences: int, start: datetime, seconds: float
) -> World:
    """Stores the tasks, due during the storm; half by a date, half by a cron that comes months later.

    Some tell the server what becomes of them, and the first of those that tick runs a piece of its past.
    """
    drawn = random.Random(f"{seed}/tasks")
    accounts = [an_account(context, f"tenant {number}") for number in range(TENANTS)]
    with context.transaction() as session:
        tokens = [create_token(session, account, "storm")[1] for account in accounts]
    dues = sorted(
        start + timedelta(milliseconds=int(drawn.uniform(0, seconds) * 1000)) for _ in range(occurrences)
    )
    far = f"0 0 1 {(start.month + 5) % 12 + 1} *"
    seeded = [
        Planned(
            _id(drawn),
            number % TENANTS,
            f"seeded-{number}",
            "send" if drawn.random() < 0.1 else "complete",
            written(due) if number % 2 else far,
            due,
        )
        for number, due in enumerate(dues)
    ]
    manual = [Planned(_id(drawn), n % TENANTS, f"manual-{n}", "complete", None, None) for n in range(MANUAL)]
    tickers = [
        Planned(_id(drawn), n % TENANTS, f"ticker-{n}", "complete", "@every 3s", start)
        for n in range(TICKERS)
    ]
    _store(context, accounts, [*seeded, *manual, *tickers])
    world = World(accounts, tokens, seeded, manual, tickers)
    watched = [*tickers, *manual, *seeded[:WATCHED]]
    world.secrets = subscribe(context, server, [(accounts[task.account], task.id) for task in watched])
    world.past = [start - timedelta(hours=1) + TICK * number for number in range(PAST)]
    with context.transaction(accounts[0]) as session:
        create_backfill(session, tickers[0].id, world.past[0], world.past[-1] + TICK, at_once=4)
    return world


def written(due: datetime) -> str:
    return f"{due:%Y-%m-%dT%H:%M:%S}.{due.microsecond // 1000:03d}Z"


def _id(drawn: random.Random) -> uuid.UUID:
    return uuid.UUID(int=drawn.getrandbits(128), version=4)


def _store(context: Context, accounts: Sequence[uuid.UUID], planned: Sequence[Planned]) -> None:
    for start in range(0, len(planned), AT_ONCE):
        _store_some(context, accounts, planned[start : start + AT_ONCE])


def _store_some(context: Context, accounts: Sequence[uuid.UUID], planned: Sequence[Planned]) -> None:
    with context.transaction() as session:
        session.execute(
            SEED,
            {
                "ids": [task.id for task in planned],
                "accounts": [accounts[task.account] for task in planned],
                "names": [task.name for task in planned],
                "actions": [task.action for task in planned],
                "schedules": [task.schedule for task in planned],
                "dues": [task.due for task in planned],
            },
        )


class Client(threading.Thread):
    """One caller of the API; asks until it is told to stop, and never hides what it does not know."""

    def __init__(self, world: World, ports: Sequence[int], number: int, seed: int, ends_at: float) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.world, self.ports, self.number, self.ends_at = world, ports, number, ends_at
        self.drawn = random.Random(f"{seed}/client/{number}")
        self.tenant = number % TENANTS
        self.done = threading.Event()
        self.count = 0

    def run(self) -> None:
        asks: list[tuple[Callable[[], Op | None], int]] = [
            (self._create, 6),
            (self._trigger, 6),
            (self._trigger_a_scheduled_one, 1),
            (self._cancel_a_run, 3),
            (self._cancel_a_task, 1),
            (self._delete_a_task, 1),
            (self._delete_a_conversation, 2),
        ]
        while not self.done.is_set():
            ask = self.drawn.choices([a for a, _ in asks], [share for _, share in asks])[0]
            op = ask()
            if op:
                self.world.history.append(op)
            self.done.wait(self.drawn.uniform(0.3, 1.2))

    def _create(self) -> Op | None:
        if time.time() > self.ends_at - LATEST_CREATE:
            return None
        self.count += 1
        name = f"created-{self.number}-{self.count}"
        due = datetime.now(UTC) + timedelta(seconds=self.drawn.uniform(4, 8))
        due = due.replace(microsecond=due.microsecond // 1000 * 1000)
        body = {"name": name, "description": f"[{name}] Say something.", "schedule": written(due)}
        return self._ask("create", name, "/task/create", body, due)

    def _trigger(self) -> Op | None:
        return self._ask_task("trigger", self._one_of(self.world.manual))

    def _trigger_a_scheduled_one(self) -> Op | None:
        """About when it is due, so that its occurrence meets a run under way."""
        soon = datetime.now(UTC) + timedelta(seconds=0.5)
        mine = [t for t in self.world.seeded if t.account == self.tenant and t.due and t.due > soon]
        return self._ask_task("trigger", mine[0]) if mine else None

    def _cancel_a_run(self) -> Op | None:
        known = [op for op in self.world.of("trigger", "ok") if op.answered_at > time.time() - 5]
        if not known:
            return None
        run = str(self.drawn.choice(known).answer["runId"])
        return self._ask("cancel run", run, f"/run/{run}/cancel", {})

    def _cancel_a_task(self) -> Op | None:
        return self._ask_task("cancel", self._one_of(self.world.manual))

    def _delete_a_task(self) -> Op | None:
        return self._ask_task("delete", self._one_of(self.world.seeded))

    def _delete_a_conversation(self) -> Op | None:
        status, found = self._send("GET", "/conversation/list?take=20", None)
        if status != 200 or not found.get("items"):
            return None
        chosen = self.drawn.choice(found["items"])
        op = self._ask("delete conversation", chosen["id"], f"/conversation/{chosen['id']}/delete", {})
        op.answer["runId"] = chosen.get("runId")
        return op

    def _one_of(self, tasks: Sequence[Planned]) -> Planned:
        return self.drawn.choice([task for task in tasks if task.account == self.tenant])

    def _ask_task(self, verb: str, task: Planned) -> Op:
        return self._ask(verb, str(task.id), f"/task/{task.id}/{verb}", {})

    def _ask(self, kind: str, target: str, path: str, body: object, due: datetime | None = None) -> Op:
        asked_at = time.time()
        status, answer = self._send("POST", path, body)
        # 503 says "try again": the commit may have been carried out and its answer lost.
        outcome = (
            "ok" if status == 200 else "failed" if 400 <= status < 500 or status == REFUSED else "unknown"
        )
        return Op(kind, target, outcome, asked_at, time.time(), {**answer, "status": status}, due)

    def _send(self, verb: str, path: str, body: object) -> tuple[int, dict[str, Any]]:
        token = self.world.tokens[self.tenant]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        link = http.client.HTTPConnection("127.0.0.1", self.drawn.choice(self.ports), timeout=15)
        try:
            link.request(verb, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
            answer = link.getresponse()
            return answer.status, json.loads(answer.read())
        except ConnectionRefusedError:
            return REFUSED, {}
        except (OSError, http.client.HTTPException, ValueError):
            return 0, {}
        finally:
            link.close()


REFUSED = -1  # nobody listened: the request was never sent
