# ruff: noqa: S608 (statements are put together from constants)
"""Exports: asked for and ended here, carried out by workers (core/exporting.py), kept as files for a while.

What is exported is fixed when it is asked for. The result is a file of the account, sealed like every other;
one with the values behind tokens is opened by whoever may read those, and the audit remembers both.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from core.audit import Action, note_audit
from core.blobs import delete_unfinished
from core.context import Context, account_of, actor_of
from core.errors import Conflict, InvalidInput, NotAuthorized, NotFound
from core.exporters.formats import format_named
from core.exporters.veil import Mode
from core.files import create_file
from core.job_states import end, refuse_a_crowd, wake
from core.keys import account_key
from core.rows import own
from core.selection import PATIENCE, Selection, What, select_for_deletion
from core.sight import SCOPE
from models import File, Job, JobKind, JobState

log = structlog.get_logger()

MOST = 2**31 - 1
SIZE = (
    "SELECT count(*) AS conversations, COALESCE(sum(c.next_seq - 1), 0)::bigint AS messages"
    " FROM conversations c WHERE {selected}"
)
EXPIRE = text(
    "DELETE FROM files WHERE id IN (SELECT file_id FROM jobs WHERE kind = 'export' AND file_id IS NOT NULL"
    " AND finished_at < now() - CAST(:life AS interval) LIMIT 500)"
)


def create_export_job(
    session: Session,
    format: str,  # noqa: A002 (the word everybody uses)
    wanted: Mapping[str, Any],
    *,
    mode: str = Mode.REDACTED,
    gzip: bool = False,
    bom: bool = False,
    scopes: Collection[str] = (),
) -> Job:
    """An export of the conversations that a filter selects now, with what was said in them until now.

    `wanted` has the names of a bulk deletion's filter of conversations. `scopes` are those of whoever asks.
    `bom` begins a CSV with the mark by which spreadsheets know UTF-8.

    Raises:
        InvalidInput: the format, the mode or the filter. NotFound, NotAuthorized: what is filtered by, or the
            scope is missing. Conflict: too many are unfinished. KeyUnusable: nothing can be sealed.

    """
    made = format_named(format)
    if mode not in set(Mode):
        raise InvalidInput(f"The mode must be one of {', '.join(Mode)}.")
    if bom and format != "csv":
        raise InvalidInput("Only CSV has a byte order mark.")
    if mode == Mode.ORIGINAL and SCOPE not in scopes:
        raise NotAuthorized(f"This token may not {SCOPE}.")
    refuse_a_crowd(session, account_of(session), JobKind.EXPORT)
    account_key(session, account_of(session))
    selection = _selection(session, wanted)
    conversations, total = _size(session, selection)
    stamp = selection.until.strftime("%Y%m%dT%H%M%SZ")
    file = create_file(session, name=f"export-{stamp}.{made.suffix}{'.gz' if gzip else ''}")
    params = {"format": format, "mode": Mode(mode).value, "gzip": gzip, "name": file.name}
    job = Job(
        account_id=account_of(session),
        kind=JobKind.EXPORT,
        file_id=file.id,
        total=total,
        params={
            **selection.params(),
            **params,
            **({"bom": True} if bom else {}),
            "actor": actor_of(session),
        },
    )
    session.add(job)
    session.flush()
    session.refresh(job)
    if mode == Mode.ORIGINAL:
        told = {"asked": True, "format": format, "conversations": conversations}
        note_audit(session, Action.EXPORT, job.id, told)
    wake(session, job)
    return job


def _selection(session: Session, wanted: Mapping[str, Any]) -> Selection:
    given = {name: value for name, value in wanted.items() if value is not None and value is not False}
    if not given or ("all" in given and len(given) > 1):
        raise InvalidInput("Say what is to be exported: a filter, ids, or all.")
    return replace(select_for_deletion(session, What.CONVERSATIONS, given), held=None)


def _size(session: Session, selection: Selection) -> tuple[int, int]:
    """How many conversations, and at most how many messages."""
    session.execute(text(PATIENCE))
    query = (
        "SELECT count(*) AS conversations, COALESCE(sum(c.next_seq - 1), 0)::bigint AS messages"
        f" FROM conversations c WHERE {selection.of_conversations()}"
    )
    row = session.execute(text(query), selection.values(account_of(session))).one()
    return row.conversations, min(MOST, row.messages)


def end_export_job(session: Session, job: Job, state: JobState, error_class: str | None = None) -> None:
    """Ends a locked export that has no result: what it has written so far goes."""
    if job.file_id is not None:
        session.execute(delete(File).where(File.id == job.file_id))
        job.file_id = None
    end(session, job, state, error_class)


def complete_export_job(session: Session, job: Job, sha256: str, size: int) -> None:
    """Ends a locked export whose file is there."""
    if job.file_id is not None:
        delete_unfinished(session, job.file_id)
    job.params = {**job.params, "sha256": sha256, "size": size}
    job.total = job.done + job.skipped
    if job.params["mode"] == Mode.ORIGINAL:
        told = {"messages": job.done, "restored": job.counts.get("restored", 0), "sha256": sha256}
        note_audit(session, Action.EXPORT, job.id, told)
    end(session, job, JobState.COMPLETED)


def result_of(session: Session, job_id: uuid.UUID | str) -> Job:
    """An export whose file can be fetched.

    Raises:
        Conflict: it is no export, or has not been completed. NotFound: its file has been deleted, or the job;
            NotAuthorized.

    """
    job = own(session, Job, job_id)
    if job.kind != JobKind.EXPORT:
        raise Conflict("Only an export has a file.")
    if job.state != JobState.COMPLETED:
        raise Conflict(f"The export is {job.state}.")
    if job.file_id is None:
        raise NotFound("The export's file has been deleted: ask for it again.")
    return job


def expire_exports(context: Context) -> int:
    """Deletes the files of exports that are older than the settings let them become; answers how many.

    What was deleted after an export was made is still in its file: that must not be so for long.
    """
    with context.transaction() as session:
        found = session.execute(EXPIRE, {"life": context.settings.export_life})
    gone = int(found.rowcount)  # type: ignore[attr-defined]
    if gone:
        log.info("exports_expired", count=gone)
    return gone
