"""Somebody who talks over a WebSocket that breaks, comes back, and is told everything once."""

from __future__ import annotations

import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from core.accounts import create_token
from tests.acceptance.storm.parts import Part, Stage
from tests.factories import a_bot, a_contact, a_conversation, rows
from tests.sockets import Frame, Talk

ANSWER = 20.0  # seconds that an answer is waited for before the next word
SAID = (
    "SELECT id::text, type, text FROM messages WHERE account_id = :account AND type IN ('user', 'bot')"
    " AND NOT COALESCE((meta ->> 'hidden')::bool, false) ORDER BY seq"
)


@dataclass
class Saying:
    """A message on its way: under a name of its own, until its receipt has come."""

    word: str
    name: str
    sent: bool = False
    received: str = ""
    ended: bool = False


class Sockets(Part):
    """One conversation; the place in it is that of the last message that was told."""

    called = "sockets"

    def __init__(self, stage: Stage, number: int) -> None:
        super().__init__(stage, number)
        context = stage.context
        contact = a_contact(context, self.account, name="Grace", fingerprint=self.name)
        bot = a_bot(context, self.account, name=self.name)
        self.talk_id = str(a_conversation(context, self.account, contact_id=contact.id, bot_id=bot.id).id)
        with context.transaction(self.account) as session:
            self.secret = create_token(session, self.account, self.name, contact_id=contact.id)[1]
        self.place = 0
        self.told: Counter[str] = Counter()
        self.sayings: list[Saying] = []
        self.connections = 0
        self.line: Talk | None = None

    def act(self) -> None:
        saying = Saying(self.a_word(), uuid.uuid4().hex)
        self.sayings.append(saying)
        self.insist(lambda: self._goes_on(saying) or None)
        end = time.monotonic() + ANSWER
        while not saying.ended and time.monotonic() < end:
            self._goes_on(saying)

    def _goes_on(self, saying: Saying) -> bool:
        """Takes a frame, or comes back; whether the receipt has come."""
        try:
            line = self.line or self._came_back(saying)
            if not saying.sent:
                saying.sent = True
                line.say(f"Say {saying.word}", self.talk_id, id=saying.name)
            self._take(line.next(1.0), saying)
            if self.drawn.random() < 0.05:
                self._break_off()
        except TimeoutError:
            pass
        except (OSError, EOFError, WebSocketException):
            self._break_off()
            time.sleep(0.2)
        return bool(saying.received)

    def _came_back(self, saying: Saying | None) -> Talk:
        port = self.drawn.choice(self.stage.ports)
        self.line = Talk(
            connect(
                f"ws://127.0.0.1:{port}/ws?after={self.talk_id}:{self.place}",
                additional_headers={"Authorization": f"Bearer {self.secret}"},
                proxy=None,
                compression=None,
                open_timeout=5,
                close_timeout=1,
            )
        )
        self.connections += 1
        if saying:
            saying.sent = bool(saying.received)
        return self.line

    def _take(self, frame: Frame, saying: Saying) -> None:
        kind = frame["type"]
        if kind == "message":
            self.told[frame["message_id"]] += 1
            self.place = max(self.place, frame["seq"])
            saying.ended |= frame["sender"] == "bot" and saying.word in frame["content"]
        elif kind == "status" and frame["status"] == "delivered" and frame.get("id") == saying.name:
            if saying.received not in {"", frame["message_id"]}:
                self.trouble.append(f"{saying.word} has two receipts")
            saying.received = frame["message_id"]
        elif kind == "error" and frame["error"] == "turn_failed":
            saying.ended = bool(saying.received)
        elif kind == "error":
            saying.sent = bool(saying.received)
            time.sleep(0.2)

    def _break_off(self) -> None:
        """Without a word, as a network does."""
        line, self.line = self.line, None
        if line:
            with suppress(OSError):
                line.connection.socket.shutdown(socket.SHUT_RDWR)
            with suppress(OSError, EOFError, WebSocketException):
                line.close()

    def finish(self) -> None:
        """Comes back once more, to be told what was missed."""
        self._break_off()
        self.insist(self._caught_up)
        self._break_off()

    def _caught_up(self) -> bool | None:
        last = Saying("", "")
        with suppress(OSError, EOFError, WebSocketException):
            line = self._came_back(None)
            while True:
                frame = line.next(20)
                self._take(frame, last)
                if frame.get("status") == "resumed":
                    return True
        self._break_off()
        return None

    def wrong(self) -> Iterator[str]:
        stored = rows(self.stage.context, SAID, account=self.account)
        words = Counter(row["text"] for row in stored if row["type"] == "user")
        for saying in self.sayings:
            if (n := words[f"Say {saying.word}"]) != 1 and (saying.received or n):
                yield f"{saying.word} is stored {n} times"
        yield from (f"message {one} was told {n} times" for one, n in self.told.items() if n > 1)
        own = {saying.received for saying in self.sayings}
        for row in stored:
            if row["id"] not in self.told and row["id"] not in own:
                yield f"message {row['id']} ({row['type']}) was told to nobody"
        for one in self.told.keys() - {row["id"] for row in stored}:
            yield f"message {one} was told and is not stored"

    def figures(self) -> dict[str, Any]:
        return {"said": len(self.sayings), "told": len(self.told), "connections": self.connections}
