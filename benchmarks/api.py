"""The public API: messages stored and listed, conversations listed, turns completed.

One API process and one worker. The client, the API, the worker and both servers share the machine's cores, so
what each of them has used of a processor says more than the rate.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks import support
from benchmarks.http import Client, timed
from benchmarks.workers import celery_worker, environment
from core.accounts import create_token
from core.context import Context
from core.conversations import create_conversation

MESSAGES = 10_000
CONVERSATIONS = 100_000
ASKED = 1000
MODEL = 0.05  # seconds
API = "/api/v1/conversation"
UNLIMITED = {
    **{f"CRONTALK_RATE_{kind}": "6000000/m" for kind in ("READ", "WRITE", "TURN")},
    "CRONTALK_RATE_CHAT_MESSAGE": "off",
    "CRONTALK_RATE_CHAT_LIST": "off",
    "CRONTALK_SOCKETS_ADDRESS": "100000",
    "CRONTALK_SOCKETS_ACCOUNT": "100000",
}


@contextmanager
def serving(context: Context) -> Iterator[tuple[int, psutil.Process]]:
    """The API in a process of its own, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "api", "--port", str(port)],
        env=environment(context.settings) | UNLIMITED,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end, "The API does not answer."
                time.sleep(0.1)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=60)


Ask = Callable[[Client, int, int], Awaitable[Any]]


@dataclass(frozen=True)
class Bench:
    """Who asks, and whose processor time is counted: the API's, a worker's where there is one."""

    port: int
    token: str
    processes: tuple[psutil.Process, ...]

    async def row(self, name: str, clients: int, asked: int, ask: Ask) -> tuple[Any, ...]:
        before = self._used()
        seconds, spans = await timed(self.port, self.token, clients, asked, ask)
        used = [
            f"{(now - then) / len(spans) * 1000:.1f}" for then, now in zip(before, self._used(), strict=True)
        ]
        p50, p95, p99 = (support.percentile(spans, share) * 1000 for share in (0.5, 0.95, 0.99))
        rate = f"{len(spans) / seconds:,.0f}"
        return name, clients, rate, f"{p50:.1f}", f"{p95:.1f}", f"{p99:.1f}", *used

    def _used(self) -> list[float]:
        times = [process.cpu_times() for process in self.processes]
        return [*(time.user + time.system for time in times), support.server_cpu_seconds()]


def fill(context: Context, account: uuid.UUID, messages: int, conversations: int) -> str:
    """A conversation of many messages, and many conversations of two; answers the first one's id."""
    with context.transaction(account) as session:
        long = create_conversation(session, name="long").id
    with context.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(
            "INSERT INTO messages (id, account_id, conversation_id, seq, type, text)"
            " SELECT uuidv7(), %(account)s, %(long)s, n, 'user', 'message number ' || n"
            " FROM generate_series(1, %(count)s) AS n",
            {"account": account, "long": long, "count": messages},
        )
        connection.exec_driver_sql(
            "UPDATE conversations SET next_seq = %(next)s WHERE id = %(long)s",
            {"next": messages + 1, "long": long},
        )
        connection.exec_driver_sql(
            "INSERT INTO conversations (id, account_id, bot_id, source, name, meta)"
            " SELECT uuidv7(), b.account_id, b.id, 'api', 'talk ' || n,"
            " jsonb_build_object('app', 'a' || n %% 100)"
            " FROM bots b, generate_series(1, %(count)s) AS n",
            {"count": conversations},
        )
    return str(long)


async def read_and_write(bench: Bench, long: str, asked: int) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []

    async def create(client: Client, number: int, turn: int) -> None:
        del number
        await client.post(f"{API}/{long}/message/create", {"type": "user", "text": f"Hello {turn}."})

    own: dict[int, str] = {}

    async def create_own(client: Client, number: int, turn: int) -> None:
        if turn == 0:
            own[number] = (await client.post(f"{API}/create", {}))["id"]
        await client.post(f"{API}/{own[number]}/message/create", {"type": "user", "text": f"Hello {turn}."})

    async with Client(bench.port, bench.token) as client:
        page = await client.get(f"{API}/{long}/message/list")
        for _ in range(60):
            page = await client.get(f"{API}/{long}/message/list?cursor={page['cursor']}")
    deep = page["cursor"]
    for name, clients, ask in (
        ("create a message, in conversations of their own", 8, create_own),
        ("create a message, all in one conversation", 8, create),
        ("list 100 messages, first page", 4, lambda c, *_: c.get(f"{API}/{long}/message/list")),
        ("list 100 messages, page 62", 4, lambda c, *_: c.get(f"{API}/{long}/message/list?cursor={deep}")),
        ("list 100 conversations, first page", 4, lambda c, *_: c.get(f"{API}/list")),
        ("list 100 conversations by meta", 4, lambda c, *_: c.get(f"{API}/list?meta.app=a7")),
        ("search conversations for a word", 4, lambda c, *_: c.get(f"{API}/list?search=7777")),
    ):
        await timed(bench.port, bench.token, clients, asked // 10, ask)  # everything is warm
        found.append(await bench.row(name, clients, asked, ask))
    return found


async def complete(bench: Bench, clients: int, count: int) -> tuple[Any, ...]:
    own: dict[int, str] = {}

    async def ask(client: Client, number: int, turn: int) -> None:
        if turn % 20 == 0:
            own[number] = (await client.post(f"{API}/create", {}))["id"]
        await client.post(f"{API}/{own[number]}/complete", {"text": "What is new?"})

    await timed(bench.port, bench.token, clients, clients * 2, ask)  # everything is warm
    return await bench.row("complete", clients, count, ask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    parser.add_argument("--asked", type=int, default=ASKED)
    options = support.options(parser)
    columns = ("what", "clients", "/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms: API")
    with support.servers() as both, support.fresh_context(both) as context:
        account = support.an_account(context)
        with context.transaction() as session:
            token = create_token(session, account, "bench")[1]
        long = fill(context, account, options.messages, options.conversations)
        support.execute(context, f"UPDATE bots SET model = 'offline/latency={MODEL:g}'")
        support.settle_down(context)
        with serving(context) as (port, served):
            bench = Bench(port, token, (served,))
            stored = asyncio.run(read_and_write(bench, long, options.asked))
            with celery_worker(context.settings, 64) as worker:
                bench = Bench(port, token, (served, worker))
                turns = [
                    asyncio.run(complete(bench, clients, count))
                    for clients, count in ((1, 60), (16, 640), (64, 1920))
                ]
    title = f"{options.messages:,} messages in a conversation, {options.conversations:,} conversations"
    support.show(title, (*columns, "servers"), stored)
    support.show(f"a model that takes {MODEL * 1000:g} ms", (*columns, "worker", "servers"), turns)
    support.write("api", options, {"stored": stored, "turns": turns})


if __name__ == "__main__":
    main()
