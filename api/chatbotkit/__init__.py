"""The ChatBotKit dialect: what its SDKs call, below `/api/v1` and below `/v1`."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from api.chatbotkit import (
    attachments,
    backfills,
    bots,
    channels,
    contacts,
    conversations,
    datasets,
    erasures,
    events,
    executions,
    files,
    job_events,
    jobs,
    memories,
    messages,
    migrations,
    platform,
    privacy,
    retention,
    runs,
    secrets,
    sessions,
    skillsets,
    stateless,
    subscriptions,
    task_events,
    tasks,
    turns,
    usage,
)
from api.chatbotkit.answers import ERRORS, serves
from api.once import Route

PREFIXES = ("/api/v1", "/v1")
NOUNS = (
    tasks,
    task_events,
    executions,
    backfills,
    jobs,
    job_events,
    migrations,
    privacy,
    retention,
    subscriptions,
    runs,
    stateless,
    channels,
    turns,
    conversations,
    messages,
    bots,
    contacts,
    memories,
    usage,
    platform,
    sessions,
    events,
    attachments,
    files,
    datasets,
    skillsets,
    secrets,
    erasures,
)


def make_router() -> APIRouter:
    router = APIRouter(responses=ERRORS, dependencies=[Depends(serves)])
    for noun in NOUNS:
        _refuse_other_routes(noun.router)
        router.include_router(noun.router)
    return router


def _refuse_other_routes(router: APIRouter) -> None:
    """Under a plain route an Idempotency-Key would be taken and its result never stored."""
    for route in router.routes:
        if not isinstance(route, Route):
            raise TypeError(f"{getattr(route, 'path', route)} needs a router with route_class=Route")
