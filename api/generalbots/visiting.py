"""Anonymous conversations: a session with the default bot for as long as it is talked in."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from api.chatbotkit.stateless import Pool
from api.generalbots import frames
from api.generalbots.sockets import Socket, Sockets
from api.pace import Doorkeeper, refuse_quota, refuse_rate
from core.accounts import Caller
from core.context import Context
from core.errors import CrontalkError, InvalidInput, LimitReached, NotAuthorized
from core.privacy.restoring import Restorer
from core.rates import Rate
from core.sight import Sight
from core.suggestions import pieces_of
from core.telling import SPEAKING
from core.turn_results import failed
from core.visitors import LONGEST, Host, Line, Reply, Visitor, Visitors, answer_visitor, host_of
from models import MessageType

NOBODY = uuid.UUID(int=0)
PER_ADDRESS = Rate(120, 60)
LONGEST_ID = 255  # characters of a frame's own id
LOOK = 5.0  # seconds between two looks at who goes on with which session


@dataclass
class _Deltas:
    """Pieces of the answer as they come, from the thread of its turn to the socket."""

    loop: asyncio.AbstractEventLoop
    socket: Socket
    place: uuid.UUID
    sight: Sight
    pieces: Callable[[str], str]
    _restorer: Restorer | None = None

    def tell(self, kind: str, data: object) -> None:
        del kind, data

    def token(self, text: str, kind: str = SPEAKING) -> None:
        if kind != SPEAKING:
            return
        self._restorer = self._restorer or self.sight.restorer()
        piece = self.pieces(self._restorer.feed(text))
        if piece and self.socket.deltas:
            self.loop.call_soon_threadsafe(self.socket.push, frames.delta(self.place, piece))


@dataclass(eq=False)
class Visit:
    """A visitor's connection. A turn under way when it ends goes on, and is there for the next one."""

    context: Context
    sockets: Sockets
    socket: Socket
    doorkeeper: Doorkeeper
    visitors: Visitors
    pool: Pool
    host: Host
    visitor: Visitor
    used_at: float = field(default_factory=time.monotonic)
    _answering: bool = False

    def status(self, **more: object) -> frames.Frame:
        return frames.connected(
            self.visitor.id,
            authenticated=False,
            bot=(self.host.bot_id, self.host.bot_name),
            resume=self.visitor.secret,
            expires_in=round(self.context.settings.anonymous_idle.total_seconds()),
            **more,
        )

    def expired(self) -> bool:
        life = self.context.settings.anonymous_idle.total_seconds()
        return not self._answering and time.monotonic() - self.used_at > life

    async def say(self, frame: frames.Say) -> None:
        """Takes in what the visitor says; the bot answers, whatever was said meanwhile in one. What was said
        already under the client's own id is not said again.

        Raises:
            CrontalkError: it was not taken in.

        """
        if frame.session_id not in {None, str(self.visitor.id)}:
            raise NotAuthorized("An anonymous connection talks in its own session only.")
        if frame.attachments:
            raise InvalidInput("An anonymous session takes no attachments.")
        if len(frame.content.encode("utf-8", "replace")) > LONGEST or "\0" in frame.content:
            raise InvalidInput(f"A visitor's message is text of at most {LONGEST} bytes.")
        if frame.id is not None and len(frame.id) > LONGEST_ID:
            raise InvalidInput(f"A visitor's id has up to {LONGEST_ID} characters.")
        if not self._goes_on_with(await run_in_threadpool(host_of, self.context)):
            return
        self.socket.deltas = self.socket.deltas or frame.deltas
        line = self.visitor.said_as(frame.id, frame.content)
        if line is None:
            await run_in_threadpool(self._admit)
            self.used_at = time.monotonic()
            line = self.visitor.add(MessageType.USER, frame.content, frame.id)
            if not await self._keep(self.visitor):
                return
        self.socket.push(frames.delivered(self.visitor.id, line.id, line.at, line.seq, frame.id))
        self.answer()

    def _goes_on_with(self, host: Host | None) -> bool:
        """Whether visitors are still taken in by whom this one has begun with; by whatever bot it is now."""
        if host is None or host.account_id != self.visitor.account_id:
            self.end("session_expired", "This session has ended; connect again.", frames.IDLE)
            return False
        changed = (host.bot_id, host.bot_name) != (self.host.bot_id, self.host.bot_name)
        self.host = host
        if changed:
            self.socket.push(self.status())
        return True

    async def _keep(self, visitor: Visitor) -> bool:
        """Keeps what was said; ends the connection where another one has gone on with the session."""
        kept = await run_in_threadpool(self.visitors.keep, visitor)
        if not kept and visitor is self.visitor:
            self.give_up()
        return kept

    def give_up(self) -> None:
        """Another connection has gone on with the session."""
        self.end("session_taken", "Another connection goes on with this session.", frames.TAKEN)

    def end(self, error: str, sentence: str, code: int) -> None:
        self.socket.end(code, frames.error(error, sentence, self.visitor.id))

    def answer(self) -> None:
        """Has what waits answered, unless that is under way."""
        if not self._answering and self.visitor.lines and self.visitor.lines[-1].type == MessageType.USER:
            self._answering = True
            self.sockets.begin(asyncio.get_running_loop().create_task(self._answer()))

    async def resume(self, visitor: Visitor, after: Sequence[str]) -> None:
        """Goes on with an earlier session: what was said there after these messages is told again."""
        self.visitor = visitor
        self.used_at = time.monotonic()
        self.socket.push(self.status(resumed=True))
        since = _place_of(visitor, after)
        for line in visitor.lines if since is not None else ():
            assert since is not None  # noqa: S101 (looked at above)
            if line.seq > since:
                self.socket.push(line_frame(visitor.id, line))
        self.answer()

    def _admit(self) -> None:
        settings, visitor = self.context.settings, self.visitor
        if visitor.said >= settings.anonymous_messages:
            raise LimitReached("This session has said all it may; start a new one.", settings.anonymous_idle)
        self.visitors.count(visitor, self.socket.address, settings.anonymous_sessions)
        own = self.doorkeeper.slide(visitor.id, "message")
        here = self.doorkeeper.rates.slide(
            uuid.uuid5(self.host.account_id, self.socket.address), "visitors", PER_ADDRESS
        )
        for window in (own, here):
            if window is not None and not window.allowed:
                raise LimitReached("Too many messages; come back later.", window.wait)
        caller = Caller(self.host.account_id, NOBODY, frozenset(), self.host.limits)
        refuse_rate(self.doorkeeper, caller)
        with self.context.reading(self.host.account_id) as session:
            refuse_quota(session, self.doorkeeper, self.host.account_id, self.host.limits)

    async def _answer(self) -> None:
        visitor, place, answered = self.visitor, self.visitor.id, 0
        try:
            while (asked := _last_said(visitor)) > answered:
                answered = asked
                self.socket.push(frames.typing(place, active=True))
                reply = await self._turn(visitor.lines)
                self.socket.push(frames.typing(place, active=False))
                self.used_at = time.monotonic()
                if reply.error_class is not None:
                    self.socket.push(_failure(place, reply))
                    continue
                line = visitor.add(MessageType.BOT, reply.text)
                if not await self._keep(visitor):
                    return  # who goes on with the session has asked again
                self.socket.push(line_frame(place, line))
                if reply.suggestions:
                    self.socket.push(frames.suggestion(place, reply.suggestions))
        except CrontalkError as error:
            self.socket.push(frames.typing(place, active=False))
            self.socket.push(frames.error_of(error, place))
        finally:
            self._answering = False
            if self.visitor is not visitor:  # it has gone on in an earlier session meanwhile
                self.answer()

    async def _turn(self, lines: Sequence[Line]) -> Reply:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Reply] = loop.create_future()
        place, host = self.visitor.id, self.host

        def work() -> None:
            reply = answer_visitor(
                self.context,
                host,
                lines,
                lambda sight: _Deltas(loop, self.socket, place, sight, pieces_of(host.suggestions)),
            )
            loop.call_soon_threadsafe(_settle, done, reply)

        self.pool.run(work)
        return await done


class Visits:
    """The visits of an event loop: each ends soon after another connection has gone on with its session."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._all: set[Visit] = set()
        self._task = asyncio.get_running_loop().create_task(self._look())

    def begin(self, visit: Visit) -> None:
        self._all.add(visit)

    def end(self, visit: Visit | None) -> None:
        if visit is not None:
            self._all.discard(visit)

    def close(self) -> None:
        self._task.cancel()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            visits = [visit for visit in self._all if visit.visitor.said]
            if not visits:
                continue
            asked = {visit: visit.visitor for visit in visits}
            taken = await run_in_threadpool(self._visitors.taken, list(asked.values()))
            for visit, visitor in asked.items():
                if visitor.id in taken and visit.visitor is visitor:
                    visit.give_up()


def _settle(done: asyncio.Future[Reply], reply: Reply) -> None:
    if not done.done():
        done.set_result(reply)


def _last_said(visitor: Visitor) -> int:
    return next((line.seq for line in reversed(visitor.lines) if line.type == MessageType.USER), 0)


def _failure(place: uuid.UUID, reply: Reply) -> frames.Frame:
    assert reply.error_class is not None  # noqa: S101 (looked at by the caller)
    return frames.error("turn_failed", failed(reply.error_class)["message"], place)


def _place_of(visitor: Visitor, after: Sequence[str]) -> int | None:
    """The place in the session that a client has seen last; None where it names none of it."""
    places = [line.seq for line in visitor.lines if str(line.id) in after]
    for one in after:
        session, colon, seq = one.partition(":")
        if colon and session == str(visitor.id) and seq.isdecimal() and len(seq) < 10:
            places.append(int(seq))
    return max(places, default=None)


def line_frame(place: uuid.UUID, line: Line) -> frames.Frame:
    return frames.message(
        message_id=line.id, session_id=place, sender=line.type, content=line.text, at=line.at, seq=line.seq
    )
