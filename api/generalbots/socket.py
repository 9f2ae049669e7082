"""The WebSocket `/ws` (contract section 2.8): one connection from its handshake to its close.

Who connects with a token, by header, by subprotocol or in a first frame `auth`, sees and says what the
token opens; who has none is a visitor. A wrong token is no visitor: it closes the connection. Frames of a
client are taken one after the other, so that a flood of them waits in the network and not here.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.generalbots import frames
from api.generalbots.lines import Line
from api.generalbots.origins import may_connect, network_of
from api.generalbots.saying import bring_up, store
from api.generalbots.sockets import BREATH, Socket
from api.generalbots.streaming import stream_answer
from api.generalbots.telling import Told, message_frame
from api.generalbots.visiting import Visit
from api.pace import refuse_rate
from core.accounts import Caller, authenticate
from core.conversing import bot_named, user_of
from core.errors import (
    CrontalkError,
    InvalidInput,
    LimitReached,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    Unavailable,
)
from core.session_tokens import PREFIX, authenticate_session
from core.visitors import PREFIX as VISITOR
from core.visitors import Host, Visitor, host_of
from models import Bot, Conversation

log = structlog.get_logger()

router = APIRouter()

PROTOCOL = "crontalk"  # the subprotocol that is spoken, where a client offers one
BEARER = "bearer."  # before the token, offered beside it
PATIENCE = 5.0  # seconds in which a first frame may say who it is
# Frames of one connection: so many at once, then so many a second.
BURST, PACE = 60, 20
FLOODED = 200  # refused frames that end the connection


@router.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    """Live conversations: what the token opens, or an anonymous one with the default bot."""
    await _Connection(websocket, None).serve()


@router.websocket("/ws/{bot}")
async def talk_with(websocket: WebSocket, bot: str) -> None:
    """The same; what names no conversation is said to this bot."""
    await _Connection(websocket, bot).serve()


class _Connection:
    """One connection."""

    def __init__(self, websocket: WebSocket, bot: str | None) -> None:
        self._websocket = websocket
        self._bot = bot
        self._line: Line = websocket.app.state.lines.get()
        self._context = self._line.context
        self._socket = Socket(websocket, network_of(websocket.client.host if websocket.client else "local"))
        self._place: str | uuid.UUID | None = None  # as the client has named it, or where it spoke last
        self._visit: Visit | None = None
        self._began = time.monotonic()
        self._allowance, self._refused, self._counted_at = float(BURST), 0, self._began

    async def serve(self) -> None:
        """Serves it until it ends, whoever ends it."""
        if not may_connect(self._context.settings, self._websocket.headers, self._websocket.url.scheme):
            await self._websocket.close()  # before it is accepted: 403
            return
        offered = self._websocket.scope.get("subprotocols", [])
        await self._websocket.accept(PROTOCOL if PROTOCOL in offered else None)
        socket = self._socket
        try:
            self._line.sockets.admit(socket)
            await self._talk()
        except WebSocketDisconnect:
            pass
        except CrontalkError as error:
            socket.end(_code_of(error), frames.error_of(error))
        finally:
            self._line.visits.end(self._visit)
            self._line.sockets.leave(socket)
        if socket.ending.done():
            await socket.say_goodbye(*socket.ending.result())

    async def _talk(self) -> None:
        socket = self._socket
        writer = asyncio.get_running_loop().create_task(socket.write())
        reader = asyncio.get_running_loop().create_task(self._read())
        try:
            over: list[asyncio.Future[Any]] = [reader, writer, socket.ending]
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reader, writer):
                task.cancel()
            ended = await asyncio.gather(reader, writer, return_exceptions=True)
        for error in ended:
            if isinstance(error, CrontalkError | WebSocketDisconnect):
                raise error
            if isinstance(error, Exception) and type(error).__name__ != "ClientDisconnected":
                log.error("connection_broke", error=type(error).__name__)
                socket.end(1011, frames.error(frames.UNFORESEEN, "Something went wrong here."))

    async def _read(self) -> None:
        """What the client sends, from its greeting on."""
        await self._greet()
        while True:
            await self._take(await self._next())

    async def _next(self) -> str | bytes | None:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        self._socket.used_at = time.monotonic()
        text: str | bytes | None = message.get("text")
        return text if text is not None else message.get("bytes")

    async def _greet(self) -> None:
        """Who it is; without a token a visitor, or somebody who says so in a first frame."""
        query = self._websocket.query_params
        self._place = query.get("session_id") or None
        self._socket.deltas = query.get("deltas") == "1"
        after = frames.read_after(query["after"].split(",") if query.get("after") else None)
        secret = _offered(self._websocket)
        if secret is not None:
            await self._sign_in(secret, after)
            return
        host, default = await run_in_threadpool(self._host)
        if host is not None and default:
            self._visit = self._welcome(host)
            self._line.visits.begin(self._visit)
            self._socket.expired = self._visit.expired
            self._socket.push(self._visit.status())
            return
        try:
            async with asyncio.timeout(PATIENCE):
                frame = frames.read_frame(await self._next())
        except TimeoutError:
            frame = None
        except InvalidInput:
            frame = None
        if not isinstance(frame, frames.Auth) and host is not None:
            raise NotAuthorized("Without a token there is the default bot and no other.")
        if not isinstance(frame, frames.Auth):
            raise NotAuthenticated("A token is needed: in the header, as a subprotocol, or in a first frame.")
        self._socket.deltas = self._socket.deltas or frame.deltas
        await self._sign_in(frame.token, frame.after or after)

    def _host(self) -> tuple[Host | None, bool]:
        """Who takes visitors in, and whether it is the default bot that is asked for."""
        host = host_of(self._context)
        if host is None or self._bot is None:
            return host, True
        try:
            with self._context.reading(host.account_id) as session:
                return host, bot_named(session, self._bot).id == host.bot_id
        except (NotFound, NotAuthorized, InvalidInput):
            return host, False

    def _welcome(self, host: Host) -> Visit:
        line = self._line
        return Visit(
            self._context,
            line.sockets,
            self._socket,
            line.doorkeeper,
            line.visitors,
            line.pool,
            host,
            Visitor(host.account_id),
        )

    async def _sign_in(self, secret: str, after: tuple[str, ...]) -> None:
        """Becomes the connection of the token's user, who is brought up to date.

        Raises:
            NotAuthenticated: it opens nothing. NotAuthorized: it may not read. LimitReached, Unavailable.

        """
        caller = await run_in_threadpool(self._caller, secret)
        if "read" not in caller.scopes:
            raise NotAuthorized("This token may not read.")
        await self._line.sockets.join(self._socket, caller)
        bot = await run_in_threadpool(self._bot_of, caller)
        if caller.conversation_id is not None:
            self._place = str(caller.conversation_id)
        user = {"user_id": str(caller.contact_id)} if caller.contact_id else {}
        self._socket.push(frames.connected(self._place, authenticated=True, bot=bot, **user))
        if after:
            await self._bring_up(caller, after)
        self._socket.release()

    def _caller(self, secret: str) -> Caller:
        with self._context.reading() as session:
            return (authenticate_session if secret.startswith(PREFIX) else authenticate)(session, secret)

    def _bot_of(self, caller: Caller) -> tuple[uuid.UUID, str] | None:
        """The bot that what names no conversation is said to, and its name."""
        with self._context.reading(caller.account_id) as session:
            if caller.conversation_id is not None:
                conversation = session.get(Conversation, caller.conversation_id)
                bot = conversation and conversation.bot_id and session.get(Bot, conversation.bot_id)
            else:
                try:
                    bot = bot_named(session, self._bot)
                except NotFound:
                    if self._bot is not None:
                        raise
                    bot = None
            return (bot.id, bot.name or "") if bot else None

    async def _bring_up(self, caller: Caller, after: tuple[str, ...]) -> None:
        socket = self._socket
        words = await run_in_threadpool(bring_up, self._context, caller, after)
        for place, row in words.missed.messages:
            frame = message_frame(place, row, words.sights)
            socket.hear_now(Told(place, frames.written(frame).decode(), row.message_id, row.seq))
            while socket.lags() and not socket.ending.done():  # noqa: ASYNC110 (its writer tells nobody)
                await asyncio.sleep(BREATH)
        socket.seen = dict(words.missed.places)
        for place in words.missed.busy:
            socket.push(frames.typing(place, active=True))
        socket.push(frames.status("resumed", complete=words.missed.whole))

    async def _take(self, data: str | bytes | None) -> None:
        """One frame; what is wrong with it is told, and ends nothing."""
        if not self._allows():
            return
        session: str | None = None
        try:
            frame = frames.read_frame(data)
            if isinstance(frame, frames.Auth):
                await self._authenticate(frame)
                return
            session = frame.session_id
            await (self._visit.say(frame) if self._visit else self._say(frame))
        except NotAuthenticated:
            raise
        except CrontalkError as error:
            if isinstance(error, Unavailable):
                log.warning("unavailable", error=type(error.__cause__ or error).__name__)
            self._socket.push(frames.error_of(error, session))

    def _allows(self) -> bool:
        now = time.monotonic()
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) * PACE)
        self._counted_at = now
        if self._allowance >= 1:
            self._allowance -= 1
            return True
        self._refused += 1
        if self._refused == 1 or self._refused % 20 == 0:
            self._socket.push(frames.error("rate_limited", "Too many frames.", retry_after=1))
        if self._refused > FLOODED:
            self._socket.end(frames.FLOOD, frames.error("rate_limited", "Too many frames."))
        return False

    async def _authenticate(self, frame: frames.Auth) -> None:
        """A visitor says within the first seconds who it is, or that it was here before. The connection ends
        where it may not become a user's.

        Raises:
            InvalidInput: it is signed in already, or too late.

        """
        visit = self._visit
        if visit is None:
            raise InvalidInput("This connection is signed in already.")
        if time.monotonic() - self._began > PATIENCE:
            raise InvalidInput("A token is taken within the first five seconds; connect again.")
        self._socket.deltas = self._socket.deltas or frame.deltas
        if frame.token.startswith(VISITOR):
            earlier = await run_in_threadpool(self._line.visitors.find, frame.token)
            if earlier is None or earlier.account_id != visit.host.account_id:
                self._socket.push(
                    frames.error("session_expired", "That session has expired; this is a new one.")
                )
                return
            await visit.resume(earlier, frame.after)
            return
        self._line.visits.end(visit)
        self._visit = None
        self._socket.expired = lambda: False
        try:
            await self._sign_in(frame.token, frame.after)
        except CrontalkError as error:  # it is nobody's now
            self._socket.end(_code_of(error), frames.error_of(error))

    async def _say(self, frame: frames.Say) -> None:
        """Stores what was said; its echo goes to the user's other connections, its receipt to this one."""
        caller, socket = self._socket.caller, self._socket
        assert caller is not None  # noqa: S101 (without one it is a visitor)
        await run_in_threadpool(self._count, caller)
        if socket.deltas and not frame.deltas:
            frame = frame.with_deltas()
        socket.hold()
        try:
            doorkeeper = self._line.doorkeeper
            stored = await run_in_threadpool(
                store, self._context, doorkeeper, caller, frame, place=self._place, bot=self._bot
            )
            socket.own.append(stored.message_id)
            receipt = (stored.conversation_id, stored.message_id, stored.at, stored.seq, frame.id)
            socket.push(frames.delivered(*receipt))
            if frame.session_id is None and not isinstance(self._place, str):
                self._place = stored.conversation_id
            if stored.run_id is not None:
                socket.runs.append(stored.run_id)
                if frame.deltas:
                    self._stream(stored.conversation_id, stored.run_id)
        finally:
            socket.release()

    def _count(self, caller: Caller) -> None:
        """In the user's window, which the REST half counts in as well, and in the account's rate."""
        window = self._line.doorkeeper.slide(user_of(caller), "message")
        if window is not None and not window.allowed:
            raise LimitReached(f"Too many messages: {window.rate} for each user.", window.wait)
        refuse_rate(self._line.doorkeeper, caller)

    def _stream(self, place: uuid.UUID, run: uuid.UUID) -> None:
        if run not in self._socket.streams:
            work = stream_answer(self._context, self._line.ears, self._socket, place=place, run=run)
            task = asyncio.get_running_loop().create_task(work)
            self._socket.streams[run] = task
            self._line.sockets.begin(task)


def _offered(websocket: WebSocket) -> str | None:
    """The token of the handshake: in the header, or as a subprotocol, which browsers can set."""
    kind, _, secret = websocket.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and secret.strip():
        return secret.strip()
    if kind:
        raise NotAuthenticated("The token is missing, unknown, expired or revoked.")
    offered: Mapping[str, Any] | list[str] = websocket.scope.get("subprotocols", [])
    return next((one.removeprefix(BEARER) for one in offered if one.startswith(BEARER)), None)


def _code_of(error: CrontalkError) -> int:
    """How a connection ends that an error ends."""
    if isinstance(error, NotAuthenticated):
        return frames.UNAUTHORIZED
    if isinstance(error, LimitReached | Unavailable):
        return frames.BUSY
    return frames.FORBIDDEN
