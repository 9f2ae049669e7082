"""Turns without a conversation: the caller keeps the history, and nothing is stored but what they used.

They run in this process, in a bounded pool of threads, through the same agent as all others.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.auth import CallerPart, context_of
from api.chatbotkit.answers import (
    EVENTS,
    JSON,
    JSONL,
    also_answers,
    answers_in,
    event_line,
    form_of,
    returns,
    server_event,
)
from api.chatbotkit.shapes_turns import StatelessRequest, StatelessTurnAnswer
from api.chatbotkit.turns import BEAT, HEARTBEAT, STATUS, in_session, turn_request
from api.errors import error_answer
from api.once import Route
from core.accounts import Caller
from core.agent import converse
from core.bots import find_bot
from core.chat.model_name import model_string
from core.chat.provider import Deadline
from core.context import Context
from core.conversations import MOST_AT_CREATION
from core.drafts import draft_document, drafts_of
from core.equipping import equipped_stateless
from core.errors import CrontalkError, LimitReached
from core.keys import KeyUnusable
from core.notes import MemoryNotes
from core.outcomes import Answer, Failure, Postponed
from core.privacy.restoring import Restorer
from core.rows import own
from core.shields import stateless_shield
from core.showing import brought, shown
from core.sight import Sight
from core.talk import stateless_talk
from core.telling import SPEAKING
from core.turn_requests import TurnRequest
from core.turn_results import cut, failed, stateless_events
from models import Contact, Dataset, ErrorClass, Skillset, new_id

log = structlog.get_logger()

router = APIRouter(prefix="/conversation", tags=["conversation"], route_class=Route)

SLOTS = 32  # stateless turns at once in a process; the next is told to come back
LOOK = 1.0  # seconds between two looks whether the caller is still there
ENDS = frozenset({"result", "error"})

Ends = list[tuple[str, dict[str, Any]]]


class Gone(CrontalkError):
    """The caller has left: nobody reads the answer, and nothing else would keep it."""


@dataclass
class Pool:
    """The threads of stateless turns, which never keep the others' endpoints waiting."""

    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(SLOTS, thread_name_prefix="stateless")
    )
    _free: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(SLOTS))

    def run(self, work: Callable[[], None]) -> None:
        """Runs the work in a thread of its own.

        Raises:
            LimitReached: all are busy; nothing was done.

        """
        if not self._free.acquire(blocking=False):
            raise LimitReached("Too many turns without a conversation at once.", timedelta(seconds=1))

        def then_free() -> None:
            try:
                work()
            finally:
                self._free.release()

        self.threads.submit(then_free)


@dataclass
class Asked:
    """A turn under way in a thread, and its events as they come."""

    loop: asyncio.AbstractEventLoop
    sight: Sight = field(default_factory=Sight)
    events: asyncio.Queue[tuple[str, dict[str, Any]]] = field(default_factory=asyncio.Queue)
    gone: threading.Event = field(default_factory=threading.Event)
    _restorers: dict[str, Restorer] = field(default_factory=dict)

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        """Tells the caller, who may see the values behind the tokens of the turn."""
        for piece, restorer in self._restorers.items():
            self._say(restorer.finish(), piece)
        self._restorers.clear()
        self._put(kind, self.sight.told(data, caller=True))

    def token(self, text: str, kind: str = SPEAKING) -> None:
        if kind not in self._restorers:
            self._restorers[kind] = self.sight.restorer()
        self._say(self._restorers[kind].feed(text), kind)

    def _say(self, text: str, kind: str) -> None:
        if text:
            self._put(kind, {"token": text})

    def _put(self, kind: str, data: dict[str, Any]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it whoever listened
            self.loop.call_soon_threadsafe(self.events.put_nowait, (kind, data))

    def wanted(self) -> None:
        if self.gone.is_set():
            raise Gone("The caller has left.")


@router.post("/complete", responses=returns(StatelessTurnAnswer, JSONL))
@also_answers(408)
@answers_in(JSONL, EVENTS)
async def complete_stateless(request: Request, caller: CallerPart, body: StatelessRequest) -> Response:
    """Answers the messages of the request. Nothing is stored; 429 when too many are under way."""
    wanted = await run_in_threadpool(stateless_request, request, caller, body)
    context, form = context_of(request), form_of(request)
    asked = Asked(asyncio.get_running_loop())
    request.app.state.stateless.run(lambda: _carry_out(context, caller, wanted, asked))
    if form == JSON:
        return await waited(request, asked)
    write = event_line if form == JSONL else server_event
    return StreamingResponse(events_of(asked, write), media_type=form)


def stateless_request(
    request: Request, caller: Caller, body: StatelessRequest, session: Session | None = None
) -> TurnRequest:
    """What a turn without a conversation is about: what is given goes before what its bot says.

    Raises:
        InvalidInput: no messages, or a malformed model. NotFound, NotAuthorized: the bot or the contact.

    """
    items = [message.model_dump() for message in body.messages]
    drafts = drafts_of(items, least=1, most=MOST_AT_CREATION, activities=True)
    with in_session(request, caller, session) as tenant:
        bot = find_bot(tenant, body.botId) if body.botId or not _configured(body) else None
        contact = str(own(tenant, Contact, body.contactId).id) if isinstance(body.contactId, str) else None
        backstory, model = (bot.backstory, bot.model) if bot else (None, None)
        dataset = own(tenant, Dataset, body.datasetId).id if body.datasetId else bot and bot.dataset_id
        skillset = own(tenant, Skillset, body.skillsetId).id if body.skillsetId else bot and bot.skillset_id
    model = model_string(body.model) or model
    return turn_request(
        request,
        caller,
        body,
        session,
        messages=tuple(draft_document(draft) for draft in drafts),
        backstory=backstory if body.backstory is None else body.backstory,
        model=model,
        attachments=tuple(one.url for one in body.attachments or () if one.url),
        privacy=bool(body.privacy),
        moderation=bool(body.moderation if body.moderation is not None else bot and bot.moderation),
        bot_id=str(bot.id) if bot else None,
        contact_id=contact,
        dataset_id=str(dataset) if dataset else None,
        skillset_id=str(skillset) if skillset else None,
    )


def _configured(body: StatelessRequest) -> bool:
    return any(value is not None for value in (body.backstory, body.model, body.datasetId, body.skillsetId))


def _carry_out(context: Context, caller: Caller, wanted: TurnRequest, asked: Asked) -> None:
    """The turn, in its thread."""
    deadline = Deadline.after(context.settings.turn_time).while_wanted(asked.wanted)
    turn_id = new_id()
    notes = MemoryNotes(context, caller.account_id, turn_id, asked.wanted)

    def turn() -> tuple[Answer | None, Ends]:
        with context.transaction(caller.account_id) as session:
            notes.shield = stateless_shield(session, caller.account_id, turn_id, wanted)
            talk = stateless_talk(turn_id, caller.account_id, wanted, deadline, notes.shield)
            talk = equipped_stateless(session, talk, notes.shield)
        if notes.shield is not None:
            asked.sight = Sight(notes.shield.vault.key(), notes.shield.vault.minted)
        talk = shown(context, talk, brought(wanted.attachments), notes.shield)
        answer = converse(context, talk, notes, asked)
        return answer, list(stateless_events(answer, notes.tokens(answer)))

    carry_through(notes, asked, turn)


def carry_through(notes: MemoryNotes, asked: Asked, turn: Callable[[], tuple[Answer | None, Ends]]) -> None:
    """A turn that is stored nowhere, in its thread: every end is an event, and what it used is counted."""
    answer: Answer | None = None
    try:
        answer, ends = turn()
    except Failure as failure:
        answer, short = failure.answer, cut(failure)
        ends = [("error", failed(failure.error_class))]
        if short is not None:
            ends = list(stateless_events(short, notes.tokens(short)))
    except Postponed:
        ends = [("error", failed(ErrorClass.PROVIDER_ERROR))]
    except Gone:
        ends = []
    except KeyUnusable:
        ends = [("error", failed(ErrorClass.MISCONFIGURED))]
    except Exception as error:  # noqa: BLE001 (the thread's last line of defence)
        log.error("stateless_turn_broke", error=type(error).__name__)
        ends = [("error", failed(ErrorClass.INTERNAL_ERROR))]
    try:
        notes.settle(answer)
    except CrontalkError as error:
        log.warning("usage_not_counted", error=type(error).__name__)
    for kind, data in ends:
        asked.tell(kind, data)


async def waited(request: Request, asked: Asked) -> Response:
    """The result, or the error it ended with; who leaves ends it."""
    while True:
        try:
            kind, data = await asyncio.wait_for(asked.events.get(), LOOK)
        except TimeoutError:
            if await request.is_disconnected():
                asked.gone.set()
            continue
        if kind == "result":
            return JSONResponse(data)
        if kind == "error":
            return error_answer(STATUS[data["code"]], data["message"], data["code"])


async def events_of(asked: Asked, write: Callable[[str, Any], bytes]) -> AsyncIterator[bytes]:
    """The events as they come; who leaves ends it."""
    try:
        kind = ""
        while kind not in ENDS:
            try:
                kind, data = await asyncio.wait_for(asked.events.get(), BEAT)
            except TimeoutError:
                yield HEARTBEAT
                continue
            yield write(kind, data)
    finally:
        asked.gone.set()
