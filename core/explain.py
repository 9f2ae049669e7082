"""Questions about one task: why did it (not) run then, what came of its occurrences, when is it due next."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.policies import checked_instant
from core.rows import database_now
from core.schedule import Schedule, change_of_clocks, next_after, parse, preview
from core.tasks import get_task
from models import OPEN, Account, Reason, Run, RunState, Task, TaskClock, TaskState

MINUTE = timedelta(minutes=1)
BACK = timedelta(days=400)

# The ledger's rows over a stretch of time: those that lie in it, and the span that covers its end. Spans do
# not overlap, so that one is the first row that follows, if any is.
LEDGER = text(
    "WITH live AS NOT MATERIALIZED (SELECT * FROM runs WHERE task_id = :task"
    "  AND trigger IN ('schedule', 'catch_up')),"
    " within AS (SELECT * FROM live WHERE scheduled_for >= :start AND scheduled_for < :end"
    "  ORDER BY scheduled_for LIMIT 10),"
    " following AS (SELECT * FROM live WHERE scheduled_for >= :end ORDER BY scheduled_for LIMIT 1)"
    " SELECT * FROM within UNION ALL SELECT * FROM following WHERE covers_from < :end ORDER BY scheduled_for"
)
# A span is as many occurrences as it covers. Runs on request have no instant to be late for.
HISTORY = text(
    "WITH latest AS (SELECT * FROM runs WHERE task_id = :task AND trigger <> 'backfill'"
    "  ORDER BY id DESC LIMIT :take)"
    " SELECT count(*) FILTER (WHERE state = 'succeeded') AS succeeded,"
    " count(*) FILTER (WHERE state = 'failed') AS failed,"
    " count(*) FILTER (WHERE state = 'cancelled') AS cancelled,"
    " COALESCE(sum(COALESCE(covers_count, 1)) FILTER (WHERE state = 'skipped'), 0)::bigint AS skipped,"
    " COALESCE(sum(COALESCE(covers_count, 1)) FILTER (WHERE state = 'missed'), 0)::bigint AS missed,"
    " percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at))"
    "  FILTER (WHERE state IN ('succeeded', 'failed')) AS took,"
    " percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP"
    "  (ORDER BY extract(epoch FROM started_at - scheduled_for))"
    "  FILTER (WHERE started_at IS NOT NULL AND scheduled_for IS NOT NULL) AS late,"
    " COALESCE(sum(input_tokens + output_tokens), 0)::bigint AS tokens,"
    " COALESCE(sum(model_calls), 0)::bigint AS model_calls, COALESCE(sum(cost), 0)::bigint AS cost"
    " FROM latest"
)
REFUSED = {
    Reason.OVERLAP: "It was skipped: the run before it had not ended, and the overlap policy left no place.",
    Reason.NO_BOT: "It was skipped: the task had no bot.",
    Reason.BUDGET: "It was skipped: the task had spent its budget of the day.",
    Reason.PAUSED: "It was skipped: the task was paused.",
    Reason.EXPIRED: "It was skipped: the task had expired when a scheduler came to it.",
    Reason.ACCOUNT_CLOSED: "It was skipped: the account was closed.",
    Reason.RESCHEDULED: "It was skipped: the schedule was changed at that moment.",
    Reason.DELETED: "It was skipped: the task was deleted at that moment.",
    Reason.LATE: "It was missed: no scheduler ran then, and a later occurrence was the one to catch up with.",
    Reason.OUTSIDE_WINDOW: "It was missed: no scheduler ran then, and it was older than the catch-up window.",
    Reason.INTERNAL_ERROR: "It was missed: the program failed to fire it; the scheduler's log says more.",
}


@dataclass(frozen=True)
class Explanation:
    """Why a task did or did not run at an instant: a word for programs, sentences for people, its rows."""

    verdict: str
    sentences: tuple[str, ...]
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True)
class History:
    """What came of a task's latest occurrences and triggers, newest first. Times in seconds, money in
    millionths; `took` and `late` are (median, 95th percentile), None without a run.
    """

    runs: tuple[Run, ...]
    counts: dict[str, int]
    took: tuple[float, float] | None
    late: tuple[float, float] | None
    tokens: int
    model_calls: int
    cost: int

    @property
    def success_rate(self) -> float | None:
        """Of the runs that ended by themselves."""
        ended = self.counts["succeeded"] + self.counts["failed"]
        return self.counts["succeeded"] / ended if ended else None


@dataclass(frozen=True)
class Upcoming:
    """An instant a task will be due; `change` says when the clocks of its zone change before it."""

    at: datetime
    change: timedelta | None = None


def why(session: Session, task_id: uuid.UUID | str, at: datetime) -> Explanation:
    """Why the task ran, or did not, at an instant; a whole minute stands for all of its seconds.

    Raises:
        InvalidInput: the instant lies ages away. NotFound, NotAuthorized: the task.

    """
    task, clock = get_task(session, task_id)
    checked_instant("The time in question", at)
    end = at + (timedelta(seconds=1) if at.second or at.microsecond else MINUTE)
    values = {"task": task.id, "start": at, "end": end}
    rows = tuple(session.scalars(select(Run).from_statement(LEDGER), values))
    if rows:
        states = {row.state for row in rows}
        now = database_now(session)
        sentences = tuple(told_of(row, now) for row in rows)
        return Explanation(rows[0].state if len(states) == 1 else "several", sentences, rows)
    return _unwritten(session, task, clock, at, end)


def history(session: Session, task_id: uuid.UUID | str, take: int = 50) -> History:
    """What came of the task's last `take` rows, backfills left out.

    Raises:
        InvalidInput: `take` is not 1 to 1000. NotFound, NotAuthorized: the task.

    """
    if not 1 <= take <= 1000:
        raise InvalidInput("A history shows 1 to 1000 runs.")
    task, _ = get_task(session, task_id)
    row = session.execute(HISTORY, {"task": task.id, "take": take}).mappings().one()
    query = select(Run).where(
        Run.task_id == task.id, Run.account_id == account_of(session), Run.trigger != "backfill"
    )
    runs = tuple(session.scalars(query.order_by(Run.id.desc()).limit(take)))
    states = ("succeeded", "failed", "cancelled", "skipped", "missed")
    return History(
        runs=runs,
        counts={state: row[state] for state in states},
        took=_pair(row["took"]),
        late=_pair(row["late"]),
        tokens=row["tokens"],
        model_calls=row["model_calls"],
        cost=row["cost"],
    )


def upcoming(session: Session, instants: Sequence[datetime], zone: str | None) -> list[Upcoming]:
    """The instants, those marked before which the clocks of the zone change."""
    found, before = [], database_now(session)
    for at in instants:
        found.append(Upcoming(at, change_of_clocks(zone, before, at)))
        before = at
    return found


def _pair(values: Sequence[float | None] | None) -> tuple[float, float] | None:
    if not values or values[0] is None or values[1] is None:
        return None
    return float(values[0]), float(values[1])


def told_of(run: Run, now: datetime) -> str:
    """What came of one row, in a sentence without anything that was said."""
    if run.state in {RunState.SKIPPED, RunState.MISSED}:
        sentence = REFUSED.get(Reason(run.reason or Reason.INTERNAL_ERROR), "It did not run.")
        if run.covers_count and run.covers_count > 1:
            sentence += f" One row covers {run.covers_count} occurrences."
        return sentence
    if run.state == RunState.WAITING:
        return "It waits for the run before it to end."
    if run.state == RunState.PENDING and run.attempt == 0 and run.run_at > now:
        return f"It is due, and its jitter lets it begin in {(run.run_at - now).total_seconds():.1f} s."
    if run.state == RunState.PENDING:
        return "It is due and waits for a worker." if run.attempt == 0 else "It waits for its next attempt."
    late = f", {_late(run)} after its time" if run.started_at and run.scheduled_for else ""
    if run.state in OPEN:
        return f"It is running; it began{late or ' just now'}."
    ended = {RunState.SUCCEEDED: "succeeded", RunState.CANCELLED: "was cancelled"}
    how = ended.get(RunState(run.state), f"failed with the class {run.error_class}")
    return f"It ran{late}, and {how}{_attempts(run)}."


def _late(run: Run) -> str:
    assert run.started_at is not None and run.scheduled_for is not None  # noqa: PT018, S101 (asked before)
    return f"{max(0.0, (run.started_at - run.scheduled_for).total_seconds()):.1f} s"


def _attempts(run: Run) -> str:
    return f" at attempt {run.attempt}" if run.attempt > 1 else ""


def _unwritten(session: Session, task: Task, clock: TaskClock, at: datetime, end: datetime) -> Explanation:
    """Why an instant has no row."""
    now = database_now(session)
    if task.schedule is None:
        return Explanation("no_schedule", ("The task has no schedule: it runs when it is triggered.",))
    schedule = parse(task.schedule, task.timezone)
    due = next_after(schedule, at - timedelta(microseconds=1))
    if schedule.interval is not None:
        due = _on_grid(clock.rests_from or clock.next_run_at, schedule.interval, at)
    is_due = due is not None and due < end
    rests = clock.rests_from is not None and clock.rests_from < end
    for verdict, holds, sentence in _causes(session, task, rests, at, now):
        if holds:
            return Explanation(verdict, (sentence,))
    if not is_due:
        return Explanation("not_due", ("By its schedule it was not due then.", *_nearest(schedule, task, at)))
    if at > now:
        return Explanation("to_come", ("It will be due then.",))
    if clock.next_run_at is not None and clock.next_run_at < end:
        return Explanation("not_fired", ("It is due, and no scheduler has fired it: does one run?",))
    return Explanation(
        "not_scheduled", ("By its present schedule it would have been due; another was in force then.",)
    )


def _on_grid(anchor: datetime | None, interval: timedelta, at: datetime) -> datetime | None:
    """The first occurrence of an interval from `at` on; what lies before its clock has its rows."""
    if anchor is None or anchor >= at:
        return anchor
    return at + (anchor - at) % interval


def _causes(
    session: Session, task: Task, rests: bool, at: datetime, now: datetime
) -> list[tuple[str, bool, str]]:
    paused = task.state == TaskState.PAUSED
    closed = session.get_one(Account, task.account_id).closed_at
    ends = paused and (task.paused_until is None or at < task.paused_until)
    why_paused = f" ({task.pause_reason})" if task.pause_reason else ""
    return [
        ("not_made", at < task.created_at - MINUTE, "The task did not exist yet."),
        ("not_started", bool(task.starts_at and at < task.starts_at), "It was before the task's start date."),
        ("expired", bool(task.expires_at and at >= task.expires_at), "The task had expired by then."),
        ("account_closed", closed is not None and rests, "The account is closed; its clocks stand still."),
        ("paused", ends and (rests or at > now), f"The task is paused{why_paused}."),
    ]


def _nearest(schedule: Schedule, task: Task, at: datetime) -> tuple[str, ...]:
    """The occurrences around an instant, and whether the clocks changed there."""
    if schedule.interval is not None:
        return ("Its interval counts from the last occurrence.",)
    told = []
    start = at - MINUTE
    for back in (timedelta(hours=1), timedelta(days=1), timedelta(days=32), BACK):
        earlier = [one for one in preview(schedule, at - back, 800) if one < at]
        if earlier:
            told.append(f"Before it, it was due at {_local(earlier[-1], schedule)}.")
            break
    following = next_after(schedule, at)
    if following is not None:
        told.append(f"After it, it is due at {_local(following, schedule)}.")
    change = change_of_clocks(task.timezone, start - timedelta(hours=24), at + timedelta(hours=24))
    if change is not None:
        way = "forward" if change > timedelta(0) else "back"
        told.append(f"The clocks of its zone go {way} by {abs(change)} within a day of it.")
    return tuple(told)


def _local(at: datetime, schedule: Schedule) -> str:
    return at.astimezone(schedule.tz).strftime("%Y-%m-%d %H:%M:%S %Z")
