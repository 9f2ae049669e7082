"""The jobs: how far each is, and paused, resumed, cancelled and confirmed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from api.auth import context_of
from api.chatbotkit.lists import cell
from api.dashboard.cookies import Editor, Visitor
from api.dashboard.rendering import address, page, page_for
from api.dashboard.views import run_view
from api.dashboard.views_jobs import job_view
from core.accounts import Caller
from core.backfills import failed_runs
from core.delete_jobs import confirm_delete_job, receipt_of
from core.documents_jobs import error_document, receipt_document
from core.errors import Conflict, NotFound
from core.file_names import disposition
from core.import_jobs import MOST_ERRORS, error_id, list_errors
from core.jobs import cancel_job, get_job, list_jobs, pause_job, resume_job
from core.tasks import tasks_by_id
from models import Job, JobKind, JobState

router = APIRouter(prefix="/jobs")

ON_A_PAGE = 50
FIRST = 20  # errors, or failed runs, on a job's page
AT_ONCE = 1000
ACTS: Mapping[str, Callable[[Session, str], object]] = {
    "pause": pause_job,
    "resume": resume_job,
    "cancel": cancel_job,
}


@router.get("")
def show_jobs(request: Request, visitor: Visitor, before: str = "", kind: str = "") -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        found = list_jobs(session, kind=kind or None, take=ON_A_PAGE + 1, before=before or None)
    shown = found[:ON_A_PAGE]
    older = address("/jobs", kind=kind, before=str(shown[-1][0].id)) if len(found) > ON_A_PAGE else None
    return page_for(
        visitor,
        "jobs",
        "jobs.html",
        jobs=[job_view(job, progress) for job, progress in shown],
        kinds=list(JobKind),
        kind=kind,
        older=older,
        first=not before,
    )


@router.get("/{job_id}")
def show_job(request: Request, visitor: Visitor, job_id: str) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        return _job_page(session, visitor, job_id)


@router.get("/{job_id}/row")
def show_row(request: Request, visitor: Visitor, job_id: str) -> Response:
    """A job as it stands in the list."""
    with context_of(request).transaction(visitor.account_id) as session:
        return page("job_row_part.html", job=job_view(*get_job(session, job_id)))


@router.get("/{job_id}/errors.csv")
def download_errors(request: Request, visitor: Visitor, job_id: str) -> Response:
    """Which rows a job could not deal with, and why by a word: all that are kept, MOST_ERRORS of them."""
    text = io.StringIO()
    lines = csv.writer(text, quoting=csv.QUOTE_ALL)
    lines.writerow(("row", "code"))
    with context_of(request).transaction(visitor.account_id) as session:
        found = list_errors(session, job_id=job_id, take=AT_ONCE)
        while found:
            lines.writerows((one.row, cell(one.code)) for one in found)
            session.expunge_all()
            found = list_errors(session, job_id=job_id, take=AT_ONCE, before=error_id(found[-1]))
    headers = {"Content-Disposition": disposition(f"job-{job_id}-errors.csv")}
    return Response(text.getvalue(), media_type="text/csv", headers=headers)


@router.post("/{job_id}/confirm")
def confirm(
    request: Request, editor: Editor, job_id: str, confirmation: Annotated[str, Form(max_length=100)]
) -> Response:
    return _act(request, editor, job_id, lambda session: confirm_delete_job(session, job_id, confirmation))


@router.post("/{job_id}/{act}")
def act_on(request: Request, editor: Editor, job_id: str, act: str) -> Response:
    if act not in ACTS:
        raise NotFound("There is nothing at this address.")
    return _act(request, editor, job_id, lambda session: ACTS[act](session, job_id))


def _act(request: Request, editor: Caller, job_id: str, do: Callable[[Session], object]) -> Response:
    """What speaks against it is said on the job's page."""
    context = context_of(request)
    try:
        with context.transaction(editor.account_id, actor=editor.name) as session:
            do(session)
    except Conflict as error:
        with context.transaction(editor.account_id) as session:
            return _job_page(session, editor, job_id, str(error))
    return RedirectResponse(f"/jobs/{job_id}", 303)


def _job_page(session: Session, visitor: Caller, job_id: str, wrong: str | None = None) -> Response:
    job, progress = get_job(session, job_id)
    errors = list_errors(session, job_id=job.id, take=FIRST)
    failed = failed_runs(session, job, FIRST) if job.kind == JobKind.BACKFILL else []
    tasks = tasks_by_id(session, {run.task_id for run in failed if run.task_id})
    return page_for(
        visitor,
        "jobs",
        "job.html",
        409 if wrong else 200,
        job=job_view(job, progress),
        wrong=wrong,
        paused=job.state == JobState.PAUSED,
        open=job.finished_at is None,
        confirmation=job.params.get("confirmation") if job.finished_at is None else None,
        receipt=_receipt(session, job),
        errors=[error_document(one) for one in errors],
        kept=MOST_ERRORS,
        failed_runs=[run_view(run, tasks.get(run.task_id) if run.task_id else None) for run in failed],
    )


def _receipt(session: Session, job: Job) -> Mapping[str, Any] | None:
    if job.kind != JobKind.DELETE or job.finished_at is None:
        return None
    document = receipt_document(receipt_of(session, job.id))
    return {name: document[name] for name in RECEIPT if name in document}


RECEIPT = ("what", "messages", "conversations", "attachments", "ids", "verified", "actor", "sha256")
