"""Bots: contract section 3.1."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from api.auth import Tenant
from api.chatbotkit.answers import answer, returns
from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.shapes import BotAnswer, BotRequest, Identified
from api.once import Route
from core import bots
from core.documents import bot_document

router = APIRouter(prefix="/bot", tags=["bot"], route_class=Route)


@router.post("/create", responses=returns(Identified))
def create_bot(session: Tenant, body: BotRequest) -> JSONResponse:
    """A new bot."""
    return answer({"id": str(bots.create_bot(session, **body.model_dump()).id)})


@router.get("/list", responses=pages(BotAnswer))
@as_list
def list_bots(part: ListPart) -> Response:
    """The account's bots, newest first."""
    return listed(part, bots.list_bots, each(bot_document))


@router.get("/{botId}/fetch", responses=returns(BotAnswer))
def fetch_bot(session: Tenant, botId: str) -> JSONResponse:
    """A bot."""
    return answer(bot_document(bots.get_bot(session, botId)))
