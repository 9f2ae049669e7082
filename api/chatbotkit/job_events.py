"""A job's progress as it is made: our own, in the style of the dialect's streams."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.auth import CallerPart, Credentials, context_of
from api.chatbotkit.answers import JSON, JSONL, answers_in, event_line, follows, form_of
from api.chatbotkit.shapes import Page
from api.chatbotkit.shapes_jobs import JobEventAnswer
from api.chatbotkit.turns import BEAT, HEARTBEAT, while_signed_in
from api.once import Route
from api.paper import watching
from core.accounts import Caller
from core.context import Context
from core.documents import Document
from core.documents_jobs import job_document
from core.errors import NotFound, Unavailable
from core.jobs import get_job

router = APIRouter(prefix="/job", tags=["job"], route_class=Route)

LOOK = 2.0  # seconds from one look to the next where nothing is announced
PACE = 0.2  # and where much is


@router.post("/{jobId}/subscribe", responses=follows(Page[JobEventAnswer]))
@answers_in(JSONL)
async def subscribe_to_job(
    request: Request, caller: CallerPart, credentials: Credentials, jobId: str
) -> Response:
    """How far the job is, line by line: `progress` whenever that has changed, `result` when it has ended.

    Asked for in JSON, only how far it is now.
    """
    context = context_of(request)
    first = await run_in_threadpool(_look, context, caller, jobId)
    if form_of(request) == JSON:
        return JSONResponse({"items": [{"type": _kind(first), "data": first}], "cursor": ""})
    lines = while_signed_in(_lines(request, caller, first), context, credentials)
    return StreamingResponse(lines, media_type=JSONL)


def _look(context: Context, caller: Caller, job_id: str) -> Document:
    with context.transaction(caller.account_id) as session:
        return job_document(*get_job(session, job_id))


def _kind(document: Document) -> str:
    return "result" if "finishedAt" in document else "progress"


async def _lines(request: Request, caller: Caller, document: Document) -> AsyncIterator[bytes]:
    context = context_of(request)
    told: Document | None = None
    beat = time.monotonic()
    async with watching(request, caller.account_id, uuid.UUID(document["id"])) as watch:
        wait = 0.0  # what has changed since the first look was announced to nobody here
        while True:
            if document != told:
                told, beat = document, time.monotonic()
                yield event_line(_kind(document), document)
            if "finishedAt" in document or watch.ended:
                return
            if time.monotonic() - beat >= BEAT:
                beat = time.monotonic()
                yield HEARTBEAT
            await watch.wait(wait)
            wait = LOOK
            try:
                document = await run_in_threadpool(_look, context, caller, document["id"])
            except Unavailable:
                await asyncio.sleep(LOOK)  # the database is away for a moment
            except NotFound:
                return
            else:
                await asyncio.sleep(PACE)
