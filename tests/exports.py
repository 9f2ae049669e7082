"""What the tests of exports share: an export asked for, carried out, and what is in its file."""

from __future__ import annotations

import uuid
from typing import Any

from core.blobs import read_stored
from core.carrying import carry_on
from core.context import Context
from core.exports import create_export_job
from core.files import open_file
from core.importers import Conversation, Source, read
from core.jobs import get_job
from models import Job
from tests.factories import execute, rows

PII = ("read", "write", "pii:read")


def an_export(
    context: Context,
    account: uuid.UUID,
    format: str = "crontalk",  # noqa: A002
    *,
    mode: str = "redacted",
    gzip: bool = False,
    bom: bool = False,
    **wanted: Any,
) -> Job:
    """An export that was asked for by somebody who may read originals; of everything unless told."""
    with context.transaction(account, actor="tests") as session:
        return create_export_job(
            session, format, wanted or {"all": True}, mode=mode, gzip=gzip, bom=bom, scopes=PII
        )


def exported(context: Context, account: uuid.UUID, *words: Any, **fields: Any) -> bytes:
    """What is in the file of an export that was carried out to its end."""
    job = an_export(context, account, *words, **fields)
    finish(context, job.id)
    return content(context, account, job.id)


def finish(context: Context, job_id: uuid.UUID) -> None:
    while (word := carry_on(context, job_id)) in {"sliced", "paced"}:
        pass
    assert word == "completed"


def content(context: Context, account: uuid.UUID, job_id: uuid.UUID) -> bytes:
    with context.transaction(account) as session:
        job = get_job(session, job_id)[0]
        assert job.file_id
        stored = open_file(session, job.file_id, PII)
    return b"".join(read_stored(context, stored))


def read_back(raw: bytes) -> list[Conversation]:
    """The conversations of our own format, parts of one put together; nothing may be rejected."""
    import io
    from dataclasses import replace

    found: dict[str, Conversation] = {}
    for record in read(Source(io.BytesIO(raw), "x.jsonl"), "crontalk"):
        assert isinstance(record, Conversation), record
        before = found.get(record.key)
        record = replace(record, row=0)  # noqa: PLW2901
        if before:
            record = replace(before, messages=(*before.messages, *record.messages))  # noqa: PLW2901
        found[record.key] = record
    return list(found.values())


def said(found: list[Conversation]) -> dict[str, list[tuple[str, str]]]:
    """Conversations with the ids and texts of their messages."""
    return {one.key: [(message.key, message.text) for message in one.messages] for one in found}


def stored(context: Context, account: uuid.UUID) -> dict[str, list[tuple[str, str]]]:
    """The same of what is in the database."""
    found = rows(
        context,
        "SELECT c.id AS talk, m.id, m.text FROM conversations c"
        " LEFT JOIN messages m ON m.conversation_id = c.id"
        " WHERE c.account_id = :account ORDER BY c.id, m.seq",
        account=account,
    )
    told: dict[str, list[tuple[str, str]]] = {}
    for row in found:
        told.setdefault(str(row["talk"]), [])
        if row["id"]:
            told[str(row["talk"])].append((str(row["id"]), row["text"]))
    return told


def is_due(context: Context, job: Job) -> None:
    """The lease of a worker that was killed has run out."""
    execute(context, "UPDATE jobs SET run_at = now() WHERE id = :id", id=job.id)


def blobs_of(context: Context, account: uuid.UUID) -> list[str]:
    """The states of all that is stored beside the rows."""
    return [r["state"] for r in rows(context, "SELECT state FROM blobs WHERE account_id = :id", id=account)]
