"""The event log: contract section 6. It is followed by looking at the rows once a second."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

import anyio
import anyio.to_thread
import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from api.auth import Credentials, caller_of, context_of, signed_in
from api.chatbotkit.answers import CSV, JSON, JSONL, answers_in, event_line, form_of
from api.chatbotkit.lists import ListPart, as_export, as_list, each, listed, page_of, pages
from api.chatbotkit.shapes_account import EventAnswer, FollowRequest
from api.errors import UNFORESEEN, answer_to
from api.once import Route
from core.accounts import Caller
from core.context import Context
from core.documents_objects import event_document
from core.errors import CrontalkError
from core.events import Event, Following, follow, list_events, news

log = structlog.get_logger()

router = APIRouter(prefix="/event/log", tags=["event"], route_class=Route)

POLL = 1.0
# A space without a line's end: both SDKs read on (contract section 1.5). The token is looked at as often.
BEAT = 15.0


@router.get("/list", responses=pages(EventAnswer))
@as_list
def list_log(part: ListPart) -> Response:
    """What happened to the account's conversations and tasks, newest first."""
    return listed(part, list_events, each(event_document))


@router.get("/export", responses=pages(EventAnswer, CSV))
@as_export
def export_log(part: ListPart) -> Response:
    """The same, also as CSV."""
    return listed(part, list_events, each(event_document))


@router.post("/subscribe", responses=pages(EventAnswer))
@answers_in(JSONL)
def subscribe_to_log(
    request: Request,
    caller: Annotated[Caller, Depends(signed_in)],
    credentials: Credentials,
    body: FollowRequest,
) -> Response:
    """Tells events as they happen, until the client leaves; asked for in JSON, only the history."""
    context = context_of(request)
    with context.transaction(caller.account_id) as session:
        following, past = follow(session, body.historyLength)
    if form_of(request) == JSON:
        return JSONResponse(page_of([event_document(event) for event in past]))
    secret = credentials.credentials if credentials else ""
    told = follow_live(context, caller, secret, following, past)
    return StreamingResponse(told, media_type=JSONL)


async def follow_live(
    context: Context,
    caller: Caller,
    secret: str,
    following: Following,
    past: list[Event],
    *,
    poll: float = POLL,
    beat: float = BEAT,
) -> AsyncIterator[bytes]:
    """Lines of events, and a space when nothing has been said for `beat` seconds.

    It ends with an error event when the database is away or the token no longer opens this.
    """
    fresh, quiet, unchecked = past, 0.0, 0.0
    try:
        while True:
            if fresh:
                quiet = 0.0
                yield b"".join(event_line("item", event_document(event)) for event in fresh)
            elif quiet >= beat:
                quiet = 0.0
                yield b" "
            if unchecked >= beat:
                unchecked = 0.0
                await anyio.to_thread.run_sync(partial(caller_of, context, secret, "write"))
            await anyio.sleep(poll)
            quiet, unchecked = quiet + poll, unchecked + poll
            fresh = await anyio.to_thread.run_sync(_news, context, caller, following)
    except CrontalkError as error:
        _, message, code, _ = answer_to(error)
        yield event_line("error", {"message": message, "code": code})
    except Exception as error:  # noqa: BLE001 (the headers are out: an event is all that can still be said)
        log.error("log_broke", error=type(error).__name__)
        yield event_line("error", {"message": UNFORESEEN, "code": "INTERNAL_SERVER_ERROR"})


def _news(context: Context, caller: Caller, following: Following) -> list[Event]:
    with context.transaction(caller.account_id) as session:
        return news(session, following)
