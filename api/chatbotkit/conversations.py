"""Conversations: contract section 3.3, as far as no model is asked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import CallerPart, Tenant
from api.chatbotkit.answers import CSV, also_answers, answer, replays, returns
from api.chatbotkit.lists import Listing, ListPart, alternatives, as_export, as_list, listed, pages, shown_to
from api.chatbotkit.shapes import ConversationAnswer, Identified
from api.chatbotkit.shapes_conversations import (
    ContactShape,
    ConversationChange,
    ConversationFields,
    ConversationRequest,
    ConversationUsage,
    CreatedConversation,
    RatingRequest,
)
from api.once import Replay, Route
from core import conversations
from core.drafts import draft_document, drafts_of
from core.ratings import downvote_value, rate, upvote_value
from core.schedule import read_instant

router = APIRouter(prefix="/conversation", tags=["conversation"], route_class=Route)

VERB_NAMES = {
    "name": "name",
    "description": "description",
    "meta": "meta",
    "botId": "bot_id",
    "backstory": "backstory",
    "model": "model",
    "datasetId": "dataset_id",
    "skillsetId": "skillset_id",
    "privacy": "privacy",
    "moderation": "moderation",
    "contactId": "contact_id",
    "taskId": "task_id",
    "source": "source",
    "expiresAt": "expires_at",
}


def _fields(body: ConversationFields, **more: str) -> dict[str, Any]:
    contact = body.contact.model_dump(exclude_none=True) if body.contact else None
    return {**body.given({**VERB_NAMES, **more}), "contact": contact}


async def _filters(  # noqa: PLR0917 (each is a parameter of the query)
    task_id: Annotated[str, Query(alias="taskId", description="One task, or several by commas.")] = "",
    bot_id: Annotated[str, Query(alias="botId", description="One bot, or several by commas.")] = "",
    contact_id: Annotated[
        str, Query(alias="contactId", description="One contact, or several by commas.")
    ] = "",
    source: Annotated[str, Query(description="Those that came from there.")] = "",
    status: Annotated[str, Query(description="active or archived.")] = "",
    search: Annotated[
        str, Query(description="Words of the name, the description or a message; quotes, or and -word work.")
    ] = "",
) -> dict[str, Any]:
    return {
        "task_id": alternatives(task_id),
        "bot_id": alternatives(bot_id),
        "contact_id": alternatives(contact_id),
        "source": source or None,
        "status": status or None,
        "search": search.strip() or None,
    }


Filters = Annotated[dict[str, Any], Depends(_filters)]


def _created_again(session: Session, replay: Replay) -> dict[str, Any]:
    del session
    body = ConversationRequest.model_validate(replay.body)
    items = [item.model_dump() for item in body.messages or ()]
    drafts = drafts_of(items, most=conversations.MOST_AT_CREATION, activities=True)
    echo = {"messages": [draft_document(draft) for draft in drafts]} if drafts else {}
    return {"id": replay.result["id"], **echo}


@router.post("/create", responses=returns(CreatedConversation))
@replays(_created_again)
def create_conversation(session: Tenant, body: ConversationRequest) -> JSONResponse:
    """A new conversation, with the messages it begins with. No bot answers them."""
    items = [item.model_dump() for item in body.messages or ()]
    drafts = drafts_of(items, most=conversations.MOST_AT_CREATION, activities=True)
    made = conversations.create_conversation(session, messages=drafts, **_fields(body))
    echo = {"messages": [draft_document(draft) for draft in drafts]} if drafts else {}
    return answer({"id": str(made.id), **echo})


def _listed(part: Listing, filters: Mapping[str, Any]) -> Response:
    fetch = partial(conversations.list_conversations, **filters)
    return listed(part, fetch, shown_to(part.caller), in_transaction=filters["search"] is not None)


@router.get("/list", responses=pages(ConversationAnswer))
@as_list
def list_conversations(part: ListPart, filters: Filters) -> Response:
    """The account's conversations, newest first."""
    return _listed(part, filters)


@router.get("/export", responses=pages(ConversationAnswer, CSV))
@as_export
def export_conversations(part: ListPart, filters: Filters) -> Response:
    """The same as a table or a stream."""
    return _listed(part, filters)


@router.get("/{conversationId}/fetch", responses=returns(ConversationAnswer))
def fetch_conversation(session: Tenant, caller: CallerPart, conversationId: str) -> JSONResponse:
    """A conversation, without its messages."""
    (document,) = shown_to(caller)(session, [conversations.get_conversation(session, conversationId)])
    return answer(document)


@router.post("/{conversationId}/update", responses=returns(Identified))
@also_answers(409)
def update_conversation(session: Tenant, conversationId: str, body: ConversationChange) -> JSONResponse:
    """Changes the fields that are sent; null clears. A turn under way goes on as it began."""
    fields = _fields(body, status="status")
    return answer({"id": str(conversations.update_conversation(session, conversationId, **fields).id)})


@router.post("/{conversationId}/delete", responses=returns(Identified))
@also_answers(409)
def delete_conversation(session: Tenant, conversationId: str) -> JSONResponse:
    """Removes the conversation with its messages; a turn under way is cancelled."""
    return answer({"id": str(conversations.delete_conversation(session, conversationId))})


@router.post("/{conversationId}/upvote", responses=returns(Identified))
def upvote_conversation(session: Tenant, conversationId: str, body: RatingRequest) -> JSONResponse:
    """A vote for it, 100 unless told; the same vote within the hour counts once."""
    conversation = conversations.get_conversation(session, conversationId)
    rate(session, upvote_value(body.value), body.reason, conversation=conversation)
    return answer({"id": str(conversation.id)})


@router.post("/{conversationId}/downvote", responses=returns(Identified))
def downvote_conversation(session: Tenant, conversationId: str, body: RatingRequest) -> JSONResponse:
    """A vote against it, -100 unless told; the same vote within the hour counts once."""
    conversation = conversations.get_conversation(session, conversationId)
    rate(session, downvote_value(body.value), body.reason, conversation=conversation)
    return answer({"id": str(conversation.id)})


@router.post("/{conversationId}/contact/upsert", responses=returns(Identified))
@also_answers(409)
def upsert_contact(session: Tenant, conversationId: str, body: ContactShape) -> JSONResponse:
    """Links a contact, found by its fingerprint or made; without one the linked contact changes."""
    given = body.model_dump(exclude_none=True)
    return answer({"id": str(conversations.upsert_contact_of(session, conversationId, **given).id)})


@router.get("/{conversationId}/usage/fetch", responses=returns(ConversationUsage))
def fetch_conversation_usage(
    session: Tenant,
    conversationId: str,
    since: Annotated[str, Query(alias="from", description="ISO 8601, UTC without an offset.")] = "",
    until: Annotated[str, Query(alias="to", description="The first instant that does not count.")] = "",
) -> JSONResponse:
    """The tokens its runs used and the messages it holds."""
    first, last = (read_instant(at, None) if at else None for at in (since, until))
    tokens, messages = conversations.usage_of(session, conversationId, first, last)
    return answer({"tokens": tokens, "messages": messages})
