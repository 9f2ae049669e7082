"""Memories: contract section 3.1, and what the SDKs' own client of them asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import Tenant
from api.chatbotkit.answers import CSV, also_answers, answer, replays, returns
from api.chatbotkit.lists import ListPart, as_export, as_list, each, listed, pages
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_memories import Memories, MemoryAnswer, MemoryRequest, MemorySearchRequest
from api.once import Replay, Route
from core import memories
from core.documents_memories import found_document, memory_document

router = APIRouter(prefix="/memory", tags=["memory"], route_class=Route)

VERB_NAMES = {
    "botId": "bot_id",
    "contactId": "contact_id",
    "name": "name",
    "description": "description",
    "text": "text",
    "expiresAt": "expires_at",
    "meta": "meta",
}


@router.post("/create", responses=returns(Identified))
@also_answers(409)
def create_memory(session: Tenant, body: MemoryRequest) -> JSONResponse:
    """A new memory of a bot, a contact, both or neither; 409 where there are a thousand of them already."""
    return answer({"id": str(memories.create_memory(session, **body.given(VERB_NAMES)).id)})


@router.get("/list", responses=pages(MemoryAnswer))
@as_list
def list_memories(part: ListPart) -> Response:
    """The account's memories, newest first."""
    return listed(part, memories.list_memories, each(memory_document))


@router.get("/export", responses=pages(MemoryAnswer, CSV))
@as_export
def export_memories(part: ListPart) -> Response:
    """The same, also as CSV."""
    return listed(part, memories.list_memories, each(memory_document))


def found_memories(
    session: Session, search: str, *, bot: str | None = None, contact: str | None = None
) -> dict[str, Any]:
    """What a search finds, as it is answered."""
    found = memories.search_memories(session, search, bot_id=bot, contact_id=contact)
    return {"items": [found_document(memory) for memory in found]}


def _found_again(session: Session, replay: Replay) -> Mapping[str, Any]:
    body = MemorySearchRequest.model_validate(replay.body)
    return found_memories(session, body.search, bot=body.botId, contact=body.contactId)


@router.post("/search", responses=returns(Memories))
@replays(_found_again)
def search_memories(session: Tenant, body: MemorySearchRequest) -> JSONResponse:
    """The memories that have any of the words, best first."""
    return answer(found_memories(session, body.search, bot=body.botId, contact=body.contactId))


@router.get("/{memoryId}/fetch", responses=returns(MemoryAnswer))
def fetch_memory(session: Tenant, memoryId: str) -> JSONResponse:
    """A memory."""
    return answer(memory_document(memories.get_memory(session, memoryId)))


@router.post("/{memoryId}/update", responses=returns(Identified))
@also_answers(409)
def update_memory(session: Tenant, memoryId: str, body: MemoryRequest) -> JSONResponse:
    """Changes the fields that are sent; null clears, meta is merged. 409 under a legal hold."""
    return answer({"id": str(memories.update_memory(session, memoryId, **body.given(VERB_NAMES)).id)})


@router.post("/{memoryId}/delete", responses=returns(Identified))
@also_answers(409)
def delete_memory(session: Tenant, memoryId: str) -> JSONResponse:
    """Deletes the memory for good. 409 under a legal hold."""
    return answer({"id": str(memories.delete_memory(session, memoryId))})
