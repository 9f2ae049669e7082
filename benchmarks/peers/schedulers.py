"""Firing, and kill -9: one system after the other, each on a new database and an empty broker."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import redis

from benchmarks import support
from benchmarks.peers.job import Job, next_minute, soon
from benchmarks.peers.measures import Counts, Lateness, counts, lateness
from benchmarks.peers.processes import Fleet, running
from benchmarks.peers.systems import OURS, Stage, System
from cli.local.servers import Servers

LEAD = 8.0  # seconds to start in
# procrastinate first defers what was due before it began, about 300 a second; nobody is measured meanwhile.
LEAD_PER_TASK = 0.004
PATIENCE = 20.0  # after the last is due
PAUSES = (1.0, 3.5)  # between two kills
SEED = 20_261


@contextmanager
def stage(system: System, job: Job, both: Servers, python: str) -> Iterator[Stage]:
    broker = redis.Redis.from_url(both.redis_url)
    broker.flushall()
    with support.fresh_context(both) as context, tempfile.TemporaryDirectory(prefix="peer-") as directory:
        yield Stage(system, job, both, context, Path(directory), python)
    broker.flushall()
    broker.close()


def lead(tasks: int) -> float:
    return LEAD + LEAD_PER_TASK * tasks


def fired(system: System, both: Servers, python: str, *, tasks: int, burst: bool) -> dict[str, Lateness]:
    """A minute of `tasks` tasks, or all of them in one second."""
    # Peers compute their first instants when they are prepared, which takes a while for many.
    job = Job(tasks, soon(lead(tasks) + 0.02 * tasks * bool(system is not OURS)), burst=burst)
    with stage(system, job, both, python) as on:
        print(f"{time.strftime('%X')} {system.name}, {tasks:,} tasks", file=sys.stderr, flush=True)
        on.prepare()
        time.sleep(max(0.0, job.start - time.time() - lead(tasks)))
        with running(on) as fleet:
            dues = job.dues(1)
            last = max(due for _, due in dues)
            time.sleep(max(0.0, last - time.time()))
            end = wait_until_done(on, dues, last + PATIENCE)
            say_what_died(fleet)
            return {name: lateness(records, dues, end) for name, records in on.records().items()}


def wait_until_done(on: Stage, dues: set[tuple[int, float]], end: float) -> float:
    """When everything that is due has its records, or the end of patience."""
    while time.time() < end:
        time.sleep(1)
        found = on.records().values()
        if all(len(dues & {(task, due) for task, due, _ in records}) == len(dues) for records in found):
            return time.time()
    return end


def killed(
    system: System, both: Servers, python: str, *, tasks: int, minutes: int
) -> tuple[dict[str, Counts], int]:
    """So many minutes' occurrences while scheduler and worker are killed in turns; then rest and recovery.

    Every system is killed at the same instants relative to the minute, whatever it is doing.
    """
    job = Job(tasks, next_minute(lead(tasks)), cron=True)
    with stage(system, job, both, python) as on:
        print(f"{time.strftime('%X')} {system.name}, {tasks:,} tasks", file=sys.stderr, flush=True)
        on.prepare()
        assert time.time() < job.start - 5, "Preparing took longer than expected."
        time.sleep(max(0.0, job.start - time.time() - lead(tasks)))
        with running(on) as fleet:
            time.sleep(max(0.0, job.start - 2 - time.time()))
            kill_in_turns(fleet, job.start + 60 * (minutes - 1) + 20)
            end = time.time() + 2 * job.recovery + PATIENCE / 2
            while time.time() < min(end, job.start + 60 * minutes - 1):
                fleet.look()
                time.sleep(0.5)
            dues = job.dues(minutes)
            return {name: counts(records, dues) for name, records in on.records().items()}, fleet.kills


def kill_in_turns(fleet: Fleet, end: float) -> None:
    dice = random.Random(SEED)
    names = list(fleet.stage.system.processes)
    at, turn = time.time(), 0
    while True:
        at += dice.uniform(*PAUSES)
        if at > end:
            return
        while time.time() < at:
            fleet.look()
            time.sleep(0.02)
        victim = names[turn % len(names)]
        fleet.kill(victim)
        fleet.start(victim)
        turn += 1


def say_what_died(fleet: Fleet) -> None:
    fleet.look()
    for name in fleet.died:
        log = (fleet.stage.directory / f"{name}.log").read_text(errors="replace")
        print(f"{fleet.stage.system.name}: {name} ended by itself\n{log[-2000:]}")


def cpu_of(fleet: Fleet) -> float:
    """Seconds of processor time of what runs now, without the servers."""
    used = 0.0
    for process in fleet.started.values():
        for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
            times = one.cpu_times()
            used += times.user + times.system
    return used
