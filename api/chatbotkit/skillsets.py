"""Skillsets and their abilities: contract section 6, as far as they are stored."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from api.auth import Tenant
from api.chatbotkit.answers import CSV, answer, returns
from api.chatbotkit.lists import ListPart, as_export, as_list, each, listed, pages
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_knowledge import AbilityAnswer, AbilityRequest, SkillsetAnswer, SkillsetRequest
from api.once import Route
from core import skillsets
from core.documents_knowledge import ability_document, skillset_document

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
