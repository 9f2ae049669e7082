"""Live connections: what an idle one weighs, how fast one message reaches many, and turns at once.

One API process and one worker. The clients share the machine's cores with both and with the servers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
import uuid
from contextlib import AsyncExitStack
from typing import Any

import psutil
from websockets.asyncio.client import ClientConnection, connect

from benchmarks import support
from benchmarks.api import serving
from benchmarks.workers import celery_worker
from core.accounts import create_token
from core.context import Context
from core.conversations import create_conversation
from core.drafts import Draft
from core.messages import create_messages
from models import MessageType

IDLE = 2000
FAN = 500
SAID = 40
TURNS = 200
MODEL = 0.05
AT_ONCE = 50  # that connect at the same time


async def opened(stack: AsyncExitStack, port: int, token: str, count: int) -> list[ClientConnection]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> ClientConnection:
        async with gate:
            made = await stack.enter_async_context(
                connect(
                    f"ws://127.0.0.1:{port}/ws",
                    additional_headers={"Authorization": f"Bearer {token}"},
                    proxy=None,
                    compression=None,
                    open_timeout=60,
                    ping_interval=None,
                )
            )
            assert json.loads(await made.recv())["authenticated"]
            return made

    return await asyncio.gather(*(one() for _ in range(count)))


async def idle(port: int, token: str, api: psutil.Process, count: int) -> tuple[float, ...]:
    """Seconds to connect, kilobytes of each, and the share of a core that all of them use."""
    async with AsyncExitStack() as stack:
        first = await opened(stack, port, token, 10)
        before = api.memory_info().rss
        began = time.perf_counter()
        await opened(stack, port, token, count)
        connected = time.perf_counter() - began
        weight = (api.memory_info().rss - before) / count / 1024
        used, since = sum(api.cpu_times()[:2]), time.perf_counter()
        await asyncio.sleep(20)
        share = (sum(api.cpu_times()[:2]) - used) / (time.perf_counter() - since)
        assert len(first) == 10
        return connected, weight, api.memory_info().rss / 2**20, share * 100


async def fanned_out(context: Context, account: uuid.UUID, port: int, token: str, count: int) -> list[float]:
    """From the commit of a message to its arrival at each of the connections."""
    with context.transaction(account) as session:
        place = create_conversation(session).id
    committed: dict[str, float] = {}
    spans: list[float] = []

    async def listen(one: ClientConnection) -> None:
        left = SAID
        while left:
            frame = json.loads(await one.recv())
            if frame["type"] == "message":
                left -= 1
                spans.append(time.perf_counter() - committed[frame["content"]])

    def say(words: str) -> None:
        with context.transaction(account) as session:
            create_messages(session, place, [Draft(MessageType.USER, words)])
            committed[words] = time.perf_counter()

    async with AsyncExitStack() as stack:
        connections = await opened(stack, port, token, count)
        await asyncio.sleep(3)
        listening = [asyncio.create_task(listen(one)) for one in connections]
        for n in range(SAID):
            await asyncio.to_thread(say, f"word {n}")
            await asyncio.sleep(0.25)
        await asyncio.gather(*listening)
    return spans


async def talked(port: int, token: str, count: int) -> tuple[float, list[float]]:
    """As many people say something at once; from the sending to the answer."""

    async def one(connection: ClientConnection, place: str) -> float:
        began = time.perf_counter()
        await connection.send(json.dumps({"type": "message", "content": "Hello", "session_id": place}))
        while True:
            frame = json.loads(await connection.recv())
            if frame["type"] == "message" and frame["sender"] == "bot" and frame["session_id"] == place:
                return time.perf_counter() - began

    async with AsyncExitStack() as stack:
        connections, places = [], []
        for token_of_one, place in json.loads(token):
            connections += await opened(stack, port, token_of_one, 1)
            places.append(place)
        began = time.perf_counter()
        spans = await asyncio.gather(*map(one, connections, places))
        assert len(spans) == count
        return time.perf_counter() - began, spans


def people(context: Context, account: uuid.UUID, count: int) -> str:
    """A session's token and its conversation, for each of them."""
    from core.session_tokens import create_session_token

    made: list[Any] = []
    with context.transaction(account) as session:
        bot = support.execute(context, "SELECT id FROM bots LIMIT 1")
        for _ in range(count):
            place = create_conversation(session, bot_id=bot).id
            made.append((create_session_token(session, place)[1], str(place)))
    return json.dumps(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle", type=int, default=IDLE)
    parser.add_argument("--fan", type=int, default=FAN)
    parser.add_argument("--turns", type=int, default=TURNS)
    given = support.options(parser)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    with support.servers() as both, support.fresh_context(both, pool_size=20) as context:
        account = support.an_account(context)
        with context.transaction() as session:
            token = create_token(session, account, "bench")[1]
        support.execute(context, f"UPDATE bots SET model = 'offline/latency={MODEL:g}'")
        with serving(context) as (port, api):
            connected, weight, resident, share = asyncio.run(idle(port, token, api, given.idle))
            time.sleep(2)
            spans = asyncio.run(fanned_out(context, account, port, token, given.fan))
            with celery_worker(context.settings, 64):
                some = people(context, account, given.turns)
                asyncio.run(talked(port, people(context, account, 5), 5))
                took, answers = asyncio.run(talked(port, some, given.turns))
    figures = {
        "idle": [connected, weight, resident, share],
        "fan": [support.median(spans), support.percentile(spans, 0.99)],
        "turns": [took, support.median(answers), support.percentile(answers, 0.99)],
    }
    support.write("sockets", given, figures)
    support.show(
        f"{given.idle} idle connections on one API process",
        ("connected in s", "KB each", "RSS of the process MB", "% of a core"),
        [(f"{connected:.1f}", f"{weight:.1f}", f"{resident:.0f}", f"{share:.1f}")],
    )
    support.show(
        f"{SAID} messages to {given.fan} connections each, from the commit on",
        ("p50 ms", "p99 ms"),
        [[f"{value * 1000:.0f}" for value in figures["fan"]]],
    )
    support.show(
        f"{given.turns} turns at once, a model of {MODEL * 1000:.0f} ms",
        ("all answered after s", "p50 s", "p99 s"),
        [[f"{value:.2f}" for value in figures["turns"]]],
    )


if __name__ == "__main__":
    main()
