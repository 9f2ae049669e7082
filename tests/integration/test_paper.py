"""The one subscription of a process: nobody who orders is left out, whenever that is."""

from __future__ import annotations

import asyncio
import uuid

import pytest
import redis

from api.following import Follower
from api.paper import Paper
from core.announcing import channel_of, pack
from core.valkey import second_database

PATIENCE = 10.0


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.003, 0.3])
def test_who_orders_while_the_connection_is_made_is_told(settings, pause):
    account, row = uuid.uuid4(), uuid.uuid4()

    async def ordered() -> list[uuid.UUID]:
        told: list[uuid.UUID] = []
        came = asyncio.Event()

        def read(_: uuid.UUID, ids) -> None:
            told.extend(ids)
            if ids:
                came.set()

        paper = Paper(settings.redis_url)
        await asyncio.sleep(pause)
        await paper.order(account, read)
        client = redis.Redis.from_url(second_database(settings.redis_url))
        async with asyncio.timeout(PATIENCE):
            for _ in range(1000):
                if await asyncio.to_thread(client.publish, channel_of(account), pack([row])):
                    break
                await asyncio.sleep(0.01)
            await came.wait()
        client.close()
        await paper.close()
        return told

    assert asyncio.run(ordered()) == [row]


def test_who_comes_while_somebody_leaves_at_the_very_beginning_still_follows(context, account):
    class SlowPaper:
        hears = True

        def __init__(self) -> None:
            self.readers = set()

        async def order(self, account, reader) -> None:
            self.readers.add(reader)
            await asyncio.sleep(0.1)

        def cancel(self, account, reader) -> None:
            self.readers.discard(reader)

    async def tell(_) -> None:
        return None

    async def come_and_go() -> tuple[int, int]:
        paper = SlowPaper()
        follower = Follower(context, paper, tell)
        first = asyncio.create_task(follower.follow(account))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)
        await follower.follow(account)
        during = len(paper.readers)
        follower.leave(account)
        await follower.close()
        return during, len(paper.readers)

    assert asyncio.run(come_and_go()) == (1, 0)
