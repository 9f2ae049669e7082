"""Turns: send, receive, complete, compact, and their streams (contract section 3.5).

A worker carries a turn out; these endpoints wait for it without holding a thread. Who leaves loses nothing:
the turn goes on, and its messages can be read. After an effect there is no 5xx and no 429, since the Node SDK
would do it all once more.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.auth import CallerPart, Credentials, Tenant, WriteKeyPart, caller_of, context_of
from api.chatbotkit.answers import (
    EVENTS,
    JSON,
    JSONL,
    also_answers,
    answers_in,
    event_line,
    form_of,
    in_form,
    replays,
    returns,
    server_event,
    takes_session_tokens,
)
from api.chatbotkit.shapes_conversations import StoredMessage
from api.chatbotkit.shapes_turns import (
    CompleteRequest,
    Extensions,
    ReceiveRequest,
    SendRequest,
    TurnAnswer,
    TurnShape,
)
from api.errors import CODES, answer_to, error_answer
from api.live import Ears, ears_of, heard
from api.once import TOLD_AGAIN, Replay, Route
from core import talking
from core.accounts import Caller
from core.context import Context
from core.entities import Entity, read_entities
from core.errors import CrontalkError, InvalidInput, NotAuthorized
from core.idempotency import WriteKey, begin, finish
from core.live import BEGIN
from core.messages import looked_at
from core.privacy.restoring import Restorer
from core.schedule.zones import find_zone
from core.sight import Sight, sight_of
from core.skills.abilities import checked_abilities
from core.telling import PIECES, VAULT
from core.turn_requests import ALL, END, TurnRequest
from core.turn_results import TurnResult, result_of
from models import Run

router = APIRouter(prefix="/conversation", tags=["conversation"], route_class=Route)

LOOK = 0.5  # seconds between two looks at a run's row, whatever is heard of it
FIRST_LOOK = 0.1  # seconds to the first one of a turn that began just now
BEAT = 15.0  # seconds of silence after which a stream shows that it lives
HEARTBEAT = b" "  # tolerated by both SDKs; a line of its own is not
STATUS = {code: status for status, code in CODES.items()}
LATE = {"message": "The turn goes on; its answer will stand in the conversation.", "code": "TIMEOUT"}

Ask = Callable[[Session, str], Run | None]


@dataclass(frozen=True)
class Waiting:
    """A turn under way and who waits for it."""

    context: Context
    ears: Ears
    account: uuid.UUID
    run: uuid.UUID
    until: float  # on the monotonic clock
    sight: Sight

    async def result(self) -> TurnResult | None:
        return await run_in_threadpool(self._read)

    def _read(self) -> TurnResult | None:
        with self.context.reading(self.account) as session:
            result = result_of(session, self.run)
            return result if result is None else result.restored(session)


def _known(body: SendRequest | CompleteRequest) -> tuple[str, tuple[Entity, ...]]:
    """What is said, and the spans the caller knows of: with them, the blanks around it stay."""
    text = body.text or ""
    given = None if body.entities is None else [entity.model_dump() for entity in body.entities]
    entities = read_entities(given, text)
    return (text if entities and text.strip() else said(text)), entities


def _sent_again(session: Session, replay: Replay) -> dict[str, Any]:
    text, entities = _known(SendRequest.model_validate(replay.body))
    (said,) = looked_at(session, replay.path["conversationId"], [(text, entities)])
    return {"id": replay.result["id"], "entities": said.documents(text)}


@router.post("/{conversationId}/send", responses=returns(StoredMessage, JSONL))
@replays(_sent_again)
@takes_session_tokens
@answers_in(JSONL, EVENTS)
def send(request: Request, session: Tenant, conversationId: str, body: SendRequest) -> Response:
    """Stores a message of the user's; nobody answers."""
    text, entities = _known(body)
    written = talking.send(session, conversationId, text, entities)
    document = {"id": str(written.message.id), "entities": written.said.documents(text)}
    return in_form(form_of(request), document)


@router.post("/{conversationId}/receive", responses=returns(TurnAnswer, JSONL))
@also_answers(408, 409)
@takes_session_tokens
@answers_in(JSONL, EVENTS)
async def receive(
    request: Request, caller: CallerPart, key: WriteKeyPart, conversationId: str, body: ReceiveRequest
) -> Response:
    """Asks the bot for its answer to what is stored. 409 while a turn is under way."""
    wanted = await run_in_threadpool(turn_request, request, caller, body)
    return await _turn(
        request,
        caller,
        key,
        lambda session, listened: talking.receive(session, conversationId, wanted, listened=listened),
    )


@router.post("/{conversationId}/complete", responses=returns(TurnAnswer, JSONL))
@also_answers(408, 409)
@takes_session_tokens
@answers_in(JSONL, EVENTS)
async def complete(
    request: Request, caller: CallerPart, key: WriteKeyPart, conversationId: str, body: CompleteRequest
) -> Response:
    """Stores a message and asks for the answer; without text it goes on. 409 while a turn is under way."""
    wanted = await run_in_threadpool(turn_request, request, caller, body)
    text, entities = asked_of(body)

    def ask(session: Session, listened: str) -> Run:
        return talking.complete(session, conversationId, text, wanted, entities=entities, listened=listened)

    return await _turn(request, caller, key, ask)


@router.post("/{conversationId}/compact", responses=returns(TurnAnswer))
@also_answers(408, 409)
async def compact(request: Request, caller: CallerPart, key: WriteKeyPart, conversationId: str) -> Response:
    """Sums the conversation up in a checkpoint, which the bot is shown instead of what it sums up."""
    context = context_of(request)

    def ask(session: Session, _listened: str) -> Run | None:
        return talking.compact(session, conversationId)

    begun = await run_in_threadpool(_begun, context, caller, key, ask, END)
    if begun.run is None:
        done = {"id": conversationId, "text": "", "usage": {"token": 0}, "end": {"reason": "stop"}}
        return JSONResponse(done, headers=begun.headers)
    return await _waited(_waiting(request, caller, begun), begun.headers)


def said(text: str) -> str:
    """What somebody says, without the blanks around it.

    Raises:
        InvalidInput: nothing.

    """
    if not text.strip():
        raise InvalidInput("text: must not be empty")
    return text.strip()


def asked_of(body: CompleteRequest) -> tuple[str | None, tuple[Entity, ...]]:
    """What is asked, and the spans the caller knows of; no text goes on with what is stored."""
    if body.text is not None:
        return _known(body)
    if not body.messages:
        return None, ()
    for message in reversed(body.messages):
        if isinstance(message, dict) and message.get("type") == "user":
            return said(str(message.get("text") or "")), ()
    raise InvalidInput("text: is missing; a turn of messages alone has the address /conversation/complete")


def turn_request(
    request: Request, caller: Caller, body: TurnShape, session: Session | None = None, **more: Any
) -> TurnRequest:
    """What comes along with a turn. `session`: one that is open already; two at once would starve the pool.

    Raises:
        InvalidInput: an unknown x-timezone. NotAuthorized: extensions or channels under a session token.

    """
    extensions = body.extensions
    if extensions is not None and caller.conversation_id is not None:
        raise NotAuthorized("A session token may not bring extensions.")
    functions = tuple(function.function() for function in body.functions or ())
    if caller.conversation_id is not None and any("channel" in (f.result or {}) for f in functions):
        raise NotAuthorized("A session token may not listen to the channels of its account.")
    limits = getattr(body, "limits", None)
    zone = request.headers.get("x-timezone")
    return TurnRequest(
        functions=functions,
        extra_backstory=(extensions.backstory if extensions else None) or "",
        datasets=tuple(
            dataset.model_dump(exclude_none=True)
            for dataset in (extensions.datasets if extensions else None) or ()
        ),
        abilities=_abilities(request, caller, extensions, session),
        iterations=limits.iterations if limits else None,
        calls=limits.calls if limits else None,
        timezone=find_zone(zone).key if zone else None,
        **more,
    )


def _abilities(
    request: Request, caller: Caller, extensions: Extensions | None, session: Session | None
) -> tuple[dict[str, Any], ...]:
    """What comes along to be done, as it would be stored.

    Raises:
        InvalidInput. NotFound, NotAuthorized: what it uses.

    """
    skillsets = (extensions.skillsets if extensions else None) or ()
    found = tuple(one.model_dump(exclude_none=True) for part in skillsets for one in part.abilities)
    if not found:
        return ()
    with in_session(request, caller, session) as open_session:
        return tuple(checked_abilities(open_session, found))


def in_session(request: Request, caller: Caller, session: Session | None) -> AbstractContextManager[Session]:
    """The session that is open, or one of its own."""
    return nullcontext(session) if session else context_of(request).transaction(caller.account_id)


async def _turn(request: Request, caller: Caller, key: WriteKey | None, ask: Ask) -> Response:
    form = form_of(request)
    listened = END if form == JSON else ALL
    begun = await run_in_threadpool(_begun, context_of(request), caller, key, ask, listened)
    waiting = _waiting(request, caller, begun)
    if form == JSON:
        return await _waited(waiting, begun.headers)
    write = event_line if form == JSONL else server_event
    return StreamingResponse(streamed(waiting, write), media_type=form, headers=begun.headers)


@dataclass(frozen=True)
class _Begun:
    """A turn that was started now, or before under the same key; None where there was nothing to do."""

    run: uuid.UUID | None
    headers: dict[str, str]
    sight: Sight


def _begun(context: Context, caller: Caller, key: WriteKey | None, ask: Ask, listened: str) -> _Begun:
    with context.transaction(caller.account_id) as session:
        earlier = begin(session, key) if key else None
        if earlier is not None:
            told = uuid.UUID(earlier["runId"]) if "runId" in earlier else None
            return _Begun(told, TOLD_AGAIN, _sight(session, told, listened))
        run = ask(session, listened)
        if key:
            finish(session, key, {"runId": str(run.id)} if run else {"done": True})
        begun = run.id if run else None
        return _Begun(begun, {}, _sight(session, begun, listened))


def _sight(session: Session, run: uuid.UUID | None, listened: str) -> Sight:
    """What its caller may see while it is told."""
    return sight_of(session, run) if run is not None and listened == ALL else Sight()


def _waiting(request: Request, caller: Caller, begun: _Begun) -> Waiting:
    assert begun.run is not None  # noqa: S101 (only compact may have nothing to do)
    context = context_of(request)
    until = time.monotonic() + context.settings.turn_time.total_seconds() + 5
    return Waiting(context, ears_of(request), caller.account_id, begun.run, until, begun.sight)


async def _waited(waiting: Waiting, headers: dict[str, str]) -> Response:
    """The turn's result; an error when it failed, or goes on for longer than anybody waits."""
    with waiting.ears.listening(waiting.account, str(waiting.run)) as event:
        if not headers:  # it began just now: no model answers at once
            await heard(event, FIRST_LOOK)
        while (result := await waiting.result()) is None:
            if time.monotonic() >= waiting.until:
                return error_answer(408, LATE["message"], LATE["code"])
            await heard(event, LOOK)
    *_, (kind, data) = result.events()
    if kind == "error":
        return error_answer(STATUS[data["code"]], data["message"], data["code"])
    return JSONResponse(data, headers=headers)


async def streamed(waiting: Waiting, write: Callable[[str, Any], bytes]) -> AsyncIterator[bytes]:
    """The turn's events as they come, then its end from its rows.

    Tokens of a second attempt are left out: the answer begins anew, and only its end counts.
    """
    place, beat, looked = BEGIN, time.monotonic(), 0.0
    told = Told(waiting.sight)
    with waiting.ears.listening(waiting.account, str(waiting.run)) as event:
        while True:
            words = await waiting.ears.read(waiting.account, str(waiting.run), place)
            for place, word in words:  # noqa: B007 (the last place is where the next look begins)
                for kind, data in told.events(word):
                    beat = time.monotonic()
                    yield write(kind, data)
            if not words or time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                result = await waiting.result()
                if result is not None and not await waiting.ears.read(
                    waiting.account, str(waiting.run), place, 1
                ):
                    for kind, data in (*told.rest(), *result.events()):
                        yield write(kind, data)
                    return
            if time.monotonic() >= waiting.until:
                yield write("error", LATE)
                return
            if time.monotonic() - beat >= BEAT:
                beat = time.monotonic()
                yield HEARTBEAT
            if not words:
                await heard(event, LOOK)


async def while_signed_in(
    lines: AsyncIterator[bytes], context: Context, credentials: Credentials
) -> AsyncIterator[bytes]:
    """The lines of an endless stream, for as long as the token opens it: asked again at every heartbeat."""
    secret = credentials.credentials if credentials else ""
    asked = time.monotonic()
    async for line in lines:
        if time.monotonic() - asked >= BEAT:
            asked = time.monotonic()
            try:
                await run_in_threadpool(caller_of, context, secret, "write")
            except CrontalkError as error:
                _, message, code, _ = answer_to(error)
                yield event_line("error", {"message": message, "code": code})
                return
        yield line


PARTIAL = PIECES | {"completeBegin", "completeEnd", "usage"}


class Told:
    """The words of a turn as events, restored for whoever has the sight; `caller`: on its own stream.

    Nothing of a later attempt that an earlier one has said the like of, and nothing that a caller published
    on the channel of the turn.
    """

    def __init__(self, sight: Sight, *, caller: bool = True) -> None:
        self._sight = sight
        self._caller = caller
        self._epochs: set[int] = set()
        self._restorers: dict[str, Restorer] = {}

    def events(self, word: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """A word's events."""
        if "epoch" not in word:
            return
        kind, data = word["data"]["type"], word["data"]["data"]
        if kind == VAULT:
            self._sight.unlock(data)
            return
        self._epochs.add(word["epoch"])
        if word["epoch"] != min(self._epochs) and kind in PARTIAL:
            return
        if kind in PIECES:
            if kind not in self._restorers:
                self._restorers[kind] = self._sight.restorer()
            yield from _pieces(kind, self._restorers[kind].feed(data["token"]))
            return
        yield from self.rest()
        yield kind, self._sight.told(data, caller=self._caller)

    def rest(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What was held back of the pieces, since a token might have begun there."""
        for kind, restorer in self._restorers.items():
            yield from _pieces(kind, restorer.finish())
        self._restorers.clear()


def _pieces(kind: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if text:
        yield kind, {"token": text}
