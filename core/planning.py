"""What a due clock comes to under its task's policies: pure, so that each can be tested without a database.

Every due instant is accounted for: it runs, or it is in a row of the ledger that says why not. A missed row
was too late, a skipped one was refused by a policy; one row may cover a span.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping

from core.schedule import Schedule, Span, due_through, last_occurrences, next_after, parse
from models import Action, CatchUp, ConversationMode, Overlap, Reason, RunState, TaskState, Trigger

# Later than this is late: what a scheduler does at once is on time, what an outage delayed is caught up with.
LATE = timedelta(minutes=1)
CATCH_UP_MOST = 100
TICK = timedelta(microseconds=1)

Row = Mapping[str, Any] | RowMapping


@dataclass(frozen=True)
class Prompt:
    """Words that a run says instead of its task's, as they may be stored, and the shield that goes with them:
    the same document as `tasks.shield`.
    """

    words: str = field(repr=False)
    shield: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Spawn:
    """A run to be, under its task's definition. `delay` is its jitter.

    One that `opens` brings its conversation and its prompt along. The others speak in a conversation that is
    there, and are `waiting` until they are told in which; so do those that are behind another run.
    A `prompt` of its own stands in this run's conversation instead of the task's, and nowhere else.
    """

    task_id: uuid.UUID
    trigger: Trigger
    scheduled_for: datetime | None
    delay: timedelta = timedelta(0)
    waiting: bool = False
    opens: bool = True
    prompt: Prompt | None = field(default=None, repr=False)
    backfill_id: uuid.UUID | None = None


@dataclass(frozen=True)
class Unrun:
    """Occurrences that were due and get no run: one row of the ledger, however many it covers."""

    account_id: uuid.UUID
    task_id: uuid.UUID
    trigger: Trigger
    action: Action
    scheduled_for: datetime
    state: RunState
    reason: Reason
    covers_from: datetime | None = None
    covers_count: int | None = None


@dataclass(frozen=True)
class Firing:
    """What one due clock comes to. `rests_from`: the clock stops, and what is due from there is unwritten."""

    task_id: uuid.UUID
    next_run_at: datetime | None
    spawns: tuple[Spawn, ...] = ()
    unrun: tuple[Unrun, ...] = ()
    rests_from: datetime | None = None
    cancels: bool = False
    wakes: bool = False


def plan(clock: Row, task: Row, window: timedelta) -> Firing:
    """What a due clock comes to. `window`: how far back the installation catches up by default."""
    if task["schedule"] is None or task["state"] == TaskState.DELETED:
        return Firing(task["id"], None)
    schedule = parse(task["schedule"], task["timezone"])
    if task["state"] == TaskState.PAUSED:
        return _wake(clock, task, schedule) if task["paused_until"] else Firing(task["id"], None)
    if is_recorded(clock, task):
        return Firing(task["id"], _next(schedule, task, task["recorded_through"]))
    return _plan_active(clock, task, schedule, task["catch_up_window"] or window)


def _plan_active(clock: Row, task: Row, schedule: Schedule, window: timedelta) -> Firing:
    now, span, following = clock["now"], *due(schedule, task, clock["next_run_at"], clock["now"])
    late = now - span.last
    trigger = Trigger.SCHEDULE if span.count == 1 and late <= LATE else Trigger.CATCH_UP
    if task["closed"]:
        row = unrun(task, trigger, span, RunState.SKIPPED, Reason.ACCOUNT_CLOSED)
        return Firing(task["id"], None, unrun=(row,), rests_from=following)
    runs = _worth_running(schedule, task, span, now, window)
    older = _before(schedule, span, runs)
    missed: tuple[Unrun, ...] = ()
    if older is not None:
        outside = older.last < now - window
        reason = Reason.OUTSIDE_WINDOW if outside else Reason.LATE
        missed = (unrun(task, trigger, older, RunState.MISSED, reason),)
    if not runs:
        return Firing(task["id"], following, unrun=missed)
    refusal = _refusal(task, late, now)
    spawns = None if refusal else spawns_of(task, trigger, runs)
    if spawns is None:
        refused = Span(runs[0], span.last, len(runs))
        row = unrun(task, trigger, refused, RunState.SKIPPED, refusal or Reason.OVERLAP)
        return Firing(task["id"], following, unrun=(*missed, row))
    cancels = task["overlap"] == Overlap.CANCEL_PREVIOUS and _busy(task)
    return Firing(task["id"], following, spawns, missed, cancels=cancels)


def unrun(task: Row, trigger: Trigger, span: Span, state: RunState, reason: Reason) -> Unrun:
    """A row of the ledger over the occurrences of a span."""
    several = span.count > 1
    return Unrun(
        task["account_id"],
        task["id"],
        trigger,
        Action(task["action"]),
        span.last,
        state,
        reason,
        span.first if several else None,
        span.count if several else None,
    )


def offset(task_id: uuid.UUID, occurrence: datetime, jitter: timedelta | None) -> timedelta:
    """Where in [0, jitter) an occurrence of a task falls: the same on every machine, at every attempt."""
    if not jitter:
        return timedelta(0)
    key = task_id.bytes + int(occurrence.timestamp() * 1_000_000).to_bytes(8, signed=True)
    drawn = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())
    return timedelta(microseconds=drawn * (jitter // TICK) >> 64)


def _wake(clock: Row, task: Row, schedule: Schedule) -> Firing:
    """A pause that has ended: what fell into it is one row, and the clock goes on from its end."""
    end, following = task["paused_until"], clock["rests_from"]
    if task["expires_at"] is not None:
        end = min(end, task["expires_at"])
    rows: tuple[Unrun, ...] = ()
    if following is not None and following < end:
        span = due_through(schedule, following, end - TICK)
        rows = (unrun(task, Trigger.SCHEDULE, span, RunState.SKIPPED, Reason.PAUSED),)
        following = _next(schedule, task, span.last)
    return Firing(task["id"], following, unrun=rows, wakes=True)


def is_recorded(clock: Row, task: Row) -> bool:
    """Whether a due clock stands on an occurrence that has its row, so that it only moves on."""
    return task["recorded_from"] is not None and task["recorded_from"] <= clock["next_run_at"]


def due(schedule: Schedule, task: Row, first: datetime, now: datetime) -> tuple[Span, datetime | None]:
    """The occurrences that are due, up to the first that has its row, and the one after them.

    A row may lie ahead of a clock where the database's own clock went back. A task that has expired had no
    occurrence after that.
    """
    following = _next(schedule, task, first)
    if following is None or following > now:
        return Span(first, first, 1), following
    ends = [end - TICK for end in (task["expires_at"], task["recorded_from"]) if end and end > first]
    span = due_through(schedule, first, min([now, *ends]))
    return span, _next(schedule, task, span.last)


def _next(schedule: Schedule, task: Row, instant: datetime) -> datetime | None:
    """The occurrence after `instant`, unless the task has expired by then."""
    found = next_after(schedule, instant)
    expires_at = task["expires_at"]
    return None if found is None or (expires_at is not None and found >= expires_at) else found


def _worth_running(
    schedule: Schedule, task: Row, span: Span, now: datetime, window: timedelta
) -> list[datetime]:
    """The due occurrences that catching up leaves, oldest first; policies may still refuse them."""
    back = LATE if task["catch_up"] == CatchUp.NONE else max(window, LATE)
    latest = [span.last]
    if task["catch_up"] == CatchUp.ALL and span.count > 1:
        most = task["catch_up_max"] or CATCH_UP_MOST
        latest = last_occurrences(schedule, span.first, span.last, most)
    return [at for at in latest if now - at <= back]


def _refusal(task: Row, late: timedelta, now: datetime) -> Reason | None:
    """The policy that refuses every run of this clock now."""
    if task["expires_at"] is not None and task["expires_at"] <= now and late > LATE:
        return Reason.EXPIRED
    if task["bot_id"] is None:
        return Reason.NO_BOT
    return Reason.BUDGET if task["budget_spent"] else None


def spawns_of(task: Row, trigger: Trigger, runs: Sequence[datetime | None]) -> tuple[Spawn, ...] | None:
    """The runs, in the places that the overlap policy gives them; None when it leaves no place.

    Several, of a catch-up, always find one: they wait for one another.
    """
    policy, alone = task["overlap"], task["conversation_mode"] == ConversationMode.NEW
    full = {Overlap.SKIP: _busy(task), Overlap.QUEUE: task["waits"]}
    if len(runs) == 1 and full.get(policy):
        return None
    behind = _busy(task) and policy != Overlap.CANCEL_PREVIOUS
    spawns = []
    for at in runs:
        waiting = behind and policy != Overlap.ALLOW
        opens = alone or (behind and policy == Overlap.ALLOW)
        delay = offset(task["id"], at, task["jitter"]) if at else timedelta(0)
        spawns.append(Spawn(task["id"], trigger, at, delay, waiting or not opens, opens))
        behind = True
    return tuple(spawns)


def _busy(task: Row) -> bool:
    return bool(task["busy"] or task["waits"] or task["session_busy"])


def _before(schedule: Schedule, span: Span, runs: Sequence[datetime]) -> Span | None:
    """The occurrences before the first that may run; None when there are none."""
    if not runs:
        return span
    if runs[0] <= span.first:
        return None
    return due_through(schedule, span.first, runs[0] - TICK)
