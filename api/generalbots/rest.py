"""Start, say, read and list conversations (contract sections 2.4 to 2.7)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.auth import context_of
from api.chatbotkit.answers import answer, replays, returns
from api.errors import CONVERSATIONS
from api.generalbots.brought import store_brought, throw_away
from api.generalbots.pace import Bucket, GuestPart, GuestTenant, counts, guest_key
from api.generalbots.shapes import (
    ConversationsAnswer,
    Delivered,
    HistoryAnswer,
    SendRequest,
    Started,
    StartRequest,
    StatusAnswer,
    StatusRequest,
    conversation_item,
    delivered,
    message_item,
    started,
    status_item,
)
from api.once import Opening, Replay, Route
from api.strict_json import read_object
from core import conversing
from core.accounts import Caller
from core.audit import Action
from core.conversing import Reach
from core.errors import InvalidInput
from core.idempotency import WriteKey
from core.rows import own
from core.sight import SCOPE, seen_messages
from models import Message

router = APIRouter(prefix=CONVERSATIONS, tags=["conversations"], route_class=Route)

NUMBER = re.compile(r"-?[0-9]{1,18}")
# A plus sign that was not encoded arrives as a blank.
BLANK = re.compile(r" (?=\d\d:?\d\d$)")


def body_of(shape: Any, example: Mapping[str, Any]) -> dict[str, Any]:
    """The documented body of a route that reads it itself, since what is wrong with it is told last."""
    schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)  # AttachmentItem stands among the answers too
    return {
        "requestBody": {
            "required": bool(schema.get("required")),
            "content": {"application/json": {"schema": schema, "example": dict(example)}},
        }
    }


def _started_again(session: Session, replay: Replay) -> dict[str, Any]:
    del session
    return started(replay.result["conversation_id"])


@router.post(
    "/start",
    responses=returns(Started),
    openapi_extra=body_of(StartRequest, {"bot_id": "default", "initial_message": "Hello"}),
)
@counts(Bucket.MESSAGE)
@replays(_started_again)
def start_conversation(session: GuestTenant, request: Request, caller: GuestPart) -> JSONResponse:
    """Opens a new conversation, always; what is said first is stored and answered by the bot."""
    body = read_object(request.state.body)
    bot = body.get("bot_id")
    if not isinstance(bot, str | None):
        raise InvalidInput("bot_id must be text.")
    begun = conversing.start(session, Reach.of(caller), bot=bot, text=body.get("initial_message"))
    return answer(started(begun.conversation.id))


def _delivered_again(session: Session, replay: Replay) -> dict[str, Any]:
    return delivered(own(session, Message, replay.result["message_id"]))


@router.post(
    "/{conversation_id}/messages",
    responses=returns(Delivered),
    openapi_extra=body_of(SendRequest, {"content": "Where is my order?", "attachments": []}),
)
@counts(Bucket.MESSAGE)
@replays(_delivered_again)
def say_in_conversation(
    request: Request,
    caller: GuestPart,
    conversation_id: str,
    key: Annotated[WriteKey | None, Depends(guest_key)],
) -> JSONResponse:
    """Stores a message and has it answered; the answer stands in the history, and is told to whoever listens.

    Messages that come while a bot answers are answered together after that. An archived conversation becomes
    active again.
    """
    context, reach = context_of(request), Reach.of(caller)
    brought = store_brought(context, caller, reach, conversation_id, request.state.body)

    def write(session: Session) -> JSONResponse:
        conversing.reached(session, reach, conversation_id)
        body = read_object(request.state.body)
        content = body.get("content")
        attachments = brought.put_in(conversing.listed_attachments(body.get("attachments")))
        if not isinstance(content, str) and not (content is None and attachments):
            raise InvalidInput("content must be text.")
        said = conversing.say(session, reach, conversation_id, content or "", attachments=attachments)
        return answer(delivered(said.message))

    try:
        return Opening(context, request, caller, key).carry_out(write)  # type: ignore[return-value]
    except BaseException:
        throw_away(context, caller, conversation_id, brought)
        raise


@router.get("/{conversation_id}/history", responses=returns(HistoryAnswer))
@counts(Bucket.HISTORY)
def read_history(
    session: GuestTenant,
    caller: GuestPart,
    conversation_id: str,
    *,
    limit: Annotated[
        str | None, Query(description="1 to 100; 50 unless told.", json_schema_extra={"type": "integer"})
    ] = None,
    before: Annotated[str | None, Query(description="Only messages before this instant, ISO 8601.")] = None,
    after: Annotated[str | None, Query(description="Only messages after this instant, ISO 8601.")] = None,
) -> JSONResponse:
    """The newest messages, oldest first; with `after` the first after it. `has_more`: there are others."""
    reach = Reach.of(caller)
    conversing.reached(session, reach, conversation_id)
    found = conversing.history(
        session,
        reach,
        conversation_id,
        limit=_number("limit", limit, 50),
        before=_instant("before", before),
        after=_instant("after", after),
    )
    shown = _seen(session, caller, found.messages)
    return answer({"messages": [message_item(one) for one in shown], "has_more": found.has_more})


@router.get("", responses=returns(ConversationsAnswer))
@counts(Bucket.LIST)
def list_conversations_of_user(
    session: GuestTenant,
    caller: GuestPart,
    *,
    bot_id: Annotated[str | None, Query(description="Only with this bot.")] = None,
    status: Annotated[str | None, Query(description="active or archived; both unless told.")] = None,
    limit: Annotated[
        str | None, Query(description="1 to 100; 20 unless told.", json_schema_extra={"type": "integer"})
    ] = None,
    offset: Annotated[
        str | None, Query(description="How many to leave out.", json_schema_extra={"type": "integer"})
    ] = None,
) -> JSONResponse:
    """The user's conversations, the latest active first, and how many match in all."""
    listed, total = conversing.list_conversations(
        session,
        Reach.of(caller),
        bot=bot_id,
        status=status,
        limit=_number("limit", limit, 20),
        offset=_number("offset", offset, 0),
    )
    last = [one.last for one in listed if one.last is not None]
    seen = {one.conversation_id: one for one in _seen(session, caller, last)}
    shown = [replace(one, last=seen.get(one.conversation.id)) for one in listed]
    return answer({"conversations": [conversation_item(one) for one in shown], "total": total})


@router.patch(
    "/{conversation_id}",
    responses=returns(StatusAnswer),
    openapi_extra=body_of(StatusRequest, {"status": "archived"}),
)
def change_conversation_status(
    session: GuestTenant, request: Request, caller: GuestPart, conversation_id: str
) -> JSONResponse:
    """An extension: archives the conversation, or makes it active again."""
    reach = Reach.of(caller)
    conversing.reached(session, reach, conversation_id)
    body = read_object(request.state.body)
    return answer(status_item(conversing.set_status(session, reach, conversation_id, body.get("status"))))


def _seen(session: Session, caller: Caller, messages: Sequence[Any]) -> Sequence[Any]:
    """With the values behind their tokens, for whoever may read them."""
    if SCOPE not in caller.scopes or not messages:
        return messages
    return seen_messages(session, messages, Action.READ_MESSAGES)


def _number(name: str, words: str | None, default: int) -> int:
    if words is None:
        return default
    if not NUMBER.fullmatch(words):
        raise InvalidInput(f"{name} must be a whole number.")
    return int(words)


def _instant(name: str, words: str | None) -> datetime | None:
    """ISO 8601; without a zone it is UTC."""
    if words is None:
        return None
    try:
        found = datetime.fromisoformat(BLANK.sub("+", words.strip()))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{name} must be an instant in ISO 8601, such as 2026-03-01T09:15:00Z.") from None
