"""The past instants of a schedule, and what the ledger says of each: what a backfill goes by."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.errors import InvalidInput
from core.rows import database_now
from core.schedule import Form, next_after, parse
from models import OPEN, RunState, Task, TaskClock

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
# A run that has succeeded, or may still: nothing is missing at its instant.
COVERED = frozenset({RunState.SUCCEEDED, *OPEN})

LATEST_DUE = text(
    "SELECT max(scheduled_for) FROM runs WHERE task_id = :task AND trigger IN ('schedule', 'catch_up')"
)
# The first row at or after an instant is the row of that instant, or covers it as part of a span.
LEDGER = text(
    "SELECT d.at, live.state AS live, filled.state AS filled,"
    " EXISTS (SELECT FROM runs r WHERE r.backfill_id = CAST(:backfill AS uuid) AND r.scheduled_for = d.at)"
    "  AS own"
    " FROM unnest(CAST(:instants AS timestamptz[])) AS d (at)"
    " LEFT JOIN LATERAL (SELECT r.state, COALESCE(r.covers_from, r.scheduled_for) AS since FROM runs r"
    "  WHERE r.task_id = :task AND r.trigger IN ('schedule', 'catch_up') AND r.scheduled_for >= d.at"
    "  ORDER BY r.scheduled_for LIMIT 1) AS live ON live.since <= d.at"
    " LEFT JOIN LATERAL (SELECT r.state FROM runs r WHERE r.task_id = :task AND r.trigger = 'backfill'"
    "  AND r.scheduled_for = d.at ORDER BY r.state = 'succeeded' DESC, r.id DESC LIMIT 1) AS filled ON true"
    " ORDER BY d.at"
)


@dataclass(frozen=True)
class Past:
    """The occurrences of a schedule from `since` on and before `until`.

    The schedule is the one the task had when it was asked. Intervals lie on the grid through `anchor`.
    """

    schedule: str
    timezone: str | None
    anchor: datetime
    since: datetime
    until: datetime

    def instants(self, after: datetime | None = None) -> Iterator[datetime]:
        """The instants in order, oldest first; after `after`, which is one of them, where it is given."""
        schedule = parse(self.schedule, self.timezone)
        before = self.since - TICK if after is None else after
        at: datetime | None
        if schedule.interval is not None and after is None:
            at = self.anchor - (self.anchor - self.since) // schedule.interval * schedule.interval
        else:
            at = next_after(schedule, before)
        while at is not None and at < self.until:
            yield at
            at = next_after(schedule, at)

    def params(self) -> dict[str, Any]:
        """What `read_past` reads again."""
        instants = {name: getattr(self, name).isoformat() for name in ("anchor", "since", "until")}
        return {"schedule": self.schedule, "timezone": self.timezone, **instants}


def read_past(params: Mapping[str, Any]) -> Past:
    """The past that `Past.params` wrote down."""
    instants = {name: datetime.fromisoformat(params[name]) for name in ("anchor", "since", "until")}
    return Past(params["schedule"], params["timezone"], **instants)


def past_of(
    session: Session, task: Task, clock: TaskClock, *, since: datetime | str, until: datetime | str
) -> Past:
    """A stretch of a task's past; texts are read in the task's zone, as a schedule's date is.

    An interval's grid is the one its clock stands on, or stood on last.

    Raises:
        InvalidInput: the task has no schedule, or the range is empty, unreadable or not in the past.

    """
    if task.schedule is None or parse(task.schedule, task.timezone).form is Form.NEVER:
        raise InvalidInput("The task has no schedule, so it has no past occurrences.")
    start = _instant(since, task.timezone, "The beginning")
    end = _instant(until, task.timezone, "The end")
    if start >= end:
        raise InvalidInput("The range ends before it begins.")
    if end > database_now(session):
        raise InvalidInput("The range must lie in the past.")
    if start < EARLIEST:
        raise InvalidInput("The range must not begin before 1970.")
    anchor = clock.next_run_at or clock.rests_from
    anchor = anchor or session.execute(LATEST_DUE, {"task": task.id}).scalar_one() or task.created_at
    return Past(task.schedule, task.timezone, anchor.astimezone(UTC), start, end)


def looked_up(
    session: Session, task_id: uuid.UUID, instants: Sequence[datetime], backfill_id: uuid.UUID | None = None
) -> list[tuple[datetime, str | None, bool]]:
    """Each instant with the state of its row, if it has one, and whether this backfill has made a run for it.

    Of several rows the one that succeeded counts, then that of the schedule.
    """
    values = {"task": task_id, "instants": list(instants), "backfill": backfill_id}
    found = []
    for row in session.execute(LEDGER, values):
        states = [row.live, row.filled]
        covered = next((state for state in states if state in COVERED), None)
        found.append((row.at, covered or row.live or row.filled, row.own))
    return found


def _instant(value: datetime | str, timezone: str | None, label: str) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidInput(f"{label} of the range needs an offset from UTC.")
        return value.astimezone(UTC)
    try:
        moment = parse(value, timezone).moment
    except InvalidInput:
        moment = None
    if moment is None:
        raise InvalidInput(f"{label} of the range must be a date or a date-time, such as 2026-11-20T09:00.")
    return moment
