"""Jobs of every kind: listed, watched, paused, resumed, cancelled. What a kind does is told elsewhere."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.orm import Session

from core.annotation_jobs import annotation_progress_of, end_annotation_job
from core.anonymise_jobs import end_anonymise_job
from core.backfills import Progress, cancel_backfill, pause_backfill, progress_of, resume_backfill
from core.delete_jobs import end_delete_job, resume_delete_job
from core.errors import InvalidInput
from core.exports import end_export_job
from core.import_jobs import end_import_job
from core.job_states import counted_progress, end, go_on, pause, refuse_ended
from core.rows import MetaFilter, own, page
from core.undoing import end_undo_job
from models import SLICED, Job, JobKind, JobState


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
        | counted_progress(session, [job for job in jobs if job.kind in SLICED])
    )


def pause_job(session: Session, job_id: uuid.UUID | str) -> Job:
    """Begins nothing further; what is under way goes on. A second time changes nothing.

    Raises:
        Conflict: it has ended. NotFound, NotAuthorized.

    """
    if own(session, Job, job_id).kind == JobKind.BACKFILL:
        return pause_backfill(session, job_id)
    job = own(session, Job, job_id, lock=True)
    pause(session, job)
    return job


def resume_job(session: Session, job_id: uuid.UUID | str) -> Job:
    """Goes on where it stopped.

    Raises:
        Conflict: it has ended. NotFound, NotAuthorized.

    """
    if own(session, Job, job_id).kind == JobKind.BACKFILL:
        return resume_backfill(session, job_id)
    job = own(session, Job, job_id, lock=True)
    RESUME.get(JobKind(job.kind), go_on)(session, job)
    return job


def cancel_job(session: Session, job_id: uuid.UUID | str) -> Job:
    """Ends it where it is; what is done stays done. A second time changes nothing.

    Raises:
        Conflict: it has ended otherwise. NotFound, NotAuthorized.

    """
    if own(session, Job, job_id).kind == JobKind.BACKFILL:
        return cancel_backfill(session, job_id)
    job = own(session, Job, job_id, lock=True)
    if job.state != JobState.CANCELLED:
        refuse_ended(job)
        END.get(JobKind(job.kind), end)(session, job, JobState.CANCELLED)
    return job


RESUME: Mapping[JobKind, Callable[[Session, Job], None]] = {
    JobKind.DELETE: resume_delete_job,
    JobKind.ANONYMISE: resume_delete_job,
}
END: Mapping[JobKind, Callable[[Session, Job, JobState], None]] = {
    JobKind.ANNOTATE: end_annotation_job,
    JobKind.DELETE: end_delete_job,
    JobKind.EXPORT: end_export_job,
    JobKind.IMPORT: end_import_job,
    JobKind.UNDO: end_undo_job,
    JobKind.ANONYMISE: end_anonymise_job,
}
