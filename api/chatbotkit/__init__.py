"""The ChatBotKit dialect: what its SDKs call, below `/api/v1` and below `/v1`."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from api.chatbotkit import backfills, bots, conversations, executions, runs, sessions, subscriptions, tasks
from api.chatbotkit.answers import ERRORS, serves
from api.once import Route

PREFIXES = ("/api/v1", "/v1")


def make_router() -> APIRouter:
    router = APIRouter(responses=ERRORS, dependencies=[Depends(serves)])
    for noun in (tasks, executions, backfills, subscriptions, runs, conversations, bots, sessions):
        _refuse_other_routes(noun.router)
        router.include_router(noun.router)
    return router


def _refuse_other_routes(router: APIRouter) -> None:
    """Under a plain route an Idempotency-Key would be taken and its result never stored."""
    for route in router.routes:
        if not isinstance(route, Route):
            raise TypeError(f"{getattr(route, 'path', route)} needs a router with route_class=Route")
