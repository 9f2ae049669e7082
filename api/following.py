"""Following accounts: one reader of the paper and one slow look per process, for all who are connected to it.

Whoever follows is told what `core.news.look` finds, in the order of each conversation. Announcements say
where to look at once. Every `SWEEP` seconds, and every `AWAY` ones while Valkey is away, the rows themselves
are asked what was said, so that an announcement that is lost costs time and nothing else.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import structlog
from starlette.concurrency import run_in_threadpool

from api.live import AGAIN, heard
from api.paper import Paper
from core.announcing import REFRESH
from core.context import Context
from core.errors import CrontalkError
from core.news import OVERLAP, Followed, Found, begin_following, look, swept

log = structlog.get_logger()

SWEEP = 15.0  # seconds
AWAY = 2.0
AT_ONCE = 500  # conversations at one look


class Follower:
    """What the accounts that are followed here do, told to one listener, one batch after the other."""

    def __init__(
        self, context: Context, paper: Paper, tell: Callable[[Sequence[Found]], Awaitable[None]]
    ) -> None:
        self._context = context
        self._paper = paper
        self._tell = tell
        self._counts: Counter[uuid.UUID] = Counter()
        self._followed: dict[uuid.UUID, Followed] = {}
        self._beginning: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._dirty: dict[uuid.UUID, set[uuid.UUID]] = {}
        self._something = asyncio.Event()
        self._sweep_at = float("inf")
        self._swept: datetime | None = None
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
            if account not in self._beginning:  # which may go on for somebody who has come meanwhile
                self._paper.cancel(account, self._heard)

    def is_away(self) -> bool:
        """Whether nobody can be heard."""
        return not self._paper.hears

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task], timeout=AGAIN)

    async def _begin(self, account: uuid.UUID) -> None:
        try:
            await self._paper.order(account, self._heard)
            followed = await run_in_threadpool(self._begun, account)
            if self._counts[account] > 0:
                self._followed[account] = followed
                self._swept = self._swept or followed.began
                # Until then whoever announces may not know that somebody follows.
                self._sweep_by(REFRESH + 0.2)
        finally:
            del self._beginning[account]
            if self._counts[account] <= 0:
                del self._counts[account]
                self._paper.cancel(account, self._heard)

    def _begun(self, account: uuid.UUID) -> Followed:
        with self._context.reading() as session:
            return begin_following(session, account)

    def _heard(self, account: uuid.UUID, ids: Sequence[uuid.UUID]) -> None:
        """Some of the ids may be of other rows than conversations: no such conversation is found then."""
        if account not in self._followed:
            return
        if not ids:
            self._sweep_by(0.0)
            return
        self._dirty.setdefault(account, set()).update(ids)
        self._something.set()

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
