"""Long work in the storm: imports of files, again and at once, and deletions that race the replies."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.blobs import open_writing
from core.exporters.jsonl import written
from core.file_names import Described
from core.import_jobs import create_import_job, start_import_file
from core.importers.records import Conversation, Message
from core.jobs import get_job
from models import Job
from tests.acceptance.storm.parts import Part
from tests.deletions import a_deletion
from tests.factories import a_bot, rows

TALKS, EACH = 20, 10  # conversations of a file, and messages of each
WORDS = 30  # messages of a conversation that is emptied
IN_PLACE = (
    "SELECT c.name, count(*) AS n, count(DISTINCT m.text) AS texts, count(*) FILTER"
    " (WHERE m.text = 'Word ' || (m.seq - 1) || ' of ' || c.name) AS right"
    " FROM conversations c JOIN messages m ON m.conversation_id = c.id WHERE c.account_id = :account"
    " GROUP BY c.id, c.name"
)
QUOTED = (
    "SELECT m.type, m.created_at, m.text FROM messages m"
    " WHERE m.account_id = :account AND m.conversation_id = :talk"
)
RECEIPTS = "SELECT COALESCE(sum(messages), 0)::int AS n FROM erasures WHERE job_id = :id"


class Jobs(Part):
    """What asks for a job, and waits until it has ended."""

    def _ended(self, job_id: uuid.UUID) -> Job:
        return self.insist(lambda: self._if_ended(job_id))

    def _if_ended(self, job_id: uuid.UUID) -> Job | None:
        job = self.store(lambda: self._read(job_id))
        return job if job.finished_at else None

    def _read(self, job_id: uuid.UUID) -> Job:
        with self.stage.context.transaction(self.account) as session:
            return get_job(session, job_id)[0]


class Imports(Jobs):
    """Files, half of them a second time, half of them twice at once: each conversation is there once."""

    called = "imports"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.files = 0
        self.jobs: list[Job] = []

    def act(self) -> None:
        number = self.drawn.randrange(self.files) if self.files and self.drawn.random() < 0.5 else self.files
        self.files = max(self.files, number + 1)
        asked = [self.store(lambda: self._asked(number)) for _ in range(self.drawn.choice((1, 2)))]
        self.jobs += [self._ended(job) for job in asked]

    def _asked(self, number: int) -> uuid.UUID:
        context = self.stage.context
        with context.transaction(self.account) as session:
            blob = start_import_file(session, Described("e", "application/octet-stream"))
            writing = open_writing(context, session, blob)
        for line in written(_talks(number)):
            writing.add(line)
        writing.finish()
        with context.transaction(self.account) as session:
            return create_import_job(session, str(blob.file_id)).id

    def wrong(self) -> Iterator[str]:
        for job in self.jobs:
            if (str(job.state), job.failed, job.done + job.skipped) != ("completed", 0, job.total):
                counts = f"{job.done} + {job.skipped} + {job.failed} of {job.total}"
                yield f"import {job.id} is {job.state} with {counts}"
        found = rows(self.stage.context, IN_PLACE, account=self.account)
        names = sorted(row["name"] for row in found)
        if names != sorted(_name(file, talk) for file in range(self.files) for talk in range(TALKS)):
            yield f"{len(names)} conversations where {self.files * TALKS} were imported"
        for row in found:
            if (row["n"], row["texts"], row["right"]) != (EACH, EACH, EACH):
                yield f"{row['name']} has {row['n']} messages, {row['right']} in their places"

    def figures(self) -> dict[str, Any]:
        return {"files": self.files, "jobs": len(self.jobs), "messages": self.files * TALKS * EACH}


def _name(file: int, talk: int) -> str:
    return f"talk {talk} of file {file}"


def _talks(file: int) -> Iterator[Conversation]:
    for talk in range(TALKS):
        name = _name(file, talk)
        said = tuple(Message(str(n), ("user", "bot")[n % 2], f"Word {n} of {name}") for n in range(EACH))
        yield Conversation(name, name, messages=said)


@dataclass(frozen=True)
class Emptied:
    """A conversation all of whose messages were deleted while a bot answered in it."""

    talk: str
    words: tuple[str, ...]
    job: Job
    at: datetime


class Deletions(Jobs):
    """Empties conversations at a pace while a bot that repeats everything is answering in them."""

    called = "deletions"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        model = f"repeating:{self.stage.seed}"
        made = self.store(lambda: a_bot(self.stage.context, self.account, name=self.name, model=model))
        self.bot = str(made.id)
        self.emptied: list[Emptied] = []

    def act(self) -> None:
        words = tuple(self.a_word() for _ in range(WORDS))
        said = [{"type": "user", "text": f"Remember {word}"} for word in words]
        made = self.write("/conversation/create", {"botId": self.bot, "messages": said}).said
        self.write(f"/conversation/{made['id']}/dispatch", {"text": "What do you remember?"})
        time.sleep(self.drawn.uniform(0, 1.5))
        job = self.store(lambda: self._asked(made["id"]))
        ended = self._ended(job)
        assert ended.finished_at
        self.emptied.append(Emptied(made["id"], words, ended, ended.finished_at))

    def _asked(self, talk: str) -> uuid.UUID:
        return a_deletion(
            self.stage.context, self.account, rate="20/s", actor="storm", conversation_id=talk
        ).id

    def wrong(self) -> Iterator[str]:
        for one in self.emptied:
            job = one.job
            counted = rows(self.stage.context, RECEIPTS, id=job.id)[0]["n"]
            if (str(job.state), job.failed, job.done) != ("completed", 0, counted):
                yield f"deletion {job.id} is {job.state}: {job.done} deleted, {counted} in its receipts"
            for row in rows(self.stage.context, QUOTED, account=self.account, talk=one.talk):
                if row["type"] == "user":
                    yield f"a message of {one.talk} has outlived its deletion"
                elif row["created_at"] > one.at and any(word in row["text"] for word in one.words):
                    yield f"a reply in {one.talk} was made from what was deleted"

    def figures(self) -> dict[str, Any]:
        deleted = sum(one.job.done for one in self.emptied)
        discarded = "SELECT count(*) AS n FROM run_steps s JOIN runs r ON r.id = s.run_id"
        where = " WHERE r.account_id = :account AND s.outcome = 'discarded'"
        again = rows(self.stage.context, discarded + where, account=self.account)[0]["n"]
        return {"deletions": len(self.emptied), "messages": deleted, "answers discarded": again}
