"""The ChatBotKit dialect: what its SDKs call, below `/api/v1` and below `/v1`."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from api.chatbotkit import (
    attachments,
    backfills,
    bots,
    conversations,
    datasets,
    executions,
    files,
    runs,
    skillsets,
    subscriptions,
    tasks,
)
from api.chatbotkit.answers import ERRORS, serves

PREFIXES = ("/api/v1", "/v1")


def make_router() -> APIRouter:
    router = APIRouter(responses=ERRORS, dependencies=[Depends(serves)])
    for noun in (
        tasks,
        executions,
        backfills,
        subscriptions,
        runs,
        conversations,
        bots,
        attachments,
        files,
        datasets,
        skillsets,
    ):
        router.include_router(noun.router)
    return router
