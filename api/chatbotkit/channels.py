"""Channels, and turns in the background that speak on them (contract sections 3.5.5 and 3.7)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.auth import CallerPart, Credentials, Tenant, context_of
from api.chatbotkit.answers import (
    JSON,
    JSONL,
    also_answers,
    answer,
    answers_in,
    event_line,
    follows,
    form_of,
    replays,
    returns,
)
from api.chatbotkit.shapes import Identified, Page
from api.chatbotkit.shapes_turns import (
    ChannelEvent,
    Dispatched,
    DispatchRequest,
    HistoryRequest,
    PublishRequest,
    StatelessDispatchRequest,
)
from api.chatbotkit.stateless import stateless_request
from api.chatbotkit.turns import BEAT, HEARTBEAT, Told, asked_of, turn_request, while_signed_in
from api.live import Ears, ears_of, heard
from api.once import Replay, Route
from core import talking
from core.accounts import Caller
from core.blobs import TooLarge
from core.context import Context
from core.errors import InvalidInput, Unavailable
from core.live import BEGIN, KEPT
from core.sight import Sight, sight_of
from core.talking import checked_channel
from core.turn_results import TurnResult, result_of
from models import Run

router = APIRouter(tags=["channel"], route_class=Route)

MOST_HISTORY = 10_000
LOOK = 1.0
# A channel keeps a thousand words in the memory of a server that others need too.
LONGEST_WORD = 64 * 1024
ENDS = frozenset({"result", "error"})
UNKEPT = {"message": "The turn has ended; its answer is not kept any more.", "code": "NOT_FOUND"}


def _channel_again(session: Session, replay: Replay) -> Mapping[str, Any]:
    del session
    return {"channelId": replay.body.get("channelId") or replay.result["channelId"]}


@router.post("/conversation/dispatch", responses=returns(Dispatched))
@also_answers(409)
@replays(_channel_again)
def dispatch_stateless(
    request: Request, session: Tenant, caller: CallerPart, body: StatelessDispatchRequest
) -> JSONResponse:
    """Answers the messages of the request in the background; every event is published on a channel.

    What was sent is kept sealed until the turn has ended. 409 without a key to seal it with.
    """
    wanted = stateless_request(request, caller, body, session)
    _, channel = talking.dispatch(session, None, None, wanted, body.channelId)
    return answer({"channelId": channel})


@router.post("/conversation/{conversationId}/dispatch", responses=returns(Dispatched))
@also_answers(409)
@replays(_channel_again)
def dispatch(
    request: Request, session: Tenant, caller: CallerPart, conversationId: str, body: DispatchRequest
) -> JSONResponse:
    """Completes in the background; every event is published on a channel, which names the turn."""
    wanted = turn_request(request, caller, body, session)
    text, entities = asked_of(body)
    _, channel = talking.dispatch(session, conversationId, text, wanted, body.channelId, entities=entities)
    return answer({"channelId": channel})


def _published_again(session: Session, replay: Replay) -> Mapping[str, Any]:
    del session
    return {"id": replay.path["channelId"]}


@router.post("/channel/{channelId}/publish", responses=returns(Identified))
@replays(_published_again)
def publish(
    request: Request, session: Tenant, caller: CallerPart, channelId: str, body: PublishRequest
) -> Response:
    """Says something on a channel of the account; whoever subscribes hears it, for an hour."""
    del session
    name = checked_channel(channelId)
    if len(json.dumps(body.message)) > LONGEST_WORD:
        raise TooLarge(f"What is published has at most {LONGEST_WORD} bytes.")
    if not context_of(request).live.publish(caller.account_id, name, [{"data": body.message}]):
        raise Unavailable("Live channels are away.")
    return answer({"id": name})


@router.post("/channel/{channelId}/subscribe", responses=follows(Page[ChannelEvent]))
@answers_in(JSONL)
async def subscribe(
    request: Request, caller: CallerPart, credentials: Credentials, channelId: str, body: HistoryRequest
) -> Response:
    """What is said on a channel, line by line, until the caller leaves.

    With historyLength what was said before comes first, oldest first; of a dispatched turn everything does.
    Asked for in JSON, only what was said before.
    """
    name, history = checked_channel(channelId), body.historyLength or 0
    if not 0 <= history <= MOST_HISTORY:
        raise InvalidInput(f"historyLength: must be from 0 to {MOST_HISTORY}")
    heard_of = _Heard(context_of(request), ears_of(request), caller, name)
    run, _ = await run_in_threadpool(heard_of.turn)
    if run is not None:
        await run_in_threadpool(heard_of.see, run)
        history = history or KEPT
    if form_of(request) == JSON:
        return JSONResponse({"items": await heard_of.past(history), "cursor": ""})
    lines = while_signed_in(heard_of.lines(history), context_of(request), credentials)
    return StreamingResponse(lines, media_type=JSONL)


class _Heard:
    """One subscriber of a channel."""

    def __init__(self, context: Context, ears: Ears, caller: Caller, channel: str) -> None:
        self._context = context
        self._ears = ears
        self._account = caller.account_id
        self._channel = channel
        self._told = Told(Sight())
        self._ended = False
        self._over = False

    def turn(self) -> tuple[Run | None, TurnResult | None]:
        """The turn that speaks here, if one does, and what it came to."""
        with self._context.transaction(self._account) as session:
            mine = (Run.account_id == self._account, Run.channel == self._channel)
            run = session.scalars(select(Run).where(*mine)).one_or_none()
            if run is None:
                return None, None
            result = result_of(session, run.id)
            return run, result and result.restored(session)

    def see(self, run: Run) -> None:
        """Whoever knows the channel of a turn is told its answer as its caller is; of calls of functions only
        what these declare.
        """
        with self._context.transaction(self._account) as session:
            self._told = Told(sight_of(session, run.id), caller=False)

    async def past(self, history: int) -> list[dict[str, Any]]:
        """What was said so far, oldest first."""
        words = await self._ears.latest(self._account, self._channel, history)
        return [json.loads(line) for _, word in words for line in self._lines(word)]

    async def lines(self, history: int) -> AsyncIterator[bytes]:
        beat = looked = time.monotonic()
        with self._ears.listening(self._account, self._channel) as event:
            words = await self._ears.latest(self._account, self._channel, max(history, 1))
            place = words[-1][0] if words else BEGIN
            words = words if history else []
            while True:
                for place, word in words:  # noqa: B007 (where the next look begins)
                    for line in self._lines(word):
                        beat = time.monotonic()
                        yield line
                if not words and not self._ended and time.monotonic() - looked >= LOOK:
                    looked = time.monotonic()
                    async for line in self._missed():
                        yield line
                if time.monotonic() - beat >= BEAT:
                    beat = time.monotonic()
                    yield HEARTBEAT
                if not words:
                    await heard(event, LOOK)
                words = await self._ears.read(self._account, self._channel, place)

    def _lines(self, word: dict[str, Any]) -> Iterator[bytes]:
        """What was published, as it was; of a turn without what a later attempt says all over again."""
        if "epoch" not in word:
            yield event_line("message", word["data"])
            return
        self._ended = self._ended or word["data"]["type"] in ENDS
        for kind, data in self._told.events(word):
            yield event_line("message", {"type": kind, "data": data})

    async def _missed(self) -> AsyncIterator[bytes]:
        """The end of a turn whose worker could tell nobody, once two looks have seen it: it may be late."""
        run, result = await run_in_threadpool(self.turn)
        self._ended = run is None or self._over
        self._over = result is not None
        if run is None or result is None or not self._ended:
            return
        stored = run.conversation_id is not None or result.error_class is not None
        for kind, data in result.events() if stored else [("error", UNKEPT)]:
            yield event_line("message", {"type": kind, "data": data})
