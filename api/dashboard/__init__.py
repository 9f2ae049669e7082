"""Pages for people: rendered here, escaped always, moved by files of our own, and nothing from elsewhere."""

from __future__ import annotations

from fastapi import APIRouter

from api.dashboard import (
    assets,
    backfills,
    conversation,
    conversations,
    jobs,
    live,
    login,
    ops,
    runs,
    settings,
    tasks,
    things,
)

PARTS = (
    assets,
    login,
    runs,
    conversations,
    conversation,
    backfills,
    tasks,
    jobs,
    things,
    settings,
    ops,
    live,
)


def make_router() -> APIRouter:
    router = APIRouter()
    for part in PARTS:
        router.include_router(part.router)
    return router
