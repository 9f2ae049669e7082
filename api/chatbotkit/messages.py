"""Messages: contract section 3.4. Nothing here makes a bot answer."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import CallerPart, Tenant
from api.chatbotkit.answers import answer, replays, returns, takes_session_tokens
from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.shapes import Identified, MessageAnswer
from api.chatbotkit.shapes_conversations import (
    BatchAnswer,
    BatchRequest,
    MessageChange,
    MessageRequest,
    RatingRequest,
    StoredMessage,
)
from api.once import Replay, Route
from core import messages
from core.documents import Document, message_document
from core.drafts import Draft, draft_of, drafts_of
from core.entities import entity_documents, read_entities
from core.errors import NotAuthorized
from core.ratings import downvote_value, rate, upvote_value
from models import Message, MessageType

router = APIRouter(prefix="/conversation/{conversationId}/message", tags=["message"], route_class=Route)

# All else is told to the model as the bot's own words or orders.
OF_SESSIONS = frozenset({MessageType.USER, MessageType.ACTIVITY})
VERB_NAMES = {name: name for name in messages.FIELDS}


def _stored(message: Message, draft: Draft) -> Document:
    return {"id": str(message.id), "entities": entity_documents(draft.entities, draft.text)}


def _created_again(session: Session, replay: Replay) -> Document:
    """The spans are those of what was sent, which was sent again."""
    del session
    draft = draft_of(MessageRequest.model_validate(replay.body).model_dump())
    return {"id": replay.result["id"], "entities": entity_documents(draft.entities, draft.text)}


def _batch_again(session: Session, replay: Replay) -> Document:
    del session
    body = BatchRequest.model_validate(replay.body)
    items = [
        {"id": stored["id"], "entities": entity_documents(draft.entities, draft.text)}
        | ({} if item.id is None else {"originalId": item.id})
        for stored, draft, item in zip(
            replay.result["items"],
            drafts_of([item.model_dump() for item in body.items], most=messages.MOST_AT_ONCE),
            body.items,
            strict=True,
        )
    ]
    return {"items": items}


def _updated_again(session: Session, replay: Replay) -> Document:
    """With the text of the message as it is now, where the update left it alone."""
    body = MessageChange.model_validate(replay.body)
    text = body.text
    if text is None:
        path = replay.path
        text = messages.get_message(session, path["conversationId"], path["messageId"]).text
    given = None if body.entities is None else [entity.model_dump() for entity in body.entities]
    return {"id": replay.result["id"], "entities": entity_documents(read_entities(given, text), text)}


@router.post("/create", responses=returns(StoredMessage))
@takes_session_tokens
@replays(_created_again)
def create_message(
    session: Tenant, caller: CallerPart, conversationId: str, body: MessageRequest
) -> JSONResponse:
    """Stores a message as the last one. A session's token stores what a user may say or do, and no more."""
    draft = draft_of(body.model_dump())
    if caller.conversation_id is not None and draft.type not in OF_SESSIONS:
        raise NotAuthorized("A session's token stores messages of the types user and activity only.")
    (message,) = messages.create_messages(session, conversationId, [draft])
    return answer(_stored(message, draft))


@router.post("/batch/create", responses=returns(BatchAnswer))
@replays(_batch_again)
def create_messages(session: Tenant, conversationId: str, body: BatchRequest) -> JSONResponse:
    """Stores messages in the order they are sent in: all of them, or none."""
    drafts = drafts_of([item.model_dump() for item in body.items], least=1, most=messages.MOST_AT_ONCE)
    stored = messages.create_messages(session, conversationId, drafts)
    items = [
        _stored(message, draft) | ({} if item.id is None else {"originalId": item.id})
        for message, draft, item in zip(stored, drafts, body.items, strict=True)
    ]
    return answer({"items": items})


@router.get("/list", responses=pages(MessageAnswer))
@takes_session_tokens
@as_list
def list_messages(conversationId: str, part: ListPart) -> Response:
    """The messages of a conversation, oldest first."""
    fetch = partial(messages.page_messages, conversation_id=conversationId)
    return listed(part, fetch, each(message_document), ascending=True)


@router.get("/{messageId}/fetch", responses=returns(MessageAnswer))
def fetch_message(session: Tenant, conversationId: str, messageId: str) -> JSONResponse:
    """A message."""
    return answer(message_document(messages.get_message(session, conversationId, messageId)))


@router.post("/{messageId}/update", responses=returns(StoredMessage))
@replays(_updated_again)
def update_message(session: Tenant, conversationId: str, messageId: str, body: MessageChange) -> JSONResponse:
    """Changes the fields that are sent; meta is merged. Entities are spans of the text as it is then."""
    fields = body.given(VERB_NAMES)
    if body.entities is not None:
        fields["entities"] = [entity.model_dump() for entity in body.entities]
    message, entities = messages.update_message(session, conversationId, messageId, **fields)
    return answer({"id": str(message.id), "entities": entity_documents(entities, message.text)})


@router.post("/{messageId}/delete", responses=returns(Identified))
def delete_message(session: Tenant, conversationId: str, messageId: str) -> JSONResponse:
    """Removes the message for good. A reply under way that was made from it is discarded and made anew."""
    return answer({"id": str(messages.delete_message(session, conversationId, messageId))})


@router.post("/{messageId}/upvote", responses=returns(Identified))
def upvote_message(session: Tenant, conversationId: str, messageId: str, body: RatingRequest) -> JSONResponse:
    """A vote for it, 100 unless told; the same vote within the hour counts once."""
    message = messages.get_message(session, conversationId, messageId)
    rate(session, upvote_value(body.value), body.reason, message=message)
    return answer({"id": str(message.id)})


@router.post("/{messageId}/downvote", responses=returns(Identified))
def downvote_message(
    session: Tenant, conversationId: str, messageId: str, body: RatingRequest
) -> JSONResponse:
    """A vote against it, -100 unless told; the same vote within the hour counts once."""
    message = messages.get_message(session, conversationId, messageId)
    rate(session, downvote_value(body.value), body.reason, message=message)
    return answer({"id": str(message.id)})
