"""Turns of the API under a key: plain, with a bot that acts on the world, and with personal data."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.skillsets import create_ability, create_skillset
from tests.acceptance.storm.parts import Answer, Part, Stage
from tests.factories import a_bot, rows
from tests.hook_server import Conversation, HookServer

HEARD = "The model heard: "
ASKED = (
    "SELECT m.text, r.id::text AS run, r.state, ARRAY(SELECT a.id::text FROM messages a"
    " WHERE a.run_id = r.id AND a.step = 'reply') AS replies, ARRAY(SELECT a.step FROM messages a"
    " WHERE a.run_id = r.id AND a.type = 'activity' ORDER BY a.seq) AS acts"
    " FROM messages m LEFT JOIN runs r ON r.id = m.run_id"
    " WHERE m.account_id = :account AND m.type = 'user'"
)
RUNS = "SELECT count(*) AS n FROM runs WHERE account_id = :account"
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
DONE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\ntrue"


@dataclass(frozen=True)
class Turn:
    """What was asked under a key, and what the client was told: once, and when it asked again."""

    word: str
    said: str
    first: Answer
    again: Answer


class Turns(Part):
    """A client that hangs up, asks again under its key, and asks once more when it knows the answer."""

    called = "turns"
    each = 5  # turns of a conversation

    def __init__(self, stage: Stage, number: int) -> None:
        super().__init__(stage, number)
        self.bot = str(self.store(self.a_bot))
        self.turns: list[Turn] = []
        self.talk = ""

    def a_bot(self) -> uuid.UUID:
        return a_bot(self.stage.context, self.account, name=self.name).id

    def saying(self, word: str) -> str:
        return f"Say something of {word}"

    def act(self) -> None:
        if len(self.turns) % self.each == 0:
            self.talk = self.write("/conversation/create", {"botId": self.bot}).said["id"]
        word, key = self.a_word(), uuid.uuid4().hex
        path, body = f"/conversation/{self.talk}/complete", {"text": self.saying(word)}
        first = self.write(path, body, key)
        self.turns.append(Turn(word, body["text"], first, self.write(path, body, key)))

    def stored(self) -> dict[str, list[dict[str, Any]]]:
        """What the user has said, by its word."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in rows(self.stage.context, ASKED, account=self.account):
            found.setdefault(row["text"].split()[-1], []).append(row)
        return found

    def wrong(self) -> Iterator[str]:
        stored = self.stored()
        for turn in self.turns:
            yield from self._wrong_of(turn, stored.pop(turn.word, []))
        if len(stored) > 1:  # the last one may not have been answered
            yield f"{len(stored)} messages that nobody has sent"
        runs = rows(self.stage.context, RUNS, account=self.account)[0]["n"]
        if not len(self.turns) <= runs <= len(self.turns) + 1:
            yield f"{runs} turns where {len(self.turns)} were asked for"

    def _wrong_of(self, turn: Turn, stored: list[dict[str, Any]]) -> Iterator[str]:
        if turn.again != turn.first:
            yield f"{turn.word} was answered {turn.first.status} and then {turn.again.status} in other words"
        if len(stored) != 1:
            yield f"{turn.word} is stored {len(stored)} times"
            return
        row, good = stored[0], turn.first.status == 200
        if row["replies"] != ([turn.first.said["id"]] if good else []):
            yield f"{turn.word} was answered {turn.first.status} and has {len(row['replies'])} replies"
        if good and turn.first.said["text"] != HEARD + turn.said:
            yield f"{turn.word} was answered in words that nobody has said"
        yield from self.wrong_acts(turn, row)

    def wrong_acts(self, turn: Turn, row: dict[str, Any]) -> Iterator[str]:
        if row["acts"]:
            yield f"{turn.word} has acted"

    def figures(self) -> dict[str, Any]:
        ends = Counter(turn.first.status for turn in self.turns)
        return {"turns": len(self.turns), "answered": ends[200], "failed": len(self.turns) - ends[200]}


class Private(Turns):
    """Each says an address. It is told back to its caller, and is nowhere else."""

    called = "privacy"

    def __init__(self, stage: Stage, number: int) -> None:
        self.mark = f"canary-{uuid.uuid4().hex[:8]}"
        super().__init__(stage, number)

    def a_bot(self) -> uuid.UUID:
        return a_bot(self.stage.context, self.account, name=self.name, privacy=True).id

    def saying(self, word: str) -> str:
        return f"Write to {self.mark}.{len(self.turns)}@leak.example.com of {word}"


class Tools(Turns):
    """A bot that tells the world, once for each turn; the world hangs up now and then."""

    called = "tools"
    each = 1

    def __init__(self, stage: Stage, number: int) -> None:
        self.world = HookServer()
        self.world.__enter__()
        self.heard: dict[str, set[str]] = {}
        self.requests = 0
        super().__init__(stage, number)
        self.world.before_request = self._told

    def a_bot(self) -> uuid.UUID:
        action = {"type": "request", "method": "POST", "url": self.world.url(), "body": {"at": "{place}"}}
        with self.stage.context.transaction(self.account) as session:
            skills = create_skillset(session, name="Skills")
            create_ability(
                session, skills.id, name="notify", description="Tells.", parameters=PLACE, action=action
            )
        model = f"notifying:{self.stage.seed}"
        return a_bot(self.stage.context, self.account, name=self.name, skillset_id=skills.id, model=model).id

    def _told(self, conversation: Conversation) -> None:
        asked = self.world._read(conversation.sock)
        self.requests += 1
        if len(asked.body) != int(asked.headers.get("content-length", "-1")):
            return
        self.heard.setdefault(asked.headers["idempotency-key"], set()).add(json.loads(asked.body)["at"])
        if self.requests % 11:
            conversation.sock.sendall(DONE)

    def wrong(self) -> Iterator[str]:
        yield from super().wrong()
        said = [word for words in self.heard.values() for word in words]
        if any(len(words) != 1 for words in self.heard.values()):
            yield "one key stands for several effects"
        yield from (f"{word} had {n} effects" for word, n in Counter(said).items() if n > 1)

    def wrong_acts(self, turn: Turn, row: dict[str, Any]) -> Iterator[str]:
        if turn.first.status != 200:
            return
        if row["acts"] != ["note.1", "answer.1"]:
            yield f"{turn.word} was answered and its acts are {row['acts']}"
        if self.heard.get(f"{row['run']}-note.1") != {turn.word}:
            yield f"{turn.word} was answered and had no effect"

    def finish(self) -> None:
        self.world.__exit__()

    def figures(self) -> dict[str, Any]:
        return super().figures() | {"effects": len(self.heard), "requests": self.requests}
