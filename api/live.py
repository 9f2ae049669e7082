"""The live channels as the doors hear them: one subscription per process, whoever listens is woken."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from fastapi import Request

from core.live import BEGIN, KEPT, Words, key_of, read_words
from core.settings import Settings
from core.valkey import PATIENCE, Absence, second_database

log = structlog.get_logger()

AGAIN = 1.0  # seconds until a lost subscription is tried again
HEARING: dict[str, Any] = {"socket_connect_timeout": 1}


class Ears:
    """Wakes listeners of channels. Without a Valkey, or while it is away, nobody is woken: they look by time.

    A process has one event loop; a test has one for each request, and each hears for itself.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = second_database(settings.redis_url) if settings.redis_url else None
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Ear] = WeakKeyDictionary()

    @contextlib.contextmanager
    def listening(self, account: uuid.UUID, channel: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something is said on the channel, from before this returns."""
        waiting = self._ear().waiting
        key, event = key_of(account, channel).encode(), asyncio.Event()
        waiting[key].add(event)
        try:
            yield event
        finally:
            waiting[key].discard(event)
            if not waiting[key]:
                del waiting[key]

    async def read(
        self, account: uuid.UUID, channel: str, after: str = BEGIN, most: int = KEPT
    ) -> list[Words]:
        """What was said after a place, oldest first."""
        first = "-" if after == BEGIN else f"({after}"
        return await self._ear().ask("xrange", key_of(account, channel), first, "+", most)

    async def latest(self, account: uuid.UUID, channel: str, most: int) -> list[Words]:
        """The last words, oldest first."""
        found = await self._ear().ask("xrevrange", key_of(account, channel), "+", "-", most) if most else []
        return found[::-1]

    async def close(self) -> None:
        """Ends what this event loop hears."""
        ear = self._by_loop.pop(asyncio.get_running_loop(), None)
        if ear is not None:
            await ear.close()

    def _ear(self) -> _Ear:
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            self._by_loop[loop] = _Ear(self._url)
        return self._by_loop[loop]


class _Ear:
    """The connections of one event loop, and who waits in it."""

    def __init__(self, url: str | None) -> None:
        self.waiting: dict[bytes, set[asyncio.Event]] = defaultdict(set)
        self._absence = Absence("live_away")
        self._client: Any = None
        self._hearing: Any = None
        if url is None:
            return
        import redis.asyncio

        self._client = redis.asyncio.Redis.from_url(url, **PATIENCE)
        beyond = {} if url.startswith("unix:") else {"socket_keepalive": True}
        self._hearing = redis.asyncio.Redis.from_url(url, **HEARING, **beyond)
        self._task = asyncio.get_running_loop().create_task(self._hear())

    async def ask(self, command: str, key: str, first: str, last: str, most: int) -> list[Words]:
        if self._client is None or self._absence.is_away():
            return []
        try:
            entries = await getattr(self._client, command)(key, first, last, count=most)
        except Exception as error:  # noqa: BLE001 (nothing depends on it)
            self._absence.note(error)
            return []
        return [read_words(entry) for entry in entries]

    async def close(self) -> None:
        if self._client is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task], timeout=AGAIN)
        await self._client.aclose()
        await self._hearing.aclose()

    async def _hear(self) -> None:
        while True:
            try:
                async for key in _said(self._hearing):
                    for event in self.waiting.get(key, ()):
                        event.set()
            except Exception as error:  # noqa: BLE001 (as above; whoever waits looks by time meanwhile)
                self._absence.note(error)
                await asyncio.sleep(AGAIN)


async def _said(client: Any) -> AsyncIterator[bytes]:
    """The keys of channels on which something is said."""
    async with client.pubsub(ignore_subscribe_messages=True) as hearing:
        await hearing.psubscribe("live:*")
        while True:
            # Without a time-out: one that fires as the task is cancelled would swallow the cancellation.
            message = await hearing.get_message(timeout=None)
            if message is not None:
                yield message["channel"]


def ears_of(request: Request) -> Ears:
    ears = request.app.state.ears
    assert isinstance(ears, Ears)  # noqa: S101 (set by make_app)
    return ears


async def heard(event: asyncio.Event, seconds: float) -> None:
    """Waits until the event is set, but not for longer; clears it."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    event.clear()
