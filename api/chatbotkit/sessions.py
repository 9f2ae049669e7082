"""Sessions: tokens that open one conversation, for browsers (contract sections 3.1 and 3.6)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.auth import Tenant
from api.chatbotkit.answers import also_answers, answer, replays, returns
from api.chatbotkit.shapes_sessions import (
    BotSessionAnswer,
    BotSessionRequest,
    SessionAnswer,
    SessionRequest,
)
from api.once import HEADER, Replay, Route
from core.conversations import MOST_AT_CREATION
from core.documents import milliseconds
from core.drafts import drafts_of
from core.errors import Conflict
from core.session_tokens import create_session_token, derived_secret, is_known, open_bot_conversation

router = APIRouter(tags=["session"], route_class=Route)


def _secret(request: Request, conversation_id: uuid.UUID | str, ends_ms: int | None) -> str:
    """The secret of a session that is asked for under an Idempotency-Key."""
    bearer = request.headers["authorization"].partition(" ")[2].strip()
    return derived_secret(bearer, request.headers[HEADER], conversation_id, ends_ms or 0)


def _create(
    session: Session, request: Request, conversation_id: uuid.UUID | str, seconds: int | None
) -> dict[str, Any]:
    """A session as it is answered. A secret that may have to be told again is derived, not drawn."""

    def derive(conversation_id: uuid.UUID, ends: datetime) -> str:
        return _secret(request, conversation_id, milliseconds(ends))

    make = derive if HEADER in request.headers else None
    row, secret = create_session_token(session, conversation_id, seconds, make)
    return {"id": str(row.conversation_id), "token": secret, "expiresAt": milliseconds(row.expires_at)}


def _told_again(session: Session, replay: Replay) -> Mapping[str, Any]:
    """The same answer; the token is derived once more, and what was said comes from the body.

    Raises:
        Conflict: the session is gone, or it was made with another token than this one.

    """
    conversation_id = replay.result.get("conversationId", replay.result["id"])
    secret = _secret(replay.request, conversation_id, replay.result["expiresAt"])
    if not is_known(session, secret):
        raise Conflict("This session is gone, or another token asked for it: take a new Idempotency-Key.")
    return {**replay.result, "token": secret} | _said(replay.body.get("messages"))


def _said(messages: list[dict[str, Any]] | None) -> dict[str, Any]:
    if not messages:
        return {}
    return {"messages": [{"type": said["type"], "text": said["text"]} for said in messages]}


@router.post("/conversation/{conversationId}/session/create", responses=returns(SessionAnswer))
@also_answers(409)
@replays(_told_again)
def create_session(
    session: Tenant, request: Request, conversationId: str, body: SessionRequest
) -> JSONResponse:
    """A token for a browser: it may send, receive, complete, and create and list messages, here alone."""
    return answer(_create(session, request, conversationId, body.durationInSeconds))


@router.post("/bot/{botId}/session/create", responses=returns(BotSessionAnswer))
@also_answers(409)
@replays(_told_again)
def create_bot_session(
    session: Tenant, request: Request, botId: str, body: BotSessionRequest
) -> JSONResponse:
    """A new conversation with the bot, and a token that opens it alone."""
    given = [said.model_dump() for said in body.messages or []]
    drafts = drafts_of(given, most=MOST_AT_CREATION, activities=True)
    conversation = open_bot_conversation(session, botId, drafts, body.meta)
    made = _create(session, request, conversation.id, body.durationInSeconds)
    ids = {"id": str(conversation.bot_id), "conversationId": made["id"]}
    return answer(made | ids | _said(given))
