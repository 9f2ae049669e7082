"""The jobs: how far each is, and paused, resumed, cancelled and confirmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from api.auth import context_of
from api.dashboard.cookies import Editor, Visitor
from api.dashboard.rendering import page_for
from api.dashboard.views_jobs import job_view
from core.accounts import Caller
from core.delete_jobs import confirm_delete_job, receipt_of
from core.documents_jobs import receipt_document
from core.errors import Conflict, NotFound
from core.jobs import cancel_job, get_job, list_jobs, pause_job, resume_job
from models import Job, JobKind, JobState

router = APIRouter(prefix="/jobs")

ON_A_PAGE = 50
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
    older = f"/jobs?kind={kind}&before={shown[-1][0].id}" if len(found) > ON_A_PAGE else None
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
    )


def _receipt(session: Session, job: Job) -> Mapping[str, Any] | None:
    if job.kind != JobKind.DELETE or job.finished_at is None:
        return None
    document = receipt_document(receipt_of(session, job.id))
    return {name: document[name] for name in RECEIPT if name in document}


RECEIPT = ("what", "messages", "conversations", "attachments", "ids", "verified", "actor", "sha256")
