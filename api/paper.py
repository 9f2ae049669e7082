"""The paper: what is announced of accounts, to whoever in this process reads it. One subscription for all.

Sockets, the progress of jobs and the dashboard live from it: it says which rows to look at, and each looks as
far as it may see. It can be lost: every reader looks at its rows now and then all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import Request

from api.live import AGAIN, HEARING, heard
from core.announcing import PREFIX, channel_of, unpack
from core.valkey import Absence, second_database

CONFIRMED = 1.0  # seconds that the subscription is waited for; without it the rows are looked at

# Called with an account and the ids of its rows that have changed; without ids: look at all of them.
Reader = Callable[[uuid.UUID, Sequence[uuid.UUID]], None]


@dataclass
class _Order:
    """Who reads of an account, and whether the subscription is certain."""

    readers: set[Reader] = field(default_factory=set)
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)


class Paper:
    """The subscription of one event loop: the channels of the accounts that are read of."""

    def __init__(self, redis_url: str | None) -> None:
        self.hears = False
        self.closed = False
        self._absence = Absence("news_away")
        self._orders: dict[uuid.UUID, _Order] = {}
        self._pubsub: Any = None
        self._hearing: Any = None
        self._leaving: set[asyncio.Task[None]] = set()
        if redis_url is None:
            return
        import redis.asyncio

        url = second_database(redis_url)
        beyond = {} if url.startswith("unix:") else {"socket_keepalive": True}
        self._hearing = redis.asyncio.Redis.from_url(url, **HEARING, **beyond)
        self._task = asyncio.get_running_loop().create_task(self._hear())

    async def order(self, account: uuid.UUID, reader: Reader) -> None:
        """Reads of an account; returns once that is certain, or cannot be had."""
        order = self._orders.setdefault(account, _Order())
        order.readers.add(reader)
        if self._pubsub is None or order.confirmed.is_set():
            return
        with contextlib.suppress(Exception):  # the hearing side notices, and subscribes to all of them again
            await self._pubsub.subscribe(channel_of(account))
            async with asyncio.timeout(CONFIRMED):
                await order.confirmed.wait()

    def cancel(self, account: uuid.UUID, reader: Reader) -> None:
        order = self._orders.get(account)
        if order is None:
            return
        order.readers.discard(reader)
        if not order.readers:
            del self._orders[account]
            if self._pubsub is not None:
                task = asyncio.get_running_loop().create_task(self._unsubscribe(account))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Ends it; whoever watches is woken and finds it closed."""
        self.closed = True
        self._look_again()
        if self._hearing is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=AGAIN)
            await self._hearing.aclose()

    async def _unsubscribe(self, account: uuid.UUID) -> None:
        with contextlib.suppress(Exception):
            if account not in self._orders and self._pubsub is not None:
                await self._pubsub.unsubscribe(channel_of(account))

    async def _hear(self) -> None:
        while True:
            try:
                async with self._hearing.pubsub() as pubsub:
                    # The bare prefix keeps the connection open.
                    await pubsub.subscribe(PREFIX, *map(channel_of, self._orders))
                    self._pubsub = pubsub
                    await self._listen(pubsub)
            except Exception as error:  # noqa: BLE001 (whatever it is, the rows are looked at meanwhile)
                self._absence.note(error)
            finally:
                self._pubsub, self.hears = None, False
                for order in self._orders.values():
                    order.confirmed.clear()
            self._look_again()
            await asyncio.sleep(AGAIN)

    async def _listen(self, pubsub: Any) -> None:
        while True:
            # Without a time-out: one that fires as the task is cancelled would swallow the cancellation.
            message = await pubsub.get_message(timeout=None)
            if message is None:
                continue
            channel = message["channel"].decode()
            if message["type"] == "message":
                self._pass_on(uuid.UUID(channel.removeprefix(PREFIX)), unpack(message["data"]))
            elif message["type"] == "subscribe":
                if channel == PREFIX:
                    self.hears = True
                    # Those that were ordered while the connection was made, or made anew.
                    missing = [one for one, order in self._orders.items() if not order.confirmed.is_set()]
                    if missing:
                        await pubsub.subscribe(*map(channel_of, missing))
                    self._look_again()  # what was said while nobody listened
                elif order := self._orders.get(uuid.UUID(channel.removeprefix(PREFIX))):
                    order.confirmed.set()

    def _look_again(self) -> None:
        for account in list(self._orders):
            self._pass_on(account, ())

    def _pass_on(self, account: uuid.UUID, ids: Sequence[uuid.UUID]) -> None:
        order = self._orders.get(account)
        for reader in list(order.readers) if order else ():
            reader(account, ids)


class Papers:
    """A process has one event loop; a test may have several, and each has a subscription of its own."""

    def __init__(self, redis_url: str | None) -> None:
        self._redis_url = redis_url
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Paper] = WeakKeyDictionary()

    def get(self) -> Paper:
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            self._by_loop[loop] = Paper(self._redis_url)
        return self._by_loop[loop]

    async def close(self) -> None:
        """Ends the subscription of this event loop; whoever comes later finds it closed."""
        paper = self._by_loop.get(asyncio.get_running_loop())
        if paper is not None:
            await paper.close()


@dataclass(eq=False)
class Watch:
    """What has changed of an account since it was asked last: of one row, or of all of them."""

    paper: Paper
    only: uuid.UUID | None = None
    _ids: set[uuid.UUID] = field(default_factory=set)
    _all: bool = False
    _event: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, account: uuid.UUID, ids: Sequence[uuid.UUID]) -> None:
        del account  # it watches one
        if self.only is not None and ids and self.only not in ids:
            return
        self._all = self._all or not ids
        self._ids.update(ids)
        self._event.set()

    @property
    def ended(self) -> bool:
        """Whether the process is about to end: no stream may keep it waiting."""
        return self.paper.closed

    async def wait(self, seconds: float) -> frozenset[uuid.UUID] | None:
        """The rows that have changed, as soon as some have; none once the time is up; None: perhaps any."""
        await heard(self._event, seconds)
        found = None if self._all else frozenset(self._ids)
        self._all = False
        self._ids.clear()
        return found


@contextlib.asynccontextmanager
async def watching(
    request: Request, account: uuid.UUID, only: uuid.UUID | None = None
) -> AsyncIterator[Watch]:
    """Watches an account, or one row of it; nothing that is announced from here on is missed."""
    papers = request.app.state.papers
    assert isinstance(papers, Papers)  # noqa: S101 (set by make_app)
    paper = papers.get()
    watch = Watch(paper, only)
    try:
        await paper.order(account, watch.hear)
        yield watch
    finally:
        paper.cancel(account, watch.hear)
