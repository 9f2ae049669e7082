"""Following accounts: one subscription and one slow look per process, for all who are connected to it.

Whoever follows is told what `core.news.look` finds, in the order of each conversation. Announcements say
where to look at once. Every `SWEEP` seconds, and every `AWAY` ones while Valkey is away, the rows themselves
are asked what was said, so that an announcement that is lost costs time and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool

from api.live import AGAIN, HEARING, heard
from core.announcing import PREFIX, REFRESH, channel_of, unpack
from core.context import Context
from core.errors import CrontalkError
from core.news import OVERLAP, Followed, Found, begin_following, look, swept
from core.valkey import Absence, second_database

log = structlog.get_logger()

SWEEP = 15.0  # seconds
AWAY = 2.0
CONFIRMED = 1.0  # seconds that the subscription is waited for; without it the rows are looked at
AT_ONCE = 500  # conversations at one look


class Follower:
    """What the accounts that are followed here do, told to one listener, one batch after the other."""

    def __init__(self, context: Context, tell: Callable[[Sequence[Found]], Awaitable[None]]) -> None:
        self._context = context
        self._tell = tell
        self._counts: Counter[uuid.UUID] = Counter()
        self._followed: dict[uuid.UUID, Followed] = {}
        self._beginning: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._dirty: dict[uuid.UUID, set[uuid.UUID]] = {}
        self._something = asyncio.Event()
        self._sweep_at = float("inf")
        self._swept: datetime | None = None
        self._paper = _Paper(context.settings.redis_url, self._heard, self._look_again)
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def follow(self, account: uuid.UUID) -> None:
        """Follows an account; nothing that is committed from now on is missed.

        Raises:
            Unavailable: the database is away; it is not followed.

        """
        self._counts[account] += 1
        if account in self._followed:
            return
        if account not in self._beginning:
            self._beginning[account] = asyncio.get_running_loop().create_task(self._begin(account))
        try:
            await asyncio.shield(self._beginning[account])
        except BaseException:
            self.leave(account)
            raise

    def leave(self, account: uuid.UUID) -> None:
        """Follows it no longer, once all who did have left."""
        self._counts[account] -= 1
        if self._counts[account] <= 0:
            del self._counts[account]
            self._followed.pop(account, None)
            self._dirty.pop(account, None)
            self._paper.cancel(account)

    def is_away(self) -> bool:
        """Whether nobody can be heard."""
        return not self._paper.hears

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task], timeout=AGAIN)
        await self._paper.close()

    async def _begin(self, account: uuid.UUID) -> None:
        try:
            await self._paper.order(account)
            followed = await run_in_threadpool(self._begun, account)
            if self._counts[account] > 0:
                self._followed[account] = followed
                self._swept = self._swept or followed.began
                # Until then whoever announces may not know that somebody follows.
                self._sweep_by(REFRESH + 0.2)
        finally:
            del self._beginning[account]

    def _begun(self, account: uuid.UUID) -> Followed:
        with self._context.reading() as session:
            return begin_following(session, account)

    def _heard(self, account: uuid.UUID, conversations: Sequence[uuid.UUID]) -> None:
        if account not in self._followed:
            return
        if not conversations:
            self._look_again()
            return
        self._dirty.setdefault(account, set()).update(conversations)
        self._something.set()

    def _look_again(self) -> None:
        self._sweep_by(0.0)

    def _sweep_by(self, seconds: float) -> None:
        self._sweep_at = min(self._sweep_at, time.monotonic() + seconds)
        self._something.set()

    async def _work(self) -> None:
        while True:
            await heard(self._something, max(0.0, min(self._sweep_at - time.monotonic(), SWEEP)))
            try:
                since = await self._sweep() if time.monotonic() >= self._sweep_at else None
                await self._tell_news()
                for followed in self._followed.values() if since else ():
                    assert since is not None  # noqa: S101 (looked at above)
                    followed.forget_before(since)
            except CrontalkError as error:
                log.warning("news_not_read", error=type(error).__name__)
                await asyncio.sleep(AGAIN)
            except Exception as error:  # noqa: BLE001 (whatever breaks, the next look finds what was left out)
                log.error("news_broke", error=type(error).__name__)
                await asyncio.sleep(AGAIN)

    async def _sweep(self) -> datetime | None:
        """Marks what must be looked at; answers up to when all of it will have been."""
        self._sweep_at = time.monotonic() + (SWEEP if self._paper.hears else AWAY)
        if not self._followed or self._swept is None:
            self._swept = None
            return None
        now, changed = await run_in_threadpool(self._changed, list(self._followed), self._swept)
        for account, conversation, seq in changed:
            place = account in self._followed and self._followed[account].places.get(conversation)
            if account in self._followed and not (place and place.seq and place.seq >= seq):
                self._dirty.setdefault(account, set()).add(conversation)
        for account, followed in self._followed.items():
            self._dirty.setdefault(account, set()).update(followed.open())
        self._swept = now
        return now - OVERLAP - timedelta(seconds=1)

    def _changed(
        self, accounts: Sequence[uuid.UUID], since: datetime
    ) -> tuple[datetime, list[tuple[uuid.UUID, uuid.UUID, int]]]:
        with self._context.reading() as session:
            return swept(session, accounts, since)

    async def _tell_news(self) -> None:
        while any(self._dirty.values()):
            wanted = self._take()
            try:
                found = await run_in_threadpool(self._found, wanted)
            except BaseException:
                for followed, conversation in wanted:
                    self._dirty.setdefault(followed.account_id, set()).add(conversation)
                self._something.set()
                raise
            # Who left and came back meanwhile is followed anew, from another place on.
            current = {one for followed, one in wanted if self._followed.get(followed.account_id) is followed}
            found = [one for one in found if one.conversation_id in current]
            for one in found:
                if one.more:
                    self._dirty.setdefault(one.account_id, set()).add(one.conversation_id)
            await self._tell(found)

    def _take(self) -> list[tuple[Followed, uuid.UUID]]:
        wanted: list[tuple[Followed, uuid.UUID]] = []
        for account in list(self._dirty):
            followed = self._followed.get(account)
            while followed and self._dirty[account] and len(wanted) < AT_ONCE:
                wanted.append((followed, self._dirty[account].pop()))
            if followed is None or not self._dirty[account]:
                del self._dirty[account]
        return wanted

    def _found(self, wanted: Sequence[tuple[Followed, uuid.UUID]]) -> list[Found]:
        with self._context.reading() as session:
            return look(session, wanted)


class _Paper:
    """The subscription: the channels of the accounts that are followed, on one connection."""

    def __init__(
        self,
        redis_url: str | None,
        heard_of: Callable[[uuid.UUID, Sequence[uuid.UUID]], None],
        lost: Callable[[], None],
    ) -> None:
        self.hears = False
        self._heard_of = heard_of
        self._lost = lost
        self._absence = Absence("news_away")
        self._ordered: dict[str, asyncio.Event] = {}
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

    async def order(self, account: uuid.UUID) -> None:
        """Hears of an account; returns once that is certain, or cannot be had."""
        if self._hearing is None:
            return
        channel = channel_of(account)
        confirmed = self._ordered.setdefault(channel, asyncio.Event())
        if self._pubsub is None:
            return
        with contextlib.suppress(Exception):  # the reading side notices, and subscribes to all of them again
            await self._pubsub.subscribe(channel)
            async with asyncio.timeout(CONFIRMED):
                await confirmed.wait()

    def cancel(self, account: uuid.UUID) -> None:
        channel = channel_of(account)
        if self._ordered.pop(channel, None) is not None and self._pubsub is not None:
            task = asyncio.get_running_loop().create_task(self._unsubscribe(channel))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        if self._hearing is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=AGAIN)
            await self._hearing.aclose()

    async def _unsubscribe(self, channel: str) -> None:
        with contextlib.suppress(Exception):
            if channel not in self._ordered and self._pubsub is not None:
                await self._pubsub.unsubscribe(channel)

    async def _hear(self) -> None:
        while True:
            try:
                async with self._hearing.pubsub() as pubsub:
                    await pubsub.subscribe(
                        PREFIX, *self._ordered
                    )  # the bare prefix keeps the connection open
                    self._pubsub = pubsub
                    await self._listen(pubsub)
            except Exception as error:  # noqa: BLE001 (whatever it is, the rows are looked at meanwhile)
                self._absence.note(error)
            finally:
                self._pubsub, self.hears = None, False
            self._lost()
            await asyncio.sleep(AGAIN)

    async def _listen(self, pubsub: Any) -> None:
        while True:
            # Without a time-out: one that fires as the task is cancelled would swallow the cancellation.
            message = await pubsub.get_message(timeout=None)
            if message is None:
                continue
            channel = message["channel"].decode()
            if message["type"] == "message":
                self._heard_of(uuid.UUID(channel.removeprefix(PREFIX)), unpack(message["data"]))
            elif message["type"] == "subscribe":
                if channel == PREFIX:
                    self.hears = True
                    self._lost()  # what was said while nobody listened
                elif channel in self._ordered:
                    self._ordered[channel].set()
