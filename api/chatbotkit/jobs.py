"""Jobs: long work on many things, watched and ended. Our own, in the style of the dialect."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import CallerPart, Tenant, context_of
from api.chatbotkit.answers import CSV, also_answers, answer, replays, returns
from api.chatbotkit.lists import ListPart, as_export, as_list, each, listed, pages
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_deletions import PreviewDeletion
from api.chatbotkit.shapes_files import Uploaded
from api.chatbotkit.shapes_imports import ImportErrorAnswer
from api.chatbotkit.shapes_jobs import (
    ConfirmRequest,
    DeletionPreview,
    JobAnswer,
    JobMade,
    JobRequest,
    ReceiptAnswer,
)
from api.chatbotkit.uploads import BODY, Uploader, take_in
from api.once import Replay, Route
from core import jobs
from core.accounts import Caller
from core.annotation_jobs import create_annotation_job
from core.delete_jobs import confirm_delete_job, create_delete_job, preview_deletion, receipt_of
from core.documents import Document
from core.documents_jobs import (
    error_document,
    job_document,
    made_document,
    preview_document,
    receipt_document,
)
from core.errors import InvalidInput
from core.exporters.jsonl import FORMAT
from core.exporters.veil import Mode
from core.exports import create_export_job
from core.import_jobs import create_import_job, import_now, list_errors, start_import_file
from core.importers.own import read_items
from core.undoing import undo_import
from models import Job, JobKind

router = APIRouter(prefix="/job", tags=["job"], route_class=Route)


@router.post("/create", responses=returns(JobMade))
@also_answers(409)
def create_job(session: Tenant, caller: CallerPart, body: JobRequest) -> JSONResponse:
    """annotate: looks at what is stored again, under the policies of today. 409 while another is unfinished.

    delete: removes what a filter selects now, and nothing that comes later. It waits for its confirmation,
    unless `confirm` holds what a preview answered; 409 when the filter selects another number by now.
    anonymise: the same of what stays, with nothing in it that tells of anybody.

    export: writes the conversations that a filter selects now into a file, whose `fileId`, `sha256` and
    counts the job has once it is completed.

    import: stores what an uploaded file holds (/job/upload), once; or a few items, while you wait.
    A backfill is made at /task/{taskId}/backfill/create.
    """
    body.refuse_strangers()
    if body.kind in {"delete", "anonymise"}:
        return answer(_create_deletion(session, body))
    if body.kind == "export":
        return answer({"id": str(_create_export(session, body, caller).id)})
    if body.kind == "import":
        return answer(_create_import(session, body))
    if not (body.everything or body.conversationId or body.botId):
        raise InvalidInput("Say what is to be annotated: conversationId, botId, or all.")
    job = create_annotation_job(
        session, conversation_id=body.conversationId, bot_id=body.botId, again=body.again
    )
    return answer({"id": str(job.id)})


def _create_deletion(session: Session, body: JobRequest) -> Document:
    what, wanted = body.selected()
    return made_document(
        *create_delete_job(
            session,
            what,
            wanted,
            rate=body.rate,
            confirm=body.confirm or None,
            kind=JobKind(body.kind),
        )
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


def _create_import(session: Session, body: JobRequest) -> Document:
    if (body.fileId is None) == (body.items is None):
        raise InvalidInput("Say what is to be imported: fileId, or items.")
    if body.items is not None:
        return _import_items(session, body)
    job = create_import_job(
        session,
        body.fileId or "",
        format=body.format,
        columns=body.columns,
        timezone=body.timezone,
        bot_id=body.botId,
        contact_id=body.contactId,
        privacy=body.privacy,
        dry_run=body.dryRun,
        keep_file=body.keepFile,
    )
    return {"id": str(job.id)}


def _import_items(session: Session, body: JobRequest) -> Document:
    if body.format or body.columns or body.timezone or body.dryRun or body.keepFile:
        raise InvalidInput("An import of items takes botId, contactId and privacy.")
    records = list(read_items(body.items or ()))
    job = import_now(session, records, bot_id=body.botId, contact_id=body.contactId, privacy=body.privacy)
    told = {"done": job.done, "skipped": job.skipped, "failed": job.failed}
    return {"id": str(job.id), **told, "errors": job.counts.get("errors", 0)}


def _previewed_again(session: Session, replay: Replay) -> Document:
    """As things stand now: a preview has no effect that could be repeated."""
    return _preview(session, PreviewDeletion.model_validate(replay.body))


def _preview(session: Session, body: PreviewDeletion) -> Document:
    what, wanted = body.selected()
    return preview_document(preview_deletion(session, what, wanted, body.rate, JobKind(body.kind)))


@router.post("/preview", responses=returns(DeletionPreview))
@replays(_previewed_again)
def preview_job(session: Tenant, body: PreviewDeletion) -> JSONResponse:
    """What a deletion would remove as things stand: a count, some ids, the oldest and the newest."""
    return answer(_preview(session, body))


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
    kind: Annotated[str, Query(description=f"{', '.join(JobKind)}; all unless told.")] = "",
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


@router.post("/upload", responses=returns(Uploaded), openapi_extra=BODY)
async def upload_import(request: Request, caller: Uploader) -> JSONResponse:
    """Takes a file in for an import, as large as one may be, or answers where its bytes are to be sent."""
    most = context_of(request).settings.max_import
    return answer(await take_in(request, caller, start_import_file, most))


@router.post("/{jobId}/undo", responses=returns(Identified))
@also_answers(409)
def undo_job(session: Tenant, jobId: str) -> JSONResponse:
    """Removes what an import has stored, and frees its keys; answers the job that does it. 409 when it is no
    import, is unfinished, or nothing of it is left.
    """
    return answer({"id": str(undo_import(session, jobId).id)})


@router.get("/{jobId}/error/list", responses=pages(ImportErrorAnswer, CSV))
@as_export
def list_job_errors(part: ListPart, jobId: str) -> Response:
    """What a job could not deal with, in its order: rows and words, never what they held."""
    return listed(part, partial(list_errors, job_id=jobId), each(error_document), ascending=True)
