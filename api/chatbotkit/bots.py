"""Bots: contract section 3.1."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import Tenant
from api.chatbotkit.answers import also_answers, answer, replays, returns
from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.memories import found_memories
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_memories import BotMemoryRequest, Memories
from api.chatbotkit.shapes_objects import (
    BotAnswer,
    BotRequest,
    UsedAnswer,
    VoteRequest,
)
from api.once import Replay, Route
from core import bots
from core.documents_objects import bot_document
from core.ratings import downvote_value, rate, upvote_value
from core.used import read_span, used_by_bot

router = APIRouter(prefix="/bot", tags=["bot"], route_class=Route)

VERB_NAMES = {
    "name": "name",
    "description": "description",
    "backstory": "backstory",
    "model": "model",
    "datasetId": "dataset_id",
    "skillsetId": "skillset_id",
    "privacy": "privacy",
    "moderation": "moderation",
    "visibility": "visibility",
    "alias": "alias",
    "meta": "meta",
}


@router.post("/create", responses=returns(Identified))
def create_bot(session: Tenant, body: BotRequest) -> JSONResponse:
    """A new bot."""
    return answer({"id": str(bots.create_bot(session, **body.given(VERB_NAMES)).id)})


@router.get("/list", responses=pages(BotAnswer))
@as_list
def list_bots(part: ListPart) -> Response:
    """The account's bots, newest first."""
    return listed(part, bots.list_bots, each(bot_document))


@router.get("/{botId}/fetch", responses=returns(BotAnswer))
def fetch_bot(session: Tenant, botId: str) -> JSONResponse:
    """A bot."""
    return answer(bot_document(bots.get_bot(session, botId)))


@router.post("/{botId}/update", responses=returns(Identified))
def update_bot(session: Tenant, botId: str, body: BotRequest) -> JSONResponse:
    """Changes the fields that are sent; null clears."""
    return answer({"id": str(bots.update_bot(session, botId, **body.given(VERB_NAMES)).id)})


@router.post("/{botId}/clone", responses=returns(Identified))
def clone_bot(session: Tenant, botId: str) -> JSONResponse:
    """Another bot like this one; the id is the new one's."""
    return answer({"id": str(bots.clone_bot(session, botId).id)})


@router.post("/{botId}/delete", responses=returns(Identified))
@also_answers(409)
def delete_bot(session: Tenant, botId: str) -> JSONResponse:
    """Deletes the bot; its conversations and tasks stay without one. 409 for the default bot."""
    return answer({"id": str(bots.delete_bot(session, botId))})


@router.post("/{botId}/upvote", responses=returns(Identified))
def upvote_bot(session: Tenant, botId: str, body: VoteRequest) -> JSONResponse:
    """Records a vote. The same one within an hour is recorded once."""
    bot = bots.get_bot(session, botId)
    rate(session, upvote_value(body.value), body.reason, bot=bot)
    return answer({"id": str(bot.id)})


@router.post("/{botId}/downvote", responses=returns(Identified))
def downvote_bot(session: Tenant, botId: str, body: VoteRequest) -> JSONResponse:
    """Records a vote. The same one within an hour is recorded once."""
    bot = bots.get_bot(session, botId)
    rate(session, downvote_value(body.value), body.reason, bot=bot)
    return answer({"id": str(bot.id)})


@router.get("/{botId}/usage/fetch", responses=returns(UsedAnswer))
def fetch_bot_usage(
    session: Tenant,
    botId: str,
    since: Annotated[str, Query(alias="from", description="A date or a time, ISO 8601.")] = "",
    until: Annotated[str, Query(alias="to", description="The same; a date's whole day belongs to it.")] = "",
) -> JSONResponse:
    """What the bot's conversations came to, as far as they are still there."""
    bot = bots.get_bot(session, botId)
    return answer(used_by_bot(session, bot.id, read_span(since, until)))


def _found_again(session: Session, replay: Replay) -> dict[str, Any]:
    return found_memories(session, str(replay.body["search"]), bot=replay.path["botId"])


@router.post("/{botId}/memory/search", responses=returns(Memories))
@replays(_found_again)
def search_bot_memory(session: Tenant, botId: str, body: BotMemoryRequest) -> JSONResponse:
    """The memories of the bot that have any of the words, best first, whomever they are about."""
    return answer(found_memories(session, body.search, bot=botId))
