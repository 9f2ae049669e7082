"""Jobs of every kind: listed, watched, paused, resumed, cancelled. What a kind does is told elsewhere."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy.orm import Session

from core.annotation_jobs import annotation_progress_of, end_annotation_job
from core.backfills import Progress, cancel_backfill, pause_backfill, progress_of, resume_backfill
from core.delete_jobs import delete_progress_of, end_delete_job, pause_delete_job, resume_delete_job
from core.errors import Conflict, InvalidInput
from core.rows import MetaFilter, database_now, own, page
from models import UNFINISHED, Job, JobKind, JobState


def get_job(session: Session, job_id: uuid.UUID | str) -> tuple[Job, Progress]:
    """The job and how far it is.

    Raises:
        NotFound, NotAuthorized.

    """
    job = own(session, Job, job_id)
    return job, progress_of_jobs(session, [job])[job.id]


def list_jobs(
    session: Session,
    *,
    kind: str | None = None,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[tuple[Job, Progress]]:
    """The account's jobs, newest first or `ascending`; of one kind where asked."""
    where = [] if kind is None else [Job.kind == kind_of(kind)]
    jobs = page(session, Job, *where, take=take, before=before, ascending=ascending, meta=meta)
    progress = progress_of_jobs(session, jobs)
    return [(job, progress[job.id]) for job in jobs]


def kind_of(word: str) -> JobKind:
    """A kind by its word.

    Raises:
        InvalidInput: there is none.

    """
    try:
        return JobKind(word)
    except ValueError:
        raise InvalidInput(f"The kind of a job must be one of {', '.join(JobKind)}.") from None


def progress_of_jobs(session: Session, jobs: Sequence[Job]) -> dict[uuid.UUID, Progress]:
    """How far each of these jobs is."""
    of = {kind: [job for job in jobs if job.kind == kind] for kind in JobKind}
    return (
        progress_of(session, of[JobKind.BACKFILL])
        | annotation_progress_of(session, of[JobKind.ANNOTATE])
        | delete_progress_of(session, of[JobKind.DELETE])
    )


def pause_job(session: Session, job_id: uuid.UUID | str) -> Job:
    """Begins nothing further; what is under way goes on. A second time changes nothing.

    Raises:
        Conflict: it has ended. NotFound, NotAuthorized.

    """
    if own(session, Job, job_id).kind == JobKind.BACKFILL:
        return pause_backfill(session, job_id)
    job = _locked(session, job_id)
    if job.kind == JobKind.DELETE:
        pause_delete_job(session, job)
        return job
    _refuse_ended(job)
    job.state = JobState.PAUSED
    session.flush()
    return job


def resume_job(session: Session, job_id: uuid.UUID | str) -> Job:
    """Goes on where it stopped.

    Raises:
        Conflict: it has ended. NotFound, NotAuthorized.

    """
    if own(session, Job, job_id).kind == JobKind.BACKFILL:
        return resume_backfill(session, job_id)
    job = _locked(session, job_id)
    if job.kind == JobKind.DELETE:
        resume_delete_job(session, job)
        return job
    _refuse_ended(job)
    if job.state == JobState.PAUSED:
        job.state = JobState.PENDING if job.started_at is None else JobState.RUNNING
        job.run_at = database_now(session)
    session.flush()
    return job


def cancel_job(session: Session, job_id: uuid.UUID | str) -> Job:
    """Ends it where it is; what is done stays done. A second time changes nothing.

    Raises:
        Conflict: it has ended otherwise. NotFound, NotAuthorized.

    """
    if own(session, Job, job_id).kind == JobKind.BACKFILL:
        return cancel_backfill(session, job_id)
    job = _locked(session, job_id)
    if job.state != JobState.CANCELLED:
        _refuse_ended(job)
        finish = end_delete_job if job.kind == JobKind.DELETE else end_annotation_job
        finish(session, job, JobState.CANCELLED)
    return job


def _locked(session: Session, job_id: uuid.UUID | str) -> Job:
    return own(session, Job, job_id, lock=True)


def _refuse_ended(job: Job) -> None:
    if job.state not in UNFINISHED:
        raise Conflict(f"The job has ended already: {job.state}.")
