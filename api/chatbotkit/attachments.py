"""Attachments of conversations: contract section 3.3."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from api.auth import Tenant, context_of
from api.chatbotkit.answers import also_answers, answer, returns
from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_files import AttachmentAnswer, Uploaded
from api.chatbotkit.uploads import BODY, Uploader, take_in
from api.once import Route
from api.streams import sent
from core import attachments
from core.documents_files import attachment_document

router = APIRouter(tags=["attachment"], route_class=Route)

OfMessage = Annotated[
    str, Query(alias="messageId", description="The message it belongs to, and is deleted with.")
]


@router.post(
    "/conversation/{conversationId}/attachment/upload", responses=returns(Uploaded), openapi_extra=BODY
)
async def upload_attachment(
    request: Request, caller: Uploader, conversationId: str, message_id: OfMessage = ""
) -> JSONResponse:
    """Takes a file in, or answers where its bytes are to be sent."""
    return answer(
        await take_in(
            request,
            caller,
            lambda session, told: attachments.start_attachment(
                session, conversationId, told, message_id=message_id or None
            ),
        )
    )


@router.post("/Attachment/{conversationId}/upload", responses=returns(Uploaded), openapi_extra=BODY)
async def upload_attachment_as_the_npm_sdk_does(
    request: Request, caller: Uploader, conversationId: str, message_id: OfMessage = ""
) -> JSONResponse:
    """The same, at the address the npm SDK asks for."""
    return await upload_attachment(request, caller, conversationId, message_id)


@router.get("/conversation/{conversationId}/attachment/list", responses=pages(AttachmentAnswer))
@as_list
def list_attachments(conversationId: str, part: ListPart) -> Response:
    """The attachments whose content is there, newest first."""
    fetch = partial(attachments.list_attachments, conversation_id=conversationId)
    return listed(part, fetch, each(attachment_document))


@router.get("/conversation/{conversationId}/attachment/{attachmentId}/download", response_class=Response)
def download_attachment(
    request: Request, caller: Uploader, conversationId: str, attachmentId: str
) -> Response:
    """The bytes, as a download."""
    context = context_of(request)
    with context.transaction(caller.account_id) as session:
        stored = attachments.open_attachment(session, conversationId, attachmentId)
    return sent(context, stored)


@router.post("/conversation/{conversationId}/attachment/{attachmentId}/delete", responses=returns(Identified))
@also_answers(409)
def delete_attachment(session: Tenant, conversationId: str, attachmentId: str) -> JSONResponse:
    """Removes the attachment with its content."""
    return answer({"id": str(attachments.delete_attachment(session, conversationId, attachmentId))})
