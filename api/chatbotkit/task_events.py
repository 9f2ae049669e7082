"""A task's runs as they happen: contract section 3.8, subscribe."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.auth import CallerPart, Credentials, context_of
from api.chatbotkit.answers import JSON, JSONL, answers_in, event_line, follows, form_of
from api.chatbotkit.shapes import Page
from api.chatbotkit.shapes_turns import HistoryRequest, TaskEventAnswer
from api.chatbotkit.turns import BEAT, HEARTBEAT, while_signed_in
from api.once import Route
from core.accounts import Caller
from core.context import Context
from core.documents import milliseconds
from core.errors import CrontalkError, InvalidInput
from core.task_events import REACH, TaskEvent, events_since, latest_events, look_from
from core.tasks import get_task
from models import first_id_of

router = APIRouter(prefix="/task", tags=["task"], route_class=Route)

LOOK = 1.0
MOST_HISTORY = 1000
LONGEST_RUN = timedelta(days=2)  # a run's id is as old as the run, whose steps may be new


@router.post("/{taskId}/subscribe", responses=follows(Page[TaskEventAnswer]))
@answers_in(JSONL)
async def subscribe_to_task(
    request: Request, caller: CallerPart, credentials: Credentials, taskId: str, body: HistoryRequest
) -> Response:
    """What the task's runs do, line by line, until the caller leaves; the next run's events as well.

    Asked for in JSON, only the history.
    """
    history = body.historyLength or 0
    if not 0 <= history <= MOST_HISTORY:
        raise InvalidInput(f"historyLength: must be from 0 to {MOST_HISTORY}")
    subscriber = _Subscriber(context_of(request), caller)
    first = await run_in_threadpool(subscriber.begin, taskId, history)
    if form_of(request) == JSON:
        return JSONResponse({"items": [_document(event) for event in first], "cursor": ""})
    lines = while_signed_in(subscriber.lines(first), context_of(request), credentials)
    return StreamingResponse(lines, media_type=JSONL)


def _document(event: TaskEvent) -> dict[str, Any]:
    return {"type": event.kind, "data": event.data, "createdAt": milliseconds(event.at)}


class _Subscriber:
    """One listener to a task: it looks at the timeline every second, and tells what it has not told."""

    def __init__(self, context: Context, caller: Caller) -> None:
        self._context = context
        self._account = caller.account_id
        self._told: dict[str, datetime] = {}
        self._task: uuid.UUID
        self._since: datetime

    def begin(self, task_id: str, history: int) -> list[TaskEvent]:
        """The events to begin with; what is older than now and not among them is not told."""
        with self._context.transaction(self._account) as session:
            self._task = get_task(session, task_id)[0].id
            self._since = look_from(session)
            recent = events_since(session, self._task, self._since, first_id_of(self._since - LONGEST_RUN))
            self._told = {event.key: event.at for event in recent}
            return latest_events(session, self._task, history)

    def look(self) -> list[TaskEvent]:
        with self._context.transaction(self._account) as session:
            found = events_since(session, self._task, self._since, first_id_of(self._since - LONGEST_RUN))
            self._since = look_from(session)
        new = [event for event in found if event.key not in self._told]
        kept = {key: at for key, at in self._told.items() if at >= self._since - REACH}
        self._told = kept | {event.key: event.at for event in new}
        return new

    async def lines(self, events: list[TaskEvent]) -> AsyncIterator[bytes]:
        beat = time.monotonic()
        while True:
            for event in events:
                beat = time.monotonic()
                yield event_line(event.kind, event.data, createdAt=milliseconds(event.at))
            if time.monotonic() - beat >= BEAT:
                beat = time.monotonic()
                yield HEARTBEAT
            await asyncio.sleep(LOOK)
            try:
                events = await run_in_threadpool(self.look)
            except CrontalkError:
                events = []  # the database is away for a moment; what happens meanwhile is found later
