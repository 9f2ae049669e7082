"""The General Bots dialect: live conversations, below `/api/conversations` (docs/generalbots.md)."""

from __future__ import annotations

from fastapi import APIRouter

from api.generalbots import rest
from api.generalbots.shapes import ERRORS


def make_router() -> APIRouter:
    router = APIRouter(responses=ERRORS)
    router.include_router(rest.router)
    return router
