"""The sockets of an API process: who is connected, what each is sent, and how many there may be.

Each socket has a writer of its own and a bound on what waits for it: a client that does not read is dropped,
and keeps nobody else waiting. Whatever happens in a conversation is made into frames once for all who see it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.following import Follower
from api.generalbots import frames
from api.generalbots.protocol import abort_of
from api.generalbots.telling import Told, restored_for, tell
from api.paper import Paper
from core.accounts import Caller
from core.context import Context
from core.errors import LimitReached, NotAuthenticated
from core.news import Found
from core.standing import standing

log = structlog.get_logger()

# What may wait for a client that reads slowly.
MOST_FRAMES = 1000
MOST_BYTES = 4 * 1024 * 1024
OWN = 100  # messages that a socket has said itself and may still be told of
BREATH = 0.05  # seconds that all wait where somebody has half of that before them
CHECK = 5.0  # seconds between two looks at tokens and idle sockets
FAREWELL = 2.0  # seconds in which a client may read why it is closed

End = tuple[int, "frames.Frame | None"]


@dataclass(eq=False)
class Socket:
    """One connection. `caller` is None while it is anonymous or has not said who it is."""

    websocket: WebSocket
    address: str
    caller: Caller | None = None
    joined: bool = False
    deltas: bool = False
    used_at: float = field(default_factory=time.monotonic)
    ending: asyncio.Future[End] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    # While it is brought up to date, or says something, what is new waits here.
    held: list[Told] | None = None
    own: deque[uuid.UUID] = field(default_factory=lambda: deque(maxlen=OWN))
    runs: deque[uuid.UUID] = field(default_factory=lambda: deque(maxlen=OWN))
    # Up to where it was told of conversations as it came back.
    seen: dict[uuid.UUID, int] = field(default_factory=dict)
    streams: dict[uuid.UUID, asyncio.Task[None]] = field(default_factory=dict)
    expired: Callable[[], bool] = lambda: False
    _waiting: deque[str] = field(default_factory=deque)
    _size: int = 0
    _waker: asyncio.Future[None] | None = None

    def push(self, frame: frames.Frame | str) -> None:
        """Sends a frame soon, after those before it; ends the connection when too much waits already."""
        text = frame if isinstance(frame, str) else frames.written(frame).decode()
        if self.ending.done():
            return
        if len(self._waiting) >= MOST_FRAMES or self._size > MOST_BYTES:
            self.end(frames.SLOW, None)
            return
        self._waiting.append(text)
        self._size += len(text)
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    def lags(self) -> bool:
        return self._size > MOST_BYTES // 2 or len(self._waiting) > MOST_FRAMES // 2

    def end(self, code: int, frame: frames.Frame | None) -> None:
        """Closes the connection, after a last frame."""
        if not self.ending.done():
            self.ending.set_result((code, frame))

    def hear(self, told: Iterable[Told]) -> None:
        """What happened in conversations that it sees."""
        if self.held is not None:
            self.held += told
            if len(self.held) > MOST_FRAMES:
                self.end(frames.SLOW, None)
            return
        for one in told:
            self._pass_on(one)

    def hear_now(self, told: Told) -> None:
        """What was missed, before what is held."""
        self.push(told.text)

    def hold(self) -> None:
        self.held = []

    def release(self) -> None:
        """Passes on what happened meanwhile."""
        waiting, self.held = self.held or [], None
        for one in waiting:
            self._pass_on(one)

    def _pass_on(self, told: Told) -> None:
        if told.ends and (stream := self.streams.pop(told.ends, None)):
            stream.cancel()
        if told.message_id in self.own or told.seq <= self.seen.get(told.conversation_id, -1):
            return
        self.push(told.text)

    def stop_streams(self) -> None:
        for stream in self.streams.values():
            stream.cancel()
        self.streams.clear()

    async def write(self) -> None:
        """Sends what waits, until it is cancelled."""
        while True:
            while self._waiting:
                text = self._waiting.popleft()
                self._size -= len(text)
                await self.websocket.send({"type": "websocket.send", "text": text})
                self.used_at = time.monotonic()
            self._waker = asyncio.get_running_loop().create_future()
            await self._waker

    async def say_goodbye(self, code: int, frame: frames.Frame | None) -> None:
        """Tells the client why, if it reads; drops the connection if it does not."""
        try:
            async with asyncio.timeout(FAREWELL):
                while self._waiting and code != frames.SLOW:
                    await self.websocket.send({"type": "websocket.send", "text": self._waiting.popleft()})
                if frame is not None:
                    await self.websocket.send(
                        {"type": "websocket.send", "text": frames.written(frame).decode()}
                    )
                await self.websocket.send({"type": "websocket.close", "code": code, "reason": ""})
                # What it still sends is read and forgotten, or its own goodbye would not come through.
                while (await self.websocket.receive())["type"] != "websocket.disconnect":
                    pass
        except TimeoutError:
            abort_of(self.websocket.scope)()
        except (WebSocketDisconnect, RuntimeError):
            return  # it has gone already

    def sees(self, found: Found) -> bool:
        """Whether what happened there is its user's to see."""
        caller = self.caller
        if caller is None or caller.account_id != found.account_id:
            return False
        if caller.conversation_id is not None:
            return caller.conversation_id == found.conversation_id
        return caller.contact_id is None or caller.contact_id == found.contact_id


class Sockets:
    """All sockets of one event loop."""

    def __init__(self, context: Context, paper: Paper) -> None:
        self.context = context
        self.tasks: set[asyncio.Task[None]] = set()
        self._all: set[Socket] = set()
        self._of: dict[uuid.UUID, set[Socket]] = defaultdict(set)
        self._addresses: Counter[str] = Counter()
        self._follower = Follower(context, paper, self._tell)
        self._checker = asyncio.get_running_loop().create_task(self._check())

    def __len__(self) -> int:
        return len(self._all)

    def admit(self, socket: Socket) -> None:
        """Counts a connection.

        Raises:
            LimitReached: there are too many, of this address or in all; it is not counted.

        """
        settings = self.context.settings
        if len(self._all) >= settings.sockets or self._addresses[socket.address] >= settings.sockets_address:
            raise LimitReached("Too many connections; come back later.")
        self._all.add(socket)
        self._addresses[socket.address] += 1

    async def join(self, socket: Socket, caller: Caller) -> None:
        """Lets a socket see what its user sees, from now on; what happens meanwhile is held.

        Raises:
            LimitReached: the account has too many. Unavailable: the database is away.

        """
        if len(self._of[caller.account_id]) >= self.context.settings.sockets_account:
            raise LimitReached("Too many connections of this account; close some.")
        socket.caller = caller
        socket.hold()
        self._of[caller.account_id].add(socket)
        try:
            await self._follower.follow(caller.account_id)
        except BaseException:
            self._of[caller.account_id].discard(socket)
            raise
        socket.joined = True

    def leave(self, socket: Socket) -> None:
        """Forgets a connection that has ended."""
        if socket in self._all:
            self._all.discard(socket)
            self._addresses[socket.address] -= 1
            if self._addresses[socket.address] <= 0:
                del self._addresses[socket.address]
        if socket.joined and socket.caller is not None:
            account = socket.caller.account_id
            self._of[account].discard(socket)
            if not self._of[account]:
                del self._of[account]
            self._follower.leave(account)
        socket.stop_streams()

    def begin(self, work: object) -> None:
        """Keeps a task from being collected while it goes on."""
        assert isinstance(work, asyncio.Task)  # noqa: S101 (for the type)
        self.tasks.add(work)
        work.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        self._checker.cancel()
        for socket in list(self._all):
            socket.end(frames.GOING, None)
        for task in list(self.tasks):
            task.cancel()
        await self._follower.close()

    async def _tell(self, found: Sequence[Found]) -> None:
        """Tells each to those who see it; what breaks at one is not the others' loss."""
        for one in found:
            audience = [socket for socket in self._of.get(one.account_id, ()) if socket.sees(one)]
            if not audience:
                continue
            try:
                await self._tell_one(one, audience)
            except Exception as error:  # noqa: BLE001 (see above)
                log.error("news_not_told", error=type(error).__name__)
            if any(socket.lags() for socket in audience):
                await asyncio.sleep(BREATH)

    async def _tell_one(self, one: Found, audience: Sequence[Socket]) -> None:
        plain = tell(one)
        for socket in audience:
            words = await restored_for(self.context, socket.caller, socket.runs, one)
            socket.hear(tell(one, words) if words else plain)

    async def _check(self) -> None:
        """Closes sockets whose tokens open nothing any more, and those that nobody uses."""
        while True:
            await asyncio.sleep(CHECK)
            idle = time.monotonic() - self.context.settings.socket_idle.total_seconds()
            for socket in list(self._all):
                if socket.expired():
                    socket.end(frames.IDLE, frames.error("session_expired", "The session has expired."))
                elif socket.used_at < idle:
                    socket.end(frames.IDLE, frames.error("idle", "Nothing was said for too long."))
            tokens = {socket.caller.token_id for socket in self._all if socket.caller}
            if not tokens:
                continue
            try:
                valid = await run_in_threadpool(self._standing, tokens)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next look is soon)
                log.warning("tokens_not_checked", error=type(error).__name__)
                continue
            for socket in list(self._all):
                if socket.caller and socket.caller.token_id in tokens - valid:
                    fault = NotAuthenticated("The token is missing, unknown, expired or revoked.")
                    socket.end(frames.UNAUTHORIZED, frames.error_of(fault))

    def _standing(self, tokens: Iterable[uuid.UUID]) -> set[uuid.UUID]:
        with self.context.reading() as session:
            return standing(session, tokens)
