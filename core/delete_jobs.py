"""Bulk deletions: asked for, confirmed, watched and ended here; carried out by workers (core/deleting.py).

What is deleted is fixed when it is asked for, and nothing is deleted before whoever asks has confirmed the
filter and the count. A deletion that waits for that is paused.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.buckets import forget_bucket
from core.context import account_of, actor_of, settings_of
from core.errors import Conflict, InvalidInput
from core.job_states import end, go_on, refuse_a_crowd, refuse_ended, wake
from core.quotas import bulk_rate_of
from core.rates import Rate, parse_rate
from core.rows import database_now, own
from core.selection import Counted, Selection, count_selected, select_for_deletion
from models import Job, JobKind, JobState

GONE = text(
    "SELECT COALESCE(sum(messages), 0)::bigint AS messages,"
    " COALESCE(sum(conversations), 0)::bigint AS conversations,"
    " COALESCE(sum(attachments), 0)::bigint AS attachments, COALESCE(sum(cardinality(target_ids)), 0)::bigint"
    " AS ids FROM erasures WHERE job_id = :id AND account_id = :account"
)
DIGEST = text(
    "SELECT encode(sha256(COALESCE(string_agg(uuid_send(t.id), ''::bytea ORDER BY t.id), ''::bytea)), 'hex')"
    " FROM erasures e CROSS JOIN LATERAL unnest(e.target_ids) AS t (id)"
    " WHERE e.job_id = :id AND e.account_id = :account"
)
CONFIRMED = frozenset({JobKind.DELETE, JobKind.ANONYMISE})
PATIENCE = text("SET LOCAL statement_timeout = '60s'")  # a million ids are sorted


@dataclass(frozen=True)
class Preview:
    """What a deletion would remove, and what confirms it."""

    selection: Selection
    counted: Counted
    rate: Rate | None
    confirmation: str


@dataclass(frozen=True)
class JobReceipt:
    """What an ended deletion removed: filter, counts, and one digest of all ids; never what was said."""

    job: Job
    messages: int
    conversations: int
    attachments: int
    ids: int
    sha256: str


def preview_deletion(
    session: Session,
    what: str,
    wanted: Mapping[str, Any],
    rate: str | None = None,
    kind: JobKind = JobKind.DELETE,
) -> Preview:
    """What a deletion would remove as things stand; removes nothing. See `create_delete_job`."""
    pace = rate_for(session, rate)
    selection = select_for_deletion(session, what, wanted)
    if kind is JobKind.ANONYMISE:
        selection = replace(selection, filter={**selection.filter, "named": True})
    counted = count_selected(session, selection, account_of(session))
    return Preview(selection, counted, pace, _confirmation(session, selection, counted))


def create_delete_job(
    session: Session,
    what: str,
    wanted: Mapping[str, Any],
    *,
    rate: str | None = None,
    confirm: str | None = None,
    kind: JobKind = JobKind.DELETE,
) -> tuple[Job, Preview]:
    """A deletion of what a filter selects now. It begins once confirmed: with what a preview said, or later.

    Of the kind ANONYMISE it stays, and nothing of it tells of anybody any more; what is anonymous already is
    not selected.

    `rate` (`200/s`, or off) holds beside the account's own, which holds for all its deletions together.

    Raises:
        InvalidInput: the filter, or a rate above the account's. NotFound, NotAuthorized: what is filtered by.
        Conflict: the confirmation is of another filter or count; or too many are unfinished.

    """
    refuse_a_crowd(session, account_of(session), kind)
    preview = preview_deletion(session, what, wanted, rate, kind)
    if confirm is not None:
        _refuse_another(confirm, preview.confirmation)
    params = {**preview.selection.params(), "actor": actor_of(session)}
    own_rate = None if rate is None else parse_rate(rate)
    if own_rate is not None:
        params["rate"] = str(own_rate)
    if confirm is None:
        params["confirmation"] = preview.confirmation
    job = Job(
        account_id=account_of(session),
        kind=kind,
        counts={"held": preview.counted.held} if preview.counted.held else {},
        state=JobState.PENDING if confirm is not None else JobState.PAUSED,
        total=preview.counted.count,
        params=params,
    )
    session.add(job)
    session.flush()
    session.refresh(job)
    if confirm is not None:
        wake(session, job)
    return job, preview


def confirm_delete_job(session: Session, job_id: uuid.UUID | str, confirmation: str) -> Job:
    """Lets a deletion begin, or one that anonymises. A second time changes nothing.

    Raises:
        Conflict: it is none, has ended, or the confirmation is of another filter or count.
        NotFound, NotAuthorized.

    """
    job = own(session, Job, job_id, lock=True)
    if job.kind not in CONFIRMED:
        raise Conflict("Only a deletion is confirmed.")
    wanted = job.params.get("confirmation")
    if wanted is None:
        return job
    refuse_ended(job)
    _refuse_another(confirmation, wanted)
    job.params = {name: value for name, value in job.params.items() if name != "confirmation"}
    job.state, job.run_at = JobState.PENDING, database_now(session)
    session.flush()
    wake(session, job)
    return job


def resume_delete_job(session: Session, job: Job) -> None:
    """Goes on behind what has gone already.

    Raises:
        Conflict: it has ended, or was not confirmed.

    """
    if job.finished_at is None and "confirmation" in job.params:
        raise Conflict("The deletion has not been confirmed.")
    go_on(session, job)


def end_delete_job(
    session: Session, job: Job, state: JobState | None = None, error_class: str | None = None
) -> None:
    """Ends a locked deletion; without a state it is completed. What is gone stays gone.

    Of one that is completed, what others have deleted meanwhile counts as skipped.
    """
    if state is None:
        job.total = max(job.total or 0, job.done)
        job.skipped = job.total - job.done
        state = JobState.COMPLETED
    forget_bucket(session, job.account_id, bucket_of(job.id))
    end(session, job, state, error_class)


def receipt_of(session: Session, job_id: uuid.UUID | str) -> JobReceipt:
    """What a deletion that has ended removed.

    Raises:
        Conflict: it is no deletion, or has not ended. NotFound, NotAuthorized.

    """
    job = own(session, Job, job_id)
    if job.kind != JobKind.DELETE:
        raise Conflict("Only a deletion has a receipt.")
    if job.finished_at is None:
        raise Conflict("The deletion has not ended.")
    values = {"id": job.id, "account": job.account_id}
    session.execute(PATIENCE)
    row = session.execute(GONE, values).one()
    digest = session.execute(DIGEST, values).scalar_one()
    return JobReceipt(job, row.messages, row.conversations, row.attachments, row.ids, digest)


def rate_for(session: Session, rate: str | None) -> Rate | None:
    """The rate a deletion keeps: its own, else the account's; None is no limit.

    Raises:
        InvalidInput: no rate, or one above the account's.

    """
    most = bulk_rate_of(session, account_of(session), settings_of(session).rate_bulk)
    try:
        own_rate = None if rate is None else parse_rate(rate)
    except ValueError as error:
        raise InvalidInput(f"The rate {error}.") from None
    if own_rate is None or most is None:
        return own_rate or most
    if own_rate.count * most.seconds > most.count * own_rate.seconds:
        raise InvalidInput(f"The rate is above the account's, {most}.")
    return own_rate


def rates_of(session: Session, job: Job, bucket: str = "delete") -> list[tuple[str, Rate]]:
    """The account's rate, which all its jobs of this bucket share, and the job's own."""
    most = bulk_rate_of(session, job.account_id, settings_of(session).rate_bulk)
    own = parse_rate(job.params["rate"]) if "rate" in job.params else None
    found = [(bucket, most), (bucket_of(job.id), own)]
    return [(kind, rate) for kind, rate in found if rate is not None]


def bucket_of(job_id: uuid.UUID) -> str:
    """The kind of the bucket of a deletion that has a rate of its own."""
    return f"job:{job_id}"


def _confirmation(session: Session, selection: Selection, counted: Counted) -> str:
    """A digest of the account, the filter and the count, in the form of an id."""
    said = [str(account_of(session)), selection.what, dict(selection.filter), counted.count]
    words = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return str(uuid.UUID(bytes=hashlib.sha256(words.encode()).digest()[:16]))


def _refuse_another(given: str, wanted: str) -> None:
    if given != wanted:
        raise Conflict("The confirmation is of another filter, or of another count: preview it again.")
