"""The pages people look through, on a million messages: how long a page takes, asked for over HTTP.

One API process with the page's own queries, asked one page at a time on one kept connection; the floor is the
page to sign in on, which asks the database nothing, and a transaction that asks for nothing. Every question
asks for something else each time, as far as there is something else to ask for.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from sqlalchemy import text

from benchmarks import support
from benchmarks.api import serving
from benchmarks.dashboard_rows import LONG, NOWHERE, Filled, fill
from benchmarks.http import Client
from benchmarks.stored import milliseconds, nothing
from cli.local.servers import Servers
from core.accounts import SCOPES, create_token
from core.context import Context

MESSAGES = 1_000_000
ASKED = 40
GOAL = 100.0
DEEP = 60  # pages
OLDER = re.compile(rb'href="(/conversations\?[^"]*before=[^"]*)" rel="next"')

Make = Callable[[random.Random], str]


def search(words: str, before: str = "") -> str:
    return f"/conversations?q={quote(words)}{before}"


def searches(filled: Filled) -> dict[str, Make]:
    """Addresses of the list by what is looked for, in the large account."""
    words, tenant = filled.words, filled.tenants[0]
    one = lambda low, high: lambda chance: words[chance.randrange(low, high)]  # noqa: E731
    common, middling, rare = one(0, 20), one(200, 2000), one(10_000, 30_000)
    return {
        "the newest": lambda _: "/conversations",
        "a word of every second message": lambda chance: search(common(chance)),
        "a word of every thousandth": lambda chance: search(middling(chance)),
        "a rare word": lambda chance: search(rare(chance)),
        "a word that is nowhere": lambda chance: search(f"{NOWHERE}{chance.randrange(10**6)}"),
        "two words of every thousandth": lambda chance: search(f"{middling(chance)} {middling(chance)}"),
        "a common and a rare word": lambda chance: search(f"{common(chance)} {rare(chance)}"),
        'a "phrase" of common words': lambda chance: search(f'"{common(chance)} {common(chance)}"'),
        "common, without another": lambda chance: search(f"{common(chance)} -{common(chance)}"),
        "task:": lambda chance: search(f"task:{chance.choice(tenant.tasks)}"),
        "task: by its name, and a common word": lambda chance: search(
            f'task:"Task {chance.randrange(1, 200)}" {common(chance)}'
        ),
        "contact:": lambda chance: search(f"contact:{chance.choice(tenant.contacts)}"),
        "contact: and a common word": lambda chance: search(
            f"contact:{chance.choice(tenant.contacts)} {common(chance)}"
        ),
        "bot: and source:": lambda chance: search(f"bot:{chance.choice(tenant.bots)} source:widget"),
        "has:pii": lambda _: search("has:pii"),
        "has:pii and a rare word": lambda chance: search(f"has:pii {rare(chance)}"),
        "type:activity": lambda _: search("type:activity"),
        "type:context, which few have": lambda _: search("type:context"),
        "type:checkpoint, which none has": lambda _: search("type:checkpoint"),
        "status:archived": lambda _: search("status:archived"),
        "source:none, which none has": lambda _: search("source:none"),
        "after: a month ago": lambda _: search("after:2026-11-01"),
        "before: a year ago": lambda _: search("before:2025-12-01"),
        "before: a year ago, a common word": lambda chance: search(f"before:2025-12-01 {common(chance)}"),
        "after: tomorrow": lambda _: search("after:2027-01-01"),
    }


def pages(filled: Filled, job: uuid.UUID) -> dict[str, Make]:
    tenant, long = filled.tenants[0], f"/conversations/{filled.long}"
    return {
        f"conversation of {LONG:,} messages: first page": lambda _: long,
        "the same: in the middle": lambda chance: f"{long}?after={chance.randrange(2000, 3000)}",
        "the same: the end": lambda _: f"{long}?after={LONG - 60}",
        "runs": lambda _: "/",
        "tasks": lambda _: "/tasks",
        "a task": lambda chance: f"/tasks/{chance.choice(tenant.tasks)}",
        "jobs": lambda _: "/jobs",
        "a job": lambda _: f"/jobs/{job}",
        "contacts": lambda _: "/contacts",
        "a contact": lambda chance: f"/contacts/{chance.choice(tenant.contacts)}",
        "operations": lambda _: "/ops",
    }


def small(filled: Filled) -> dict[str, Make]:
    """The same of the smallest account, whose rows are few among those of others."""
    words = filled.words
    return {
        "small account: the newest": lambda _: "/conversations",
        "small account: a word of every second message": lambda chance: search(words[chance.randrange(20)]),
        "small account: a word of every thousandth": lambda chance: search(
            words[chance.randrange(200, 2000)]
        ),
        "small account: has:pii, in the oldest alone": lambda _: search("has:pii"),
        "small account: type:context": lambda _: search("type:context"),
    }


async def timed(client: Client, make: Make, asked: int, seed: int = 3) -> tuple[list[float], int]:
    """Milliseconds of each, and how many were refused as taking too long."""
    chance, spans, refused = random.Random(seed), [], 0
    await client.page(make(chance))
    for _ in range(asked):
        path = make(chance)
        began = time.perf_counter()
        status, _ = await client.page(path)
        spans.append((time.perf_counter() - began) * 1000)
        refused += status == 400
        assert status in {200, 400}, (status, path)
    return spans, refused


async def deep(client: Client, first: str) -> str:
    """The address of a page some way down a list."""
    for _ in range(DEEP):
        _, body = await client.page(first)
        found = OLDER.search(body)
        if found is None:
            break
        first = found[1].decode().replace("&amp;", "&")
    return first


async def look(port: int, filled: Filled, secrets: list[str], job: uuid.UUID, asked: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}

    async def of(client: Client, questions: dict[str, Make]) -> None:
        for name, make in questions.items():
            spans, refused = await timed(client, make, asked)
            figures[name] = {
                "p50_ms": support.median(spans),
                "p95_ms": support.percentile(spans, 0.95),
                "least_ms": min(spans),
                "refused": refused,
            }

    async with Client(port, secrets[0], cookie=True) as client:
        await of(client, {"floor: the page to sign in on": lambda _: "/login"})
        await of(client, searches(filled))
        for name, first in (
            (f"the newest, page {DEEP}", "/conversations"),
            (f"a word of every second message, page {DEEP}", search(filled.words[3])),
        ):
            path = await deep(client, first)
            await of(client, {name: lambda _, path=path: path})  # type: ignore[misc]
        await of(client, pages(filled, job))
    async with Client(port, secrets[2], cookie=True) as client:
        await of(client, small(filled))
    async with Client(port, secrets[0]) as client:
        listed = {
            "second dialect: conversations of the account": "/api/conversations",
            "second dialect: from the 10,000th": "/api/conversations?offset=10000",
            "second dialect: archived ones": "/api/conversations?status=archived",
        }
        await of(client, {name: lambda _, path=path: path for name, path in listed.items()})  # type: ignore[misc]
    return figures


def measure(both: Servers, messages: int, asked: int) -> tuple[Filled, dict[str, Any]]:
    with support.fresh_context(both) as context:
        began = time.perf_counter()
        filled = fill(context, both, messages)
        filled.seconds = time.perf_counter() - began
        secrets, job = opened(context, filled)
        spans = milliseconds(lambda: nothing(context))
        floor = {"p50_ms": support.median(spans), "p95_ms": support.percentile(spans, 0.95)}
        with serving(context) as (port, _):
            figures = asyncio.run(look(port, filled, secrets, job, asked))
        return filled, {"floor: SELECT 1": {**floor, "least_ms": min(spans), "refused": 0}, **figures}


def opened(context: Context, filled: Filled) -> tuple[list[str], uuid.UUID]:
    """A token of each account, and a job of the first."""
    with context.transaction() as session:
        secrets = [create_token(session, one.id, "bench", scopes=SCOPES)[1] for one in filled.tenants]
        job = session.execute(
            text("SELECT id FROM jobs WHERE account_id = :id LIMIT 1"), {"id": filled.tenants[0].id}
        ).scalar_one()
    return secrets, job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--asked", type=int, default=ASKED)
    given = support.options(parser)
    with support.servers() as both:
        filled, figures = measure(both, given.messages, given.asked)
    rows = [
        (
            name,
            *(f"{one[key]:.1f}" for key in ("least_ms", "p50_ms", "p95_ms")),
            "" if "floor" in name else f"{one['refused']} refused" if one["refused"] else _verdict(one),
        )
        for name, one in figures.items()
    ]
    title = (
        f"Pages over {filled.messages:,} messages in {filled.conversations:,} conversations"
        f" (stored in {filled.seconds:.0f} s), each asked for {given.asked} times"
    )
    support.show(title, ("page", "least ms", "p50 ms", "p95 ms", f"< {GOAL:.0f} ms"), rows)
    support.write("dashboard", given, figures)


def _verdict(one: dict[str, float]) -> str:
    return "yes" if one["p95_ms"] < GOAL else "p50" if one["p50_ms"] < GOAL else "no"


if __name__ == "__main__":
    main()
