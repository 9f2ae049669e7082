"""Privacy: policies, and what they make of a text. Our own, in the style of the dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.auth import Tenant
from api.chatbotkit.answers import also_answers, answer, replays, returns
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_privacy import PolicyAnswer, PolicyRequest, PreviewAnswer, PreviewRequest
from api.once import Replay, Route
from core.documents_entities import preview_document
from core.documents_privacy import policy_document
from core.privacy_policies import effective_of, owner_of, set_policy, try_out

router = APIRouter(tags=["privacy"], route_class=Route)


@router.get("/privacy/policy/fetch", responses=returns(PolicyAnswer))
def fetch_policy(session: Tenant) -> JSONResponse:
    """The account's policy, and what holds where nothing more specific is said."""
    return _fetched(session)


@router.post("/privacy/policy/update", responses=returns(Identified))
def update_policy(session: Tenant, body: PolicyRequest) -> JSONResponse:
    """Replaces the account's policy; null takes it away. What is stored stays as it is: see /job/create."""
    return _updated(session, body)


@router.get("/bot/{botId}/privacy/policy/fetch", responses=returns(PolicyAnswer))
def fetch_bot_policy(session: Tenant, botId: str) -> JSONResponse:
    """A bot's policy, and what holds for its conversations."""
    return _fetched(session, bot_id=botId)


@router.post("/bot/{botId}/privacy/policy/update", responses=returns(Identified))
def update_bot_policy(session: Tenant, botId: str, body: PolicyRequest) -> JSONResponse:
    """Replaces a bot's policy; null takes it away."""
    return _updated(session, body, bot_id=botId)


@router.get("/conversation/{conversationId}/privacy/policy/fetch", responses=returns(PolicyAnswer))
def fetch_conversation_policy(session: Tenant, conversationId: str) -> JSONResponse:
    """A conversation's policy, and what holds for its messages."""
    return _fetched(session, conversation_id=conversationId)


@router.post("/conversation/{conversationId}/privacy/policy/update", responses=returns(Identified))
def update_conversation_policy(session: Tenant, conversationId: str, body: PolicyRequest) -> JSONResponse:
    """Replaces a conversation's policy; null takes it away."""
    return _updated(session, body, conversation_id=conversationId)


def _fetched(session: Session, **of: str) -> JSONResponse:
    owner = owner_of(session, **of)
    return answer(policy_document(owner, effective_of(session, owner)))


def _updated(session: Session, body: PolicyRequest, **of: str) -> JSONResponse:
    owner = owner_of(session, **of)
    set_policy(session, owner, body.policy)
    return answer({"id": str(owner.id)})


def _previewed_again(session: Session, replay: Replay) -> Mapping[str, Any]:
    return _previewed(session, PreviewRequest.model_validate(replay.body))


@router.post("/privacy/preview", responses=returns(PreviewAnswer))
@also_answers(404)
@replays(_previewed_again)
def preview_privacy(session: Tenant, body: PreviewRequest) -> JSONResponse:
    """What would be found in a text, and what would be stored of it. Nothing of it is kept."""
    return answer(_previewed(session, body))


def _previewed(session: Session, body: PreviewRequest) -> Mapping[str, Any]:
    of = {"bot_id": body.botId, "conversation_id": body.conversationId}
    said = try_out(session, body.text, body.policy, **of)
    return preview_document(body.text, said.text, said.found, body.offsetUnit)
