"""The installation's models, and the account as a team: contract section 6."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.shapes import Instance
from api.chatbotkit.shapes_account import ModelAnswer
from api.once import Route
from core import platform
from core.documents_objects import model_document, team_document

router = APIRouter(tags=["platform"], route_class=Route)


@router.get("/platform/model/list", responses=pages(ModelAnswer))
@as_list
def list_models(part: ListPart) -> Response:
    """The models a bot may name: the offline one, and the operator's where one is configured."""
    return listed(part, platform.list_models, each(model_document))


@router.get("/team/list", responses=pages(Instance))
@as_list
def list_teams(part: ListPart) -> Response:
    """The account itself, as a team of one."""
    return listed(part, platform.list_teams, each(team_document))
