"""Annotating history: a job that has stored messages looked at again, under the privacy of today.

Asked for, watched and ended here; moved on by a scheduler's turn (core/feeding.py). What was written before
privacy was switched on is redacted by it. What was redacted stays so: no policy brings it back.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.backfills import Progress
from core.context import account_of
from core.errors import Conflict, InvalidInput
from core.rows import database_now, own
from models import UNFINISHED, Bot, Conversation, Job, JobKind, JobState, first_id_of

# Conversations begun meanwhile by processes whose clocks are ahead still belong to it.
MARGIN = timedelta(minutes=1)

LOCK_ACCOUNT = text("SELECT 1 FROM accounts WHERE id = :id FOR NO KEY UPDATE")
# Places are never handed out twice, so this is what was ever written: at least what there is.
COUNT = text(
    "SELECT COALESCE(sum(next_seq - 1), 0)::bigint FROM conversations"
    " WHERE account_id = :account AND id <= :until"
    " AND (CAST(:bot AS uuid) IS NULL OR bot_id = :bot) AND (CAST(:one AS uuid) IS NULL OR id = :one)"
)
COUNTS = text(
    "SELECT j.id, extract(epoch FROM now() - j.started_at)::float8 AS seconds, c.* FROM jobs j"
    " CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE a.state = 'failed') AS failed,"
    "  count(*) FILTER (WHERE a.state IN ('pending', 'running')) AS under_way"
    "  FROM annotations a WHERE a.job_id = j.id) AS c WHERE j.id = ANY(CAST(:ids AS uuid[]))"
)
# What nobody has begun, and what nobody but the job has asked for. Rows in other hands are left to them.
WITHDRAW = text(
    "DELETE FROM annotations WHERE message_id IN (SELECT a.message_id FROM annotations a"
    " JOIN messages m ON m.id = a.message_id WHERE a.job_id = :id AND a.state = 'pending'"
    " AND (m.pii_state IS NULL OR m.pii_state = 'done') FOR UPDATE OF a SKIP LOCKED)"
)


def create_annotation_job(
    session: Session,
    *,
    conversation_id: uuid.UUID | str | None = None,
    bot_id: uuid.UUID | str | None = None,
    again: bool = False,
) -> Job:
    """Has what is stored looked at again: of a conversation, of a bot's, or of the whole account.

    Messages that were looked at under the same policy, detectors and identities are left out, unless they are
    asked for `again`.

    Raises:
        Conflict: one is unfinished already. InvalidInput: both. NotFound, NotAuthorized.

    """
    if conversation_id is not None and bot_id is not None:
        raise InvalidInput("Annotate a conversation or a bot's conversations, not both.")
    params: dict[str, Any] = {"again": True} if again else {}
    if conversation_id is not None:
        params["conversation"] = str(own(session, Conversation, conversation_id).id)
    if bot_id is not None:
        params["bot"] = str(own(session, Bot, bot_id).id)
    account = account_of(session)
    session.execute(LOCK_ACCOUNT, {"id": account})
    _refuse_a_second(session, account)
    params["until"] = str(first_id_of(database_now(session) + MARGIN))
    job = Job(account_id=account, kind=JobKind.ANNOTATE, params=params)
    job.total = session.execute(COUNT, {"account": account, **scope_of(job)}).scalar_one()
    session.add(job)
    session.flush()
    session.refresh(job)
    return job


def scope_of(job: Job) -> dict[str, str | None]:
    """What an annotation walks through, as its statements are told."""
    params = job.params
    return {"bot": params.get("bot"), "one": params.get("conversation"), "until": params["until"]}


def annotation_progress_of(session: Session, jobs: Sequence[Job]) -> dict[uuid.UUID, Progress]:
    """How far each of these annotations is, counted from what is still to be looked at."""
    found: dict[uuid.UUID, Progress] = {}
    going = {job.id: job for job in jobs if job.finished_at is None}
    for job in jobs:
        if job.finished_at is not None:
            took = (job.finished_at - job.started_at).total_seconds() if job.started_at else None
            found[job.id] = Progress(job.done, job.failed, 0, took)
    for row in session.execute(COUNTS, {"ids": list(going)}) if going else ():
        done = going[row.id].done - row.failed - row.under_way
        found[row.id] = Progress(max(0, done), row.failed, row.under_way, row.seconds)
    return found


def end_annotation_job(
    session: Session, job: Job, state: JobState | None = None, error_class: str | None = None
) -> None:
    """Ends a locked job; without a state it is completed. The counters are exact from here on.

    A message that was deleted meanwhile counts as done: nothing of it is left to look at. Of one that is
    cancelled, what workers have in their hands is finished and not counted.
    """
    counted, now = annotation_progress_of(session, [job])[job.id], database_now(session)
    if state is not None:
        session.execute(WITHDRAW, {"id": job.id})
    job.done, job.failed = counted.done, counted.failed
    if state is None:
        job.total = job.done + job.skipped + job.failed
        state = JobState.COMPLETED_WITH_ERRORS if job.failed else JobState.COMPLETED
    job.state, job.error_class, job.finished_at = state, error_class, now
    session.flush()


def _refuse_a_second(session: Session, account: uuid.UUID) -> None:
    unfinished = select(Job.id).where(
        Job.account_id == account, Job.kind == JobKind.ANNOTATE, Job.state.in_(UNFINISHED)
    )
    if (other := session.scalar(unfinished)) is not None:
        raise Conflict(f"An annotation of this account is unfinished: {other}. Wait for it or cancel it.")
