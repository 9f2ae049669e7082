"""The occurrence ledger: every instant a task was due has a row, run or not, and nothing vanishes.

A clock that stops remembers from where on nothing is written (`rests_from`); whoever starts it again, or
ends it, writes that span as one row.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.planning import Unrun, unrun
from core.schedule import due_through, next_after, parse
from models import Reason, RunState, Task, TaskClock, Trigger, new_ids

INSERT_UNRUN = text(
    "INSERT INTO runs (id, account_id, task_id, trigger, action, scheduled_for, covers_from, covers_count,"
    " state, reason, finished_at)"
    " SELECT d.*, now() FROM unnest(CAST(:ids AS uuid[]), CAST(:account_ids AS uuid[]),"
    " CAST(:task_ids AS uuid[]), CAST(:triggers AS text[]), CAST(:actions AS text[]),"
    " CAST(:scheduled AS timestamptz[]), CAST(:covers_from AS timestamptz[]), CAST(:covers_count AS int[]),"
    " CAST(:states AS text[]), CAST(:reasons AS text[])) AS d"
)
RECORDED = text(
    "SELECT scheduled_for FROM runs WHERE task_id = :task AND scheduled_for BETWEEN :first AND :end"
    " AND trigger IN ('schedule', 'catch_up') ORDER BY scheduled_for DESC LIMIT 1"
)


def insert_unrun(session: Session, rows: Sequence[Unrun]) -> list[uuid.UUID]:
    """Writes occurrences that did not run, set-based; answers the rows' ids in order."""
    ids = new_ids(len(rows))
    session.execute(
        INSERT_UNRUN,
        {
            "ids": ids,
            "account_ids": [r.account_id for r in rows],
            "task_ids": [r.task_id for r in rows],
            "triggers": [r.trigger.value for r in rows],
            "actions": [r.action.value for r in rows],
            "scheduled": [r.scheduled_for for r in rows],
            "covers_from": [r.covers_from for r in rows],
            "covers_count": [r.covers_count for r in rows],
            "states": [r.state.value for r in rows],
            "reasons": [r.reason.value for r in rows],
        },
    )
    return ids


def rest(clock: TaskClock) -> None:
    """Stops a clock; what is due from here on is unwritten."""
    if clock.next_run_at is not None:
        clock.rests_from, clock.next_run_at = clock.next_run_at, None


def account_for(session: Session, task: Task, clock: TaskClock, now: datetime, reason: Reason) -> None:
    """Writes what a stopped or a late clock left unwritten through `now`, as one row, and empties the clock.

    The clock must be locked, and the task's schedule must still be the one the clock was set by.
    """
    first, end = clock.rests_from or clock.next_run_at, now
    clock.next_run_at = clock.rests_from = None
    if task.expires_at is not None:
        end = min(now, task.expires_at - timedelta(microseconds=1))
    if first is None or first > end or task.schedule is None:
        return
    schedule = parse(task.schedule, task.timezone)
    values = {"task": task.id, "first": first, "end": end}
    written = session.execute(RECORDED, values).scalar_one_or_none()
    if written is not None:
        following = next_after(schedule, written)
        if following is None or following > end:
            return
        first = following
    span = due_through(schedule, first, end)
    definition = {"id": task.id, "account_id": task.account_id, "action": task.action}
    insert_unrun(session, [unrun(definition, Trigger.SCHEDULE, span, RunState.SKIPPED, reason)])


def next_run(task: Task, now: datetime) -> datetime | None:
    """The first occurrence after `now`, not before the start date and not once the task has expired.

    An interval is counted from the start date, where one lies ahead: that is its first occurrence.
    """
    if task.schedule is None:
        return None
    schedule, found = parse(task.schedule, task.timezone), task.starts_at
    if found is None or found <= now:
        found = next_after(schedule, now)
    elif schedule.interval is None:
        found = next_after(schedule, found - timedelta(microseconds=1))
    return None if found is None or (task.expires_at is not None and found >= task.expires_at) else found
