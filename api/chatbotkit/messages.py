"""Messages: contract section 3.4. Nothing here makes a bot answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import CallerPart, Tenant, context_of
from api.chatbotkit.answers import also_answers, answer, replays, returns, takes_session_tokens
from api.chatbotkit.lists import ListPart, as_list, listed, pages
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
from core.accounts import Caller
from core.audit import Action
from core.documents import Document, message_document
from core.drafts import Draft, draft_of, drafts_of
from core.entities import read_entities
from core.errors import NotAuthorized
from core.ratings import downvote_value, rate, upvote_value
from core.said import stored_said
from core.sight import SCOPE, seen_messages
from models import MessageType

router = APIRouter(prefix="/conversation/{conversationId}/message", tags=["message"], route_class=Route)

# All else is told to the model as the bot's own words or orders.
OF_SESSIONS = frozenset({MessageType.USER, MessageType.ACTIVITY})
VERB_NAMES = {name: name for name in messages.FIELDS}


def _stored(written: messages.Written, draft: Draft) -> Document:
    return {"id": str(written.message.id), "entities": written.said.documents(draft.text)}


def _found_again(session: Session, replay: Replay, drafts: Sequence[Draft]) -> list[list[Document]]:
    """The entities of what was sent, which was sent again."""
    texts = [(draft.text, draft.entities) for draft in drafts]
    found = messages.looked_at(session, replay.path["conversationId"], texts)
    return [said.documents(text) for said, (text, _) in zip(found, texts, strict=True)]


def _created_again(session: Session, replay: Replay) -> Document:
    draft = draft_of(MessageRequest.model_validate(replay.body).model_dump())
    (entities,) = _found_again(session, replay, [draft])
    return {"id": replay.result["id"], "entities": entities}


def _batch_again(session: Session, replay: Replay) -> Document:
    body = BatchRequest.model_validate(replay.body)
    drafts = drafts_of([item.model_dump() for item in body.items], most=messages.MOST_AT_ONCE)
    found = _found_again(session, replay, drafts)
    items = [
        {"id": stored["id"], "entities": entities} | ({} if item.id is None else {"originalId": item.id})
        for stored, entities, item in zip(replay.result["items"], found, body.items, strict=True)
    ]
    return {"items": items}


def _updated_again(session: Session, replay: Replay) -> Document:
    """With what is known of the message as it is now, where the update left its text alone."""
    body, path = MessageChange.model_validate(replay.body), replay.path
    given = None if body.entities is None else [entity.model_dump() for entity in body.entities]
    if body.text is None:
        message = messages.get_message(session, path["conversationId"], path["messageId"])
        entities = stored_said(message.text, message.pii).documents(message.text)
        return {"id": replay.result["id"], "entities": entities}
    texts = [(body.text, read_entities(given, body.text))]
    (said,) = messages.looked_at(session, path["conversationId"], texts)
    return {"id": replay.result["id"], "entities": said.documents(body.text)}


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
    (written,) = messages.create_messages(session, conversationId, [draft])
    return answer(_stored(written, draft))


@router.post("/batch/create", responses=returns(BatchAnswer))
@replays(_batch_again)
def create_messages(session: Tenant, conversationId: str, body: BatchRequest) -> JSONResponse:
    """Stores messages in the order they are sent in: all of them, or none."""
    drafts = drafts_of([item.model_dump() for item in body.items], least=1, most=messages.MOST_AT_ONCE)
    stored = messages.create_messages(session, conversationId, drafts)
    items = [
        _stored(written, draft) | ({} if item.id is None else {"originalId": item.id})
        for written, draft, item in zip(stored, drafts, body.items, strict=True)
    ]
    return answer({"items": items})


@router.get("/list", responses=pages(MessageAnswer))
@takes_session_tokens
@as_list
def list_messages(conversationId: str, part: ListPart) -> Response:
    """The messages of a conversation, oldest first."""
    fetch = partial(messages.page_messages, conversation_id=conversationId)

    def show(session: Session, rows: Sequence[Any]) -> list[Document]:
        shown = seen_messages(session, rows) if SCOPE in part.caller.scopes else rows
        return [message_document(row) for row in shown]

    return listed(part, fetch, show, ascending=True)


@router.get("/{messageId}/fetch", responses=returns(MessageAnswer))
def fetch_message(session: Tenant, caller: CallerPart, conversationId: str, messageId: str) -> JSONResponse:
    """A message; with the scope pii:read with the values behind its tokens."""
    shown: Sequence[Any] = [messages.get_message(session, conversationId, messageId)]
    if SCOPE in caller.scopes:
        shown = seen_messages(session, shown)
    return answer(message_document(shown[0]))


def _reveal(session: Session, caller: Caller, conversation: str, message: str) -> Document:
    found = messages.get_message(session, conversation, message)
    if SCOPE not in caller.scopes:
        raise NotAuthorized(f"This token may not {SCOPE}.")
    shown: Sequence[Any] = seen_messages(session, [found], Action.REVEAL)
    return message_document(shown[0])


def _revealed_again(session: Session, replay: Replay) -> Document:
    """Written down again as well: what the replay's transaction does is rolled back."""
    del session
    caller, path = replay.caller, replay.path
    with context_of(replay.request).transaction(caller.account_id, actor=caller.name) as own:
        return _reveal(own, caller, path["conversationId"], path["messageId"])


@router.post("/{messageId}/reveal", responses=returns(MessageAnswer))
@also_answers(409)
@replays(_revealed_again)
def reveal_message(session: Tenant, caller: CallerPart, conversationId: str, messageId: str) -> JSONResponse:
    """The message with the values behind its tokens, which the audit remembers. Needs the scope pii:read too.

    409 where the installation's key is not the one that the values were sealed with.
    """
    return answer(_reveal(session, caller, conversationId, messageId))


@router.post("/{messageId}/update", responses=returns(StoredMessage))
@also_answers(409)
@replays(_updated_again)
def update_message(session: Tenant, conversationId: str, messageId: str, body: MessageChange) -> JSONResponse:
    """Changes the fields that are sent; meta is merged. Entities are spans of the text as it is then."""
    fields = body.given(VERB_NAMES)
    if body.entities is not None:
        fields["entities"] = [entity.model_dump() for entity in body.entities]
    written = messages.update_message(session, conversationId, messageId, **fields)
    return answer({"id": str(written.message.id), "entities": written.said.documents(written.words)})


@router.post("/{messageId}/delete", responses=returns(Identified))
@also_answers(409)
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
