"""Firing, and kill -9: one system after the other, each on a new database and an empty broker."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import redis

from benchmarks import support
from benchmarks.peers.job import Job, next_minute, soon
from benchmarks.peers.measures import Counts, Lateness, counts, lateness
from benchmarks.peers.processes import Fleet, running
from benchmarks.peers.systems import Stage, System
from cli.local.servers import Servers

T = TypeVar("T")

PREPARING = 10.0  # seconds for the tasks to be stored, beside what each takes
LEAD = 12.0  # seconds for the processes to start, beside what each task takes
PER_LOAD = 2.0  # more of them on a busy machine, where trials are made
PATIENCE = 20.0  # after the last is due
# Between two kills; each process has two of them to start in, of which ours needs most.
PAUSES = (2.0, 5.0)
KILLING = 20.0  # seconds of the last minute in which there are kills
RECOVERING = 45.0  # seconds beyond the last minute, where something is still missing
SEED = 20_261


@contextmanager
def stage(system: System, job: Job, both: Servers, python: str) -> Iterator[Stage]:
    broker = redis.Redis.from_url(both.redis_url)
    broker.flushall()
    with support.fresh_context(both) as context, tempfile.TemporaryDirectory(prefix="peer-") as directory:
        yield Stage(system, job, both, context, Path(directory), python)
    broker.flushall()
    broker.close()


class TooLateError(Exception):
    """To store the tasks took longer than was planned for: the first would be due too soon."""


def patiently(measure: Callable[[float], T]) -> T:
    """Measures again with more seconds to prepare in, where they were too few."""
    for more in (0.0, 30.0, 90.0):
        try:
            return measure(more)
        except TooLateError:
            tell("Not prepared in time: once more, with more time.")
    raise TooLateError


def lead(system: System, tasks: int) -> float:
    return LEAD + PER_LOAD * os.getloadavg()[0] + system.starting * tasks


def whole(system: System, tasks: int) -> float:
    return PREPARING + system.preparing * tasks + lead(system, tasks)


@contextmanager
def started(on: Stage) -> Iterator[Fleet]:
    """The system's processes, as long before the first task is due as they need."""
    job, system = on.job, on.system
    tell(f"{time.strftime('%X')} {system.name}, {job.tasks:,} tasks")
    on.prepare()
    spare = job.start - time.time() - lead(system, job.tasks)
    if spare < -5:
        raise TooLateError
    time.sleep(max(0.0, spare))
    with running(on) as fleet:
        yield fleet


def fired(system: System, both: Servers, python: str, *, tasks: int, burst: bool) -> dict[str, Lateness]:
    """A minute of `tasks` tasks, or all of them in one second."""
    return patiently(
        lambda more: _fired(system, both, python, Job(tasks, soon(whole(system, tasks) + more), burst=burst))
    )


def _fired(system: System, both: Servers, python: str, job: Job) -> dict[str, Lateness]:
    with stage(system, job, both, python) as on, started(on) as fleet:
        dues = job.dues(1)
        last = max(due for _, due in dues)
        time.sleep(max(0.0, last - time.time()))
        end = wait_until_done(on, dues, last + PATIENCE)
        say_what_died(fleet)
        return said({name: lateness(records, dues, end) for name, records in on.records().items()})


def tell(what: object) -> None:
    """How far it is, beside the tables."""
    print(what, file=sys.stderr, flush=True)


def said(figures: dict[str, T]) -> dict[str, T]:
    tell(figures)
    return figures


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
    return patiently(
        lambda more: _killed(
            system, both, python, Job(tasks, next_minute(whole(system, tasks) + more), cron=True), minutes
        )
    )


def _killed(
    system: System, both: Servers, python: str, job: Job, minutes: int
) -> tuple[dict[str, Counts], int]:
    with stage(system, job, both, python) as on, started(on) as fleet:
        time.sleep(max(0.0, job.start - 2 - time.time()))
        kill_in_turns(fleet, job.start + job.period * (minutes - 1) + KILLING)
        while time.time() < job.start + job.period * minutes - 1:
            fleet.look()
            time.sleep(0.5)
        dues = job.dues(minutes)
        # What is not there yet may only be late: on a busy machine some take long to start.
        wait_until_done(on, dues, time.time() + RECOVERING)
        return said({name: counts(records, dues) for name, records in on.records().items()}), fleet.kills


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
