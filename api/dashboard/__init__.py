"""Pages for people: rendered here, escaped always, no script and nothing from elsewhere."""

from __future__ import annotations

from fastapi import APIRouter

from api.dashboard import assets, login, runs


def make_router() -> APIRouter:
    router = APIRouter()
    for part in (assets, login, runs):
        router.include_router(part.router)
    return router
