"""Bots: contract section 3.1."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.auth import Tenant
from api.chatbotkit import lists
from api.chatbotkit.answers import answer, returns
from api.chatbotkit.lists import ListPart
from api.chatbotkit.shapes import BotAnswer, BotRequest, Identified, Page
from core import bots
from core.documents import bot_document

router = APIRouter(prefix="/bot", tags=["bot"])


@router.post("/create", responses=returns(Identified))
def create_bot(session: Tenant, body: BotRequest) -> JSONResponse:
    return answer({"id": str(bots.create_bot(session, **body.model_dump()).id)})


@router.get("/list", responses=returns(Page[BotAnswer]))
def list_bots(session: Tenant, part: ListPart) -> JSONResponse:
    """The account's bots, newest first."""
    return answer(lists.answer([bot_document(bot) for bot in bots.list_bots(session, **part.window())]))


@router.get("/{botId}/fetch", responses=returns(BotAnswer))
def fetch_bot(session: Tenant, botId: str) -> JSONResponse:
    return answer(bot_document(bots.get_bot(session, botId)))
