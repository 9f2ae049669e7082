"""The pages' own style sheet and icon."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.rendering import FOLDER

router = APIRouter(prefix="/static")

STYLE = (FOLDER / "crontalk.css").read_bytes()
ICON = (FOLDER / "icon.svg").read_bytes()


@router.get("/crontalk.css")
async def style() -> Response:
    return Response(STYLE, media_type="text/css")


@router.get("/icon.svg")
async def icon() -> Response:
    return Response(ICON, media_type="image/svg+xml")
