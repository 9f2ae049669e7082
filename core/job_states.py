"""What becomes of a job that workers carry out: paused, gone on with, ended, and a worker woken for it.

Every verb takes the job's row locked. Whoever has the job in hand finds out at its next batch: its epoch has
risen.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.backfills import Progress
from core.context import publish_after_commit
from core.errors import Conflict
from core.publisher import Hint
from core.rows import database_now
from models import SLICED, UNFINISHED, Job, JobKind, JobState

QUEUE = "bulk"
HINT = "job"
MOST_UNFINISHED = 100

SECONDS = text(
    "SELECT id, extract(epoch FROM now() - started_at)::float8 AS seconds FROM jobs"
    " WHERE id = ANY(CAST(:ids AS uuid[]))"
)
TAKE_HINT = text("UPDATE jobs SET hinted_at = now(), hints = hints + 1 WHERE id = :id RETURNING hints")


def wake(session: Session, job: Job) -> None:
    """Sends a hint to the workers once this has committed."""
    number = session.execute(TAKE_HINT, {"id": job.id}).scalar_one()
    publish_after_commit(session, Hint(job.id, HINT, QUEUE, number))


def pause(session: Session, job: Job) -> None:
    """Stops it after the batch under way.

    Raises:
        Conflict: it has ended.

    """
    refuse_ended(job)
    job.state = JobState.PAUSED
    _take_away(job)
    session.flush()


def go_on(session: Session, job: Job) -> None:
    """Lets a paused one go on where it stopped, or begin.

    Raises:
        Conflict: it has ended.

    """
    refuse_ended(job)
    if job.state == JobState.PAUSED:
        job.state = JobState.PENDING if job.started_at is None else JobState.RUNNING
        job.run_at = database_now(session)
        session.flush()
        if job.kind in SLICED:
            wake(session, job)


def end(session: Session, job: Job, state: JobState, error_class: str | None = None) -> None:
    """Ends it as it stands."""
    job.state, job.error_class, job.finished_at = state, error_class, database_now(session)
    _take_away(job)
    session.flush()


def counted_progress(session: Session, jobs: Sequence[Job]) -> dict[UUID, Progress]:
    """How far each of these jobs is, whose rows count by themselves: exact at any time."""
    going = [job.id for job in jobs if job.finished_at is None]
    since = {row.id: row.seconds for row in session.execute(SECONDS, {"ids": going})} if going else {}
    return {job.id: Progress(job.done, job.failed, 0, since.get(job.id, _took(job))) for job in jobs}


def refuse_ended(job: Job) -> None:
    """Raises Conflict for a job that has ended."""
    if job.state not in UNFINISHED:
        raise Conflict(f"The job has ended already: {job.state}.")


def refuse_a_crowd(session: Session, account: UUID, kind: JobKind, most: int = MOST_UNFINISHED) -> None:
    """Raises Conflict where too many of an account's jobs of this kind are unfinished."""
    mine = (Job.account_id == account, Job.kind == kind, Job.state.in_(UNFINISHED))
    if session.execute(select(func.count()).where(*mine)).scalar_one() >= most:
        raise Conflict(f"{most} jobs of kind {kind} are unfinished; cancel some or wait for them.")


def _take_away(job: Job) -> None:
    job.lease_until = None
    job.epoch += 1


def _took(job: Job) -> float | None:
    took: datetime | None = job.finished_at
    return (took - job.started_at).total_seconds() if took and job.started_at else None
