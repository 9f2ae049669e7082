"""What the pages show of tasks: schedules in words, outcomes as a strip, and what is due next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from api.dashboard.views import TRIGGERS, Instant, duration, instant, task_title
from core.errors import InvalidInput
from core.explain import Upcoming
from core.overviews import Outcome
from core.schedule import in_words, parse
from models import Run, Task, TaskClock


@dataclass(frozen=True)
class OutcomeView:
    id: str
    state: str
    words: str


@dataclass(frozen=True)
class TaskRow:
    id: str
    title: str
    summary: str | None
    state: str
    words: str
    zone: str
    next: Instant | None
    bot: str | None
    outcomes: tuple[OutcomeView, ...]
    rate: str | None


@dataclass(frozen=True)
class DueView:
    at: Instant
    change: str | None


@dataclass(frozen=True)
class HistoryRow:
    id: str
    state: str
    at: Instant
    trigger: str
    took: str | None
    words: str
    conversation_id: str | None


def row_view(task: Task, clock: TaskClock, outcomes: Sequence[Outcome], bot: str | None) -> TaskRow:
    return TaskRow(
        id=str(task.id),
        title=task_title(task),
        summary=task.description if task.name else None,
        state=task.state,
        words=schedule_words(task),
        zone=task.timezone or "UTC",
        next=instant(clock.next_run_at, task.timezone) if clock.next_run_at else None,
        bot=bot,
        outcomes=tuple(outcome_view(one, task.timezone) for one in outcomes),
        rate=rate_of(_success(outcomes)),
    )


def schedule_words(task: Task | str, zone: str | None = None) -> str:
    """A schedule in words; one that cannot be read any more, as after a change of zones, is itself."""
    words, zone = (task, zone) if isinstance(task, str) else (task.schedule, task.timezone)
    if not words:
        return "when it is started"
    try:
        return in_words(parse(words, zone or None))
    except InvalidInput:
        return words


def outcome_view(outcome: Outcome, zone: str | None) -> OutcomeView:
    at = instant(outcome.at, zone)
    why = f", {outcome.why}" if outcome.why else ""
    return OutcomeView(str(outcome.id), outcome.state, f"{outcome.state}{why}: {at.local} {at.zone}")


def _success(outcomes: Sequence[Outcome]) -> float | None:
    ended = [one.state == "succeeded" for one in outcomes if one.state in {"succeeded", "failed"}]
    return sum(ended) / len(ended) if ended else None


def rate_of(share: float | None) -> str | None:
    """Never rounded up to all of them."""
    return None if share is None else f"{int(share * 1000) / 10:g} %"


def upcoming_view(due: Upcoming, zone: str | None) -> DueView:
    return DueView(instant(due.at, zone), _change(due.change))


def _change(change: timedelta | None) -> str | None:
    if change is None:
        return None
    minutes = abs(round(change.total_seconds() / 60))
    length = f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
    return f"the clocks go {'forward' if change > timedelta(0) else 'back'} {length} before this"


def run_row(run: Run, zone: str | None, words: str) -> HistoryRow:
    return HistoryRow(
        id=str(run.id),
        state=run.state,
        at=instant(run.scheduled_for or run.created_at, zone),
        trigger=TRIGGERS.get(run.trigger, run.trigger),
        took=duration(run.started_at, run.finished_at),
        words=words,
        conversation_id=str(run.conversation_id) if run.conversation_id else None,
    )


def seconds(pair: tuple[float, float] | None) -> str | None:
    """A median and a 95th percentile."""
    return None if pair is None else f"{pair[0]:.1f} s, 95 % within {pair[1]:.1f} s"
