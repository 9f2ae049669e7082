"""Files: contract section 6."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import CallerPart, Tenant
from api.chatbotkit.answers import also_answers, answer, returns
from api.chatbotkit.lists import ListPart, as_list, listed, pages
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_files import FileAnswer, FileRequest, Link, Uploaded
from api.chatbotkit.shapes_knowledge import SyncAnswer
from api.chatbotkit.uploads import BODY, Uploader, take_in
from api.links import link_to
from api.once import Route
from core import files
from core.documents import Document
from core.documents_files import file_document
from core.sync_jobs import create_sync_jobs_of
from models import File

router = APIRouter(prefix="/file", tags=["file"], route_class=Route)


@router.post("/create", responses=returns(Identified))
def create_file(session: Tenant, body: FileRequest) -> JSONResponse:
    """A new file; its content is uploaded afterwards."""
    return answer({"id": str(files.create_file(session, **body.given(files.FIELDS)).id)})


@router.get("/list", responses=pages(FileAnswer))
@as_list
def list_files(part: ListPart) -> Response:
    """The account's files, newest first."""
    return listed(part, files.list_files, show_files)


@router.get("/{fileId}/fetch", responses=returns(FileAnswer))
def fetch_file(session: Tenant, fileId: str) -> JSONResponse:
    """A file."""
    return answer(file_document(*files.get_file(session, fileId)))


@router.post("/{fileId}/update", responses=returns(Identified))
def update_file(session: Tenant, fileId: str, body: FileRequest) -> JSONResponse:
    """Changes the fields that are sent; null clears, meta is merged."""
    return answer({"id": str(files.update_file(session, fileId, **body.given(files.FIELDS)).id)})


@router.post("/{fileId}/delete", responses=returns(Identified))
def delete_file(session: Tenant, fileId: str) -> JSONResponse:
    """Removes the file and its content; records made of it stay."""
    return answer({"id": str(files.delete_file(session, fileId))})


@router.post("/{fileId}/upload", responses=returns(Uploaded), openapi_extra=BODY)
async def upload_file(request: Request, caller: Uploader, fileId: str) -> JSONResponse:
    """Takes new content in, or answers where its bytes are to be sent."""
    return answer(
        await take_in(request, caller, lambda session, told: files.start_file_content(session, fileId, told))
    )


@router.get("/{fileId}/download", responses=returns(Link))
def download_file(request: Request, session: Tenant, caller: CallerPart, fileId: str) -> JSONResponse:
    """A link to the bytes that works once. An export of original values needs the scope pii:read."""
    ticket = files.download_ticket(session, fileId, caller.scopes)
    return answer({"url": link_to(request, "download", ticket)})


@router.post("/{fileId}/sync", responses=returns(SyncAnswer))
@also_answers(409)
def sync_file(session: Tenant, fileId: str) -> JSONResponse:
    """Makes the file's records anew, by a job, in every dataset it is attached to. 409 when a thousand are
    unfinished.
    """
    file, job = create_sync_jobs_of(session, fileId)
    return answer({"id": str(file.id), **({"jobId": str(job.id)} if job else {})})


def show_files(session: Session, found: Sequence[File]) -> list[Document]:
    """Files with what is known of their content, for a list."""
    contents = files.contents_of(session, [file.id for file in found])
    return [file_document(file, contents.get(file.id)) for file in found]
