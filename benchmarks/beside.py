"""What the API's callers notice of a paced deletion: windows alone and beside it, in turns, in one run.

The API and the worker that deletes are processes of their own, as they are in service. Requests come at a
steady rate, whether the last one was answered or not, and are timed from when they were due. Both kinds of
window see the same machine, the same tables and the same other work; how far two halves of the windows
alone are apart is the noise.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from benchmarks import support
from benchmarks.api import API, serving
from benchmarks.http import Client
from benchmarks.workers import environment
from core.accounts import create_token
from core.context import Context
from core.jobs import pause_job, resume_job
from models import Job

EVERY = 0.01  # seconds from request to request
CLIENTS = 4
SETTLING = 0.5  # seconds of a window that are not counted
DRAWS = 2000


@dataclass
class Window:
    """What was measured: milliseconds, what was deleted, the share of the machine that was busy."""

    busy: float = 0.0
    deleted: int = 0
    seconds: float = 0.0
    times: list[float] = field(default_factory=list)


@contextmanager
def deleting_worker(context: Context, rate: str) -> Iterator[psutil.Process]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "worker", "--queues", "bulk", "--concurrency", "1"],
        env=environment(context.settings) | {"CRONTALK_RATE_BULK": rate},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=60)


def measured(
    context: Context, account: uuid.UUID, job: Job, other: uuid.UUID, *, pairs: int, seconds: float, rate: str
) -> list[tuple[Window, Window]]:
    """Pairs of windows, alone and beside; which comes first changes."""
    with context.transaction() as session:
        token = create_token(session, other, "bench")[1]
    found = []
    with serving(context) as (port, _), deleting_worker(context, rate):
        _until_begun(context, job)
        _steer(context, account, job, go=False)
        asyncio.run(_ask(port, token, 3.0))  # everything is warm
        for number in range(pairs):
            windows = {}
            for go in (True, False) if number % 2 else (False, True):
                _steer(context, account, job, go=go)
                windows[go] = _window(context, job, port, token, seconds)
            found.append((windows[False], windows[True]))
        _steer(context, account, job, go=False)
    return found


def rows(pairs: Sequence[tuple[Window, Window]]) -> list[list[Any]]:
    """A table's rows: percentiles beside and alone, with what the ratio may be and what is noise.

    A burst of other work on the machine is in few windows and many of their slowest answers: the median
    window knows little of it.
    """
    alone, beside = _all(one for one, _ in pairs), _all(one for _, one in pairs)
    halves = [_all(one for one, _ in pairs[at::2]) for at in (0, 1)]
    found = []
    for share in (0.5, 0.95, 0.99):
        quiet, busy = support.percentile(alone, share), support.percentile(beside, share)
        low, high = _range(pairs, share)
        noise = support.percentile(halves[0], share) / support.percentile(halves[1], share) - 1
        found.append(
            [
                f"create a message through the API, p{share * 100:.0f} of {len(beside):,} and {len(alone):,}",
                f"{busy:.1f} ms",
                f"{quiet:.1f} ms",
                f"{busy / quiet - 1:+.0%} ({low:+.0%} to {high:+.0%}; noise {noise:+.0%})",
            ]
        )
        quiet, busy = (
            support.median([support.percentile(pair[at].times, share) for pair in pairs]) for at in (0, 1)
        )
        median = [f"{busy:.1f} ms", f"{quiet:.1f} ms", f"{busy / quiet - 1:+.0%}"]
        found.append(["the same, in the median window", *median])
    seconds = sum(one.seconds for _, one in pairs)
    found.append(["deleted meanwhile", f"{sum(one.deleted for _, one in pairs) / seconds:,.0f}/s", "0/s", ""])
    busy, quiet = (sum(pair[at].busy for pair in pairs) / len(pairs) for at in (1, 0))
    found.append(["both cores busy", f"{busy:.0%}", f"{quiet:.0%}", ""])
    return found


def _range(pairs: Sequence[tuple[Window, Window]], share: float) -> tuple[float, float]:
    """Where nine of ten ratios lie, of runs made of windows drawn from these."""
    draw = random.Random(1)
    ratios = []
    for _ in range(DRAWS // 10 if len(pairs) > 50 else DRAWS // 4):
        drawn = draw.choices(pairs, k=len(pairs))
        alone, beside = _all(one for one, _ in drawn), _all(one for _, one in drawn)
        ratios.append(support.percentile(beside, share) / support.percentile(alone, share) - 1)
    return support.percentile(ratios, 0.05), support.percentile(ratios, 0.95)


def _all(windows: Any) -> list[float]:
    return [time for window in windows for time in window.times]


def _window(context: Context, job: Job, port: int, token: str, seconds: float) -> Window:
    asyncio.run(_ask(port, token, SETTLING))
    window = Window()
    psutil.cpu_percent()
    before, began = _done(context, job), time.perf_counter()
    window.times = asyncio.run(_ask(port, token, seconds))
    window.deleted, window.seconds = _done(context, job) - before, time.perf_counter() - began
    window.busy = psutil.cpu_percent() / 100
    return window


async def _ask(port: int, token: str, seconds: float) -> list[float]:
    """Creates messages at a steady rate; milliseconds of each from when it was due."""
    times: list[float] = []

    async def one(number: int, first: float) -> None:
        async with Client(port, token) as client:
            talk = (await client.post(f"{API}/create", {}))["id"]
            for turn in range(int(seconds / EVERY / CLIENTS)):
                due = first + (turn * CLIENTS + number) * EVERY
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await client.post(f"{API}/{talk}/message/create", {"type": "user", "text": "Hello there."})
                times.append((time.perf_counter() - due) * 1000)

    first = time.perf_counter() + 0.1
    await asyncio.gather(*(one(number, first) for number in range(CLIENTS)))
    return times


def _steer(context: Context, account: uuid.UUID, job: Job, *, go: bool) -> None:
    with context.transaction(account) as session:
        (resume_job if go else pause_job)(session, job.id)


def _done(context: Context, job: Job) -> int:
    return int(support.execute(context, "SELECT done FROM jobs WHERE id = :id", id=job.id))


def _until_begun(context: Context, job: Job) -> None:
    end = time.monotonic() + 60
    while not _done(context, job):
        assert time.monotonic() < end, "The worker does not delete."
        time.sleep(0.1)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=24, help="of windows, alone and beside")
    parser.add_argument("--window", type=float, default=4.0, help="seconds of each")
