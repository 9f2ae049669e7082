"""The story of `crontalk demo --chaos`: processes are killed before one's eyes, and nothing is lost.

A generator: it yields whenever it waits for something, and the installation's watch loop goes on with it.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from cli.reach import Reach
from cli.runs import story as told
from cli.show import Document, facts
from cli.witness import ended, in_mid_call, lease_left, make_task, runs_of, taken_from, trigger
from core.errors import CrontalkError

if TYPE_CHECKING:
    from cli.installation import Stage

WORKERS = 2
LEASE = 5
# A short lease, so that one can watch it run out. The poll worker waits longer than that: otherwise it takes
# the recovered run, which is overdue, before a Celery worker can.
ENVIRONMENT = {"CRONTALK_LEASE": str(LEASE), "CRONTALK_POLL_AFTER": "12"}
PATIENCE = 60.0
LATENCY = 6
DUE_IN = timedelta(seconds=8)

Found = TypeVar("Found")
Wait = Generator[None, None, Found]


class PromiseBroken(CrontalkError):
    """Something was lost, done twice, or did not come back: what must never happen."""


@dataclass(frozen=True)
class Victim:
    """A process we have killed."""

    name: str
    pid: int

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def story(stage: Stage) -> Iterator[None]:
    """Both acts and the sum of them.

    Raises:
        PromiseBroken: something was lost, done twice, or did not come back within a minute.

    """
    began = time.monotonic()
    at = Reach(stage.context, stage.account)
    first = yield from _a_worker_dies(stage, at)
    second = yield from _the_scheduler_and_the_broker_die(stage, at)
    rows = [
        ("killed with SIGKILL", ", ".join(str(victim) for victim in (first, *second))),
        ("conversations", "2 asked for, 2 held, each with one reply"),
        ("lost", "nothing"),
        ("paid twice", "one model call: the one whose worker died in it"),
        ("took", f"{time.monotonic() - began:.0f} s"),
    ]
    stage.screen.line("\nNothing was lost and nothing was stored twice.", style="bold green")
    stage.screen.show(facts(rows))


def _a_worker_dies(stage: Stage, at: Reach) -> Wait[Victim]:
    say = stage.screen.line
    say("\n1. A worker dies in the middle of a model call", style="bold")
    run = trigger(at, make_task(at, "Night log", latency=LATENCY))
    say(f"Run {run} is asked for. Its model takes {LATENCY} s.")
    held = yield from _until(lambda: in_mid_call(at, run), "The run was not taken by a worker")
    victim = _worker_called(stage, held["worker"])
    say(f"{victim} holds it and waits for the model.")
    yield from _pause(1.5)
    _kill(stage, victim)
    yield from _lease_runs_out(stage, at, run, held["worker"])
    again = yield from _until(lambda: taken_from(at, run, held["worker"]), "No other worker took the run")
    say(f"{_worker_called(stage, again['worker'])} has taken it and asks the model once more.")
    done = yield from _until(lambda: ended(at, run), "The run did not end")
    say("Its timeline. An attempt is numbered by the epoch, which rises with every change of hands:")
    stage.screen.show(told(done))
    _judge(done, attempts=["lost", "succeeded"])
    return victim


def _the_scheduler_and_the_broker_die(stage: Stage, at: Reach) -> Wait[list[Victim]]:
    say = stage.screen.line
    say("\n2. The scheduler and the broker die before a task is due", style="bold")
    task = make_task(at, "Morning watch", latency=1, due_in=DUE_IN)
    say(f"The task is due once, in {DUE_IN.seconds} seconds.")
    victims = [Victim(name, stage.processes()[name]) for name in ("scheduler", "valkey")]
    for victim in victims:
        _kill(stage, victim)
    yield from _until(lambda: _all_new(stage, victims), "The processes did not come back")
    say("Both run again. The broker has forgotten everything; the rows have not.")
    (run,) = yield from _until(lambda: runs_of(at, task) or None, "The occurrence was lost")
    done = yield from _until(lambda: ended(at, run), "The run did not end")
    say(f"It was fired {(done['createdAt'] - done['scheduledFor']) / 1000:.2f} s after its time.")
    stage.screen.show(told(done))
    _judge(done, attempts=["succeeded"])
    if runs_of(at, task) != [run]:
        raise PromiseBroken("The occurrence ran twice.")
    return victims


def _until(find: Callable[[], Found | None], otherwise: str) -> Wait[Found]:
    """Looks until there is something to see.

    Raises:
        PromiseBroken: there was nothing within a minute.

    """
    end = time.monotonic() + PATIENCE
    while (found := find()) is None:
        if time.monotonic() >= end:
            raise PromiseBroken(f"{otherwise} within {PATIENCE:.0f} s.")
        yield
    return found


def _pause(seconds: float) -> Wait[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def _lease_runs_out(stage: Stage, at: Reach, run: uuid.UUID, worker: str) -> Wait[None]:
    """Counts the lease down, until the scheduler has taken the run from the dead."""
    say = stage.screen.line
    say("Nobody renews the lease of its run any more:")
    shown: list[int] = []

    def given_back() -> bool | None:
        left = lease_left(at, run, worker)
        if left is None:
            return True
        if (seconds := max(0, int(left))) not in shown:
            shown.append(seconds)
            say(f"  {seconds} s left")
        return None

    yield from _until(given_back, "The dead worker's run was not given back")
    say("The lease is over: the scheduler has taken the run from the dead and given it back to the queue.")


def _kill(stage: Stage, victim: Victim) -> None:
    stage.screen.line(f"kill -9 {victim.pid}: {victim.name} is dead.", style="bold red")
    os.kill(victim.pid, signal.SIGKILL)


def _all_new(stage: Stage, victims: list[Victim]) -> bool | None:
    now = stage.processes()
    return all(now.get(victim.name, victim.pid) != victim.pid for victim in victims) or None


def _worker_called(stage: Stage, worker: str) -> Victim:
    """The process behind the name in a run's row: `chat-<pid>@host` or `poll-<pid>@host`."""
    pid = int(worker.partition("@")[0].rpartition("-")[2])
    return Victim({pid: name for name, pid in stage.processes().items()}.get(pid, "worker"), pid)


def _judge(done: Document, attempts: list[str]) -> None:
    """Whether the run went as promised: these attempts with a model call each, one prompt, one reply.

    Raises:
        PromiseBroken: it did not.

    """
    outcomes = [step.get("outcome") for step in done["steps"] if step["step"].startswith("attempt.")]
    said = [message["type"] for message in done["messages"]]
    calls = done["usage"]["modelCalls"]
    if (outcomes, said, calls) != (attempts, ["user", "bot"], len(attempts)):
        raise PromiseBroken(f"The attempts were {outcomes} with {calls} model calls; {said} was stored.")
