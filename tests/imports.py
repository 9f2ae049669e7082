"""What the tests of imports share: files in their place, imports carried out, looks at what is there."""

from __future__ import annotations

import io
import json
import uuid
from typing import Any

from core.carrying import carry_on
from core.context import Context
from core.import_jobs import create_import_job, list_errors
from core.jobs import get_job
from models import Job
from tests.factories import rows
from tests.knowledge import a_file

ENDED = {"completed", "failed", "cancelled", "ignored"}


def jsonl(*documents: Any) -> bytes:
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in documents)


def an_export(*conversations: dict[str, Any]) -> bytes:
    """A file in our own format, without its end: what is cut off is told of."""
    import hashlib

    lines = jsonl({"format": "crontalk", "version": 1}, *conversations)
    said = sum(len(one["messages"]) for one in conversations)
    end = {
        "conversations": len(conversations),
        "messages": said,
        "sha256": hashlib.sha256(lines).hexdigest(),
    }
    return lines + json.dumps({"end": end}, separators=(",", ":")).encode() + b"\n"


def a_talk(key: str, *texts: str, **fields: Any) -> dict[str, Any]:
    """A conversation in our own format; user and bot take turns, a second apart."""
    messages = [
        {
            "key": f"m{at}",
            "type": "user" if at % 2 else "bot",
            "text": text,
            "createdAt": f"2025-03-01T{10 + at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}.123456+00:00",
        }
        for at, text in enumerate(texts, 1)
    ]
    return {"key": key, "title": f"About {key}", "messages": messages, **fields}


def an_import(context: Context, account: uuid.UUID, content: bytes, name: str = "e", **options: Any) -> Job:
    """An import of a file that has just been uploaded."""
    file = a_file(context, account, content, "application/octet-stream", name)
    with context.transaction(account, actor="tests") as session:
        return create_import_job(session, file.id, **options)


def imported(context: Context, account: uuid.UUID, content: bytes, name: str = "e", **options: Any) -> Job:
    """An import that was carried out to its end."""
    job = an_import(context, account, content, name, **options)
    carry(context, job.id)
    return the_job(context, account, job.id)


def carry(context: Context, job_id: uuid.UUID) -> str:
    while True:
        word = carry_on(context, job_id)
        if word in ENDED | {"lost", "paced"}:
            return word


def the_job(context: Context, account: uuid.UUID, job_id: uuid.UUID) -> Job:
    with context.transaction(account) as session:
        return get_job(session, job_id)[0]


def counts(job: Job) -> tuple[Any, ...]:
    """Its state, and its rows: with something new, with nothing new, failed."""
    return job.state, job.total, job.done, job.skipped, job.failed


def errors(context: Context, account: uuid.UUID, job: Job) -> list[tuple[int, str]]:
    with context.transaction(account) as session:
        return [(one.row, one.code) for one in list_errors(session, job_id=job.id)]


def talks(context: Context, account: uuid.UUID) -> list[dict[str, Any]]:
    """The account's conversations, oldest first, with their messages in order."""
    found = rows(
        context,
        "SELECT id, name, description, source, meta, bot_id, contact_id, privacy, next_seq, last_message_at,"
        " created_at, updated_at FROM conversations WHERE account_id = :account ORDER BY created_at, id",
        account=account,
    )
    said = "SELECT * FROM messages WHERE conversation_id = :id ORDER BY seq"
    return [{**talk, "messages": rows(context, said, id=talk["id"])} for talk in found]


def texts(talk: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["type"], message["text"]) for message in talk["messages"]]


def a_stream(content: bytes) -> io.BytesIO:
    return io.BytesIO(content)
