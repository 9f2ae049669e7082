"""Skillsets and their abilities: contract section 6."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.auth import CallerPart, Tenant, context_of
from api.chatbotkit.answers import (
    CSV,
    EVENTS,
    JSON,
    JSONL,
    also_answers,
    answer,
    answers_in,
    event_line,
    form_of,
    returns,
    server_event,
)
from api.chatbotkit.lists import ListPart, as_export, as_list, each, listed, pages
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_knowledge import (
    AbilityAnswer,
    AbilityRequest,
    ExecuteRequest,
    ExecutionAnswer,
    SkillsetAnswer,
    SkillsetRequest,
)
from api.chatbotkit.stateless import Asked, Ends, carry_through, events_of, waited
from api.once import Route
from core import skillsets
from core.accounts import Caller
from core.chat.provider import Deadline
from core.context import Context
from core.documents_knowledge import ability_document, skillset_document
from core.executing import Execution, execute
from core.notes import MemoryNotes
from core.outcomes import Answer
from core.rows import own
from core.shields import stateless_shield
from core.sight import Sight
from core.skills.abilities import skill_of
from core.skills.skill import Acting
from core.turn_requests import TurnRequest
from models import Contact, new_id

router = APIRouter(prefix="/skillset", tags=["skillset"], route_class=Route)

LINKS = {name: name for name in skillsets.LINKS}


def _fields(body: AbilityRequest) -> dict[str, Any]:
    return {**body.given(skillsets.ABILITY_FIELDS), "links": body.given(LINKS)}


@router.post("/create", responses=returns(Identified))
def create_skillset(session: Tenant, body: SkillsetRequest) -> JSONResponse:
    """A new skillset."""
    return answer({"id": str(skillsets.create_skillset(session, **body.given(skillsets.FIELDS)).id)})


@router.get("/list", responses=pages(SkillsetAnswer))
@as_list
def list_skillsets(part: ListPart) -> Response:
    """The account's skillsets, newest first."""
    return listed(part, skillsets.list_skillsets, each(skillset_document))


@router.get("/{skillsetId}/fetch", responses=returns(SkillsetAnswer))
def fetch_skillset(session: Tenant, skillsetId: str) -> JSONResponse:
    """A skillset."""
    return answer(skillset_document(skillsets.get_skillset(session, skillsetId)))


@router.post("/{skillsetId}/update", responses=returns(Identified))
def update_skillset(session: Tenant, skillsetId: str, body: SkillsetRequest) -> JSONResponse:
    """Changes the fields that are sent; null clears, meta is merged."""
    changed = skillsets.update_skillset(session, skillsetId, **body.given(skillsets.FIELDS))
    return answer({"id": str(changed.id)})


@router.post("/{skillsetId}/delete", responses=returns(Identified))
def delete_skillset(session: Tenant, skillsetId: str) -> JSONResponse:
    """Removes the skillset with its abilities; bots and conversations lose their link to it."""
    return answer({"id": str(skillsets.delete_skillset(session, skillsetId))})


@router.post("/{skillsetId}/ability/create", responses=returns(Identified))
def create_ability(session: Tenant, skillsetId: str, body: AbilityRequest) -> JSONResponse:
    """A new ability."""
    return answer({"id": str(skillsets.create_ability(session, skillsetId, **_fields(body)).id)})


@router.get("/{skillsetId}/ability/list", responses=pages(AbilityAnswer))
@as_list
def list_abilities(skillsetId: str, part: ListPart) -> Response:
    """The abilities of a skillset, newest first."""
    return listed(part, partial(skillsets.list_abilities, skillset_id=skillsetId), each(ability_document))


@router.get("/{skillsetId}/ability/export", responses=pages(AbilityAnswer, CSV))
@as_export
def export_abilities(skillsetId: str, part: ListPart) -> Response:
    """The same, also as CSV."""
    return listed(part, partial(skillsets.list_abilities, skillset_id=skillsetId), each(ability_document))


@router.get("/{skillsetId}/ability/{abilityId}/fetch", responses=returns(AbilityAnswer))
def fetch_ability(session: Tenant, skillsetId: str, abilityId: str) -> JSONResponse:
    """An ability."""
    return answer(ability_document(skillsets.get_ability(session, skillsetId, abilityId)))


@router.post("/{skillsetId}/ability/{abilityId}/update", responses=returns(Identified))
def update_ability(session: Tenant, skillsetId: str, abilityId: str, body: AbilityRequest) -> JSONResponse:
    """Changes the fields that are sent; meta is merged."""
    changed = skillsets.update_ability(session, skillsetId, abilityId, **_fields(body))
    return answer({"id": str(changed.id)})


@router.post("/{skillsetId}/ability/{abilityId}/delete", responses=returns(Identified))
def delete_ability(session: Tenant, skillsetId: str, abilityId: str) -> JSONResponse:
    """Removes the ability for good."""
    return answer({"id": str(skillsets.delete_ability(session, skillsetId, abilityId))})


@router.post("/{skillsetId}/ability/{abilityId}/execute", responses=returns(ExecutionAnswer, JSONL))
@also_answers(408)
@answers_in(JSONL, EVENTS)
async def execute_ability(
    request: Request, caller: CallerPart, skillsetId: str, abilityId: str, body: ExecuteRequest
) -> Response:
    """Tries the ability: `input` is its arguments as JSON, or a text to make them of. Nothing is stored but
    what it does.
    """
    context, form = context_of(request), form_of(request)
    execution = await run_in_threadpool(_execution, context, caller, skillsetId, abilityId, body)
    asked = Asked(asyncio.get_running_loop())
    notes = MemoryNotes(context, caller.account_id, execution.id, asked.wanted, execution.shield)
    if execution.shield is not None:
        asked.sight = Sight(execution.shield.vault.key(), execution.shield.vault.minted)

    def turn() -> tuple[Answer | None, Ends]:
        return None, [("result", execute(context, execution, notes, asked))]

    request.app.state.stateless.run(lambda: carry_through(notes, asked, turn))
    if form == JSON:
        return await waited(request, asked)
    write = event_line if form == JSONL else server_event
    return StreamingResponse(events_of(asked, write), media_type=form)


def _execution(
    context: Context, caller: Caller, skillset: str, ability: str, body: ExecuteRequest
) -> Execution:
    deadline, one = Deadline.after(context.settings.turn_time), new_id()
    with context.transaction(caller.account_id) as session:
        found = skillsets.get_ability(session, skillset, ability)
        contact = own(session, Contact, body.contactId).id if body.contactId else None
        bot = uuid.UUID(found.links["botId"]) if "botId" in found.links else None
        speaking = TurnRequest(bot_id=str(bot) if bot else None, contact_id=str(contact) if contact else None)
        shield = stateless_shield(session, caller.account_id, one, speaking)
    acting = Acting(caller.account_id, bot_id=bot, contact_id=contact)
    return Execution(one, skill_of(found), body.input or "", acting, deadline, shield)
