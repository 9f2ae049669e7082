"""What the pages show of a job: how far it is, how fast it goes, and when it will have ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from api.dashboard.views import Instant, duration, instant
from core.backfills import Progress
from core.documents_jobs import job_document
from core.schedule.words import span
from models import Job, JobKind

KINDS = {
    JobKind.BACKFILL: "Backfill",
    JobKind.ANNOTATE: "Annotation",
    JobKind.DELETE: "Deletion",
    JobKind.IMPORT: "Import",
    JobKind.UNDO: "Undoing an import",
    JobKind.EXPORT: "Export",
    JobKind.ANONYMISE: "Anonymising",
    JobKind.SYNC: "Synchronisation",
}


@dataclass(frozen=True)
class JobView:
    id: str
    kind: str
    state: str
    total: int | None
    dealt: int
    done: int
    skipped: int
    failed: int
    rate: str | None
    left: str | None
    error: str | None
    created: Instant
    started: Instant | None
    finished: Instant | None
    took: str | None
    waits: bool
    task_id: str | None
    open: bool
    errors: int


def job_view(job: Job, progress: Progress) -> JobView:
    document = job_document(job, progress)
    rate, left = document.get("perSecond"), document.get("leftSeconds")
    return JobView(
        id=str(job.id),
        kind=KINDS.get(JobKind(job.kind), job.kind),
        state=job.state,
        total=job.total,
        dealt=progress.done + progress.failed + job.skipped,
        done=progress.done,
        skipped=job.skipped,
        failed=progress.failed,
        rate=f"{rate:g} per second" if rate and job.finished_at is None else None,
        left=span(timedelta(seconds=left)) if left else None,
        error=job.error_class,
        created=instant(job.created_at, None),
        started=instant(job.started_at, None) if job.started_at else None,
        finished=instant(job.finished_at, None) if job.finished_at else None,
        took=duration(job.started_at, job.finished_at),
        waits="confirmation" in job.params and job.finished_at is None,
        task_id=str(job.task_id) if job.task_id else None,
        open=job.finished_at is None,
        errors=job.counts.get("errors", 0),
    )
