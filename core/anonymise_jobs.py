"""How a job that anonymises ends; asked for as deletions are (core/delete_jobs.py), or by a rule."""

from __future__ import annotations

from sqlalchemy.orm import Session

from core.buckets import forget_bucket
from core.delete_jobs import bucket_of
from core.job_states import end
from models import Job, JobState


def end_anonymise_job(
    session: Session, job: Job, state: JobState | None = None, error_class: str | None = None
) -> None:
    """Ends a locked job; without a state it is completed. What is anonymous stays so.

    What has gone meanwhile, was held or spoken in again, counts as skipped.
    """
    if state is None:
        job.total = max(job.total or 0, job.done + job.failed)
        job.skipped = job.total - job.done - job.failed
        state = JobState.COMPLETED_WITH_ERRORS if job.failed else JobState.COMPLETED
    forget_bucket(session, job.account_id, bucket_of(job.id))
    end(session, job, state, error_class)
