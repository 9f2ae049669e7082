"""Jobs: long work on many things, watched and ended. Our own, in the style of the dialect."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import CallerPart, Tenant
from api.chatbotkit.answers import also_answers, answer, replays, returns
from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_deletions import PreviewDeletion
from api.chatbotkit.shapes_privacy import (
    ConfirmRequest,
    DeletionPreview,
    JobAnswer,
    JobMade,
    JobRequest,
    ReceiptAnswer,
)
from api.once import Replay, Route
from core import jobs
from core.accounts import Caller
from core.annotation_jobs import create_annotation_job
from core.delete_jobs import confirm_delete_job, create_delete_job, preview_deletion, receipt_of
from core.documents import Document
from core.documents_privacy import job_document, made_document, preview_document, receipt_document
from core.errors import InvalidInput
from core.exporters.jsonl import FORMAT
from core.exporters.veil import Mode
from core.exports import create_export_job
from models import Job

router = APIRouter(prefix="/job", tags=["job"], route_class=Route)


@router.post("/create", responses=returns(JobMade))
@also_answers(409)
def create_job(session: Tenant, caller: CallerPart, body: JobRequest) -> JSONResponse:
    """annotate: looks at what is stored again, under the policies of today. 409 while another is unfinished.

    delete: removes what a filter selects now, and nothing that comes later. It waits for its confirmation,
    unless `confirm` holds what a preview answered; 409 when the filter selects another number by now.

    export: writes the conversations that a filter selects now into a file, whose `fileId`, `sha256` and
    counts the job has once it is completed.
    A backfill is made at /task/{taskId}/backfill/create.
    """
    body.refuse_strangers()
    if body.kind == "delete":
        return answer(_create_deletion(session, body))
    if body.kind == "export":
        return answer({"id": str(_create_export(session, body, caller).id)})
    if not (body.everything or body.conversationId or body.botId):
        raise InvalidInput("Say what is to be annotated: conversationId, botId, or all.")
    job = create_annotation_job(
        session, conversation_id=body.conversationId, bot_id=body.botId, again=body.again
    )
    return answer({"id": str(job.id)})


def _create_deletion(session: Session, body: JobRequest) -> Document:
    what, wanted = body.selected()
    return made_document(
        *create_delete_job(session, what, wanted, rate=body.rate, confirm=body.confirm or None)
    )


def _create_export(session: Session, body: JobRequest, caller: Caller) -> Job:
    return create_export_job(
        session,
        body.format or FORMAT,
        body.filter.wanted() if body.filter else {},
        mode=body.mode or Mode.REDACTED,
        gzip=body.gzip,
        bom=body.bom,
        scopes=caller.scopes,
    )


def _previewed_again(session: Session, replay: Replay) -> Document:
    """As things stand now: a preview has no effect that could be repeated."""
    body = PreviewDeletion.model_validate(replay.body)
    what, wanted = body.selected()
    return preview_document(preview_deletion(session, what, wanted, body.rate))


@router.post("/preview", responses=returns(DeletionPreview))
@replays(_previewed_again)
def preview_job(session: Tenant, body: PreviewDeletion) -> JSONResponse:
    """What a deletion would remove as things stand: a count, some ids, the oldest and the newest."""
    what, wanted = body.selected()
    return answer(preview_document(preview_deletion(session, what, wanted, body.rate)))


@router.post("/{jobId}/confirm", responses=returns(Identified))
@also_answers(409)
def confirm_job(session: Tenant, jobId: str, body: ConfirmRequest) -> JSONResponse:
    """Lets a deletion begin. 409 when it is none, has ended, or the confirmation is another's."""
    return answer({"id": str(confirm_delete_job(session, jobId, body.confirmation).id)})


@router.get("/{jobId}/receipt", responses=returns(ReceiptAnswer))
@also_answers(409)
def fetch_receipt(session: Tenant, jobId: str) -> JSONResponse:
    """What a deletion removed: counts, and a digest of the ids. 409 before it has ended."""
    return answer(receipt_document(receipt_of(session, jobId)))


@router.get("/list", responses=pages(JobAnswer))
@as_list
def list_jobs(
    part: ListPart,
    kind: Annotated[str, Query(description="annotate, backfill, delete or export; all unless told.")] = "",
) -> Response:
    """The account's jobs of every kind, newest first."""
    return listed(
        part,
        lambda session, **window: jobs.list_jobs(session, kind=kind or None, **window),
        each(lambda pair: job_document(*pair)),
    )


@router.get("/{jobId}/fetch", responses=returns(JobAnswer))
def fetch_job(session: Tenant, jobId: str) -> JSONResponse:
    """A job and how far it is."""
    return answer(job_document(*jobs.get_job(session, jobId)))


@router.post("/{jobId}/pause", responses=returns(Identified))
@also_answers(409)
def pause_job(session: Tenant, jobId: str) -> JSONResponse:
    """Begins nothing further; what is under way goes on. 409 when it has ended."""
    return answer({"id": str(jobs.pause_job(session, jobId).id)})


@router.post("/{jobId}/resume", responses=returns(Identified))
@also_answers(409)
def resume_job(session: Tenant, jobId: str) -> JSONResponse:
    """Goes on where it stopped. 409 when it has ended."""
    return answer({"id": str(jobs.resume_job(session, jobId).id)})


@router.post("/{jobId}/cancel", responses=returns(Identified))
@also_answers(409)
def cancel_job(session: Tenant, jobId: str) -> JSONResponse:
    """Ends it where it is; what is done stays done. 409 when it has ended otherwise."""
    return answer({"id": str(jobs.cancel_job(session, jobId).id)})
