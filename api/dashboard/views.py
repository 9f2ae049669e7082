"""What the pages show of a row: words and times, computed before a template sees them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from models import OPEN, Message, PiiState, Run, RunStep, Task, TaskState

TRIGGERS = {
    "schedule": "on schedule",
    "catch_up": "caught up",
    "manual": "by hand",
    "backfill": "backfilled",
    "api": "asked for",
}
SPEAKERS = {"user": "User", "bot": "Bot", "instruction": "Instruction"}


@dataclass(frozen=True)
class Instant:
    """A time for people, in the task's zone where it has one, and in UTC for machines and for comparing."""

    iso: str
    local: str
    zone: str
    utc: str


@dataclass(frozen=True)
class RunView:
    id: str
    title: str
    task_id: str | None
    deleted: bool
    state: str
    open: bool
    trigger: str
    schedule: str | None
    when: Instant
    scheduled: bool
    created: Instant
    started: Instant | None
    finished: Instant | None
    waited: str | None
    duration: str | None
    cost: str | None
    error: str | None
    error_code: str | None
    covers: int | None
    summary: str | None
    conversation_id: str | None
    attempt: int
    crashes: int
    worker: str | None
    model: str | None
    model_calls: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class StepView:
    step: str
    outcome: str
    started: Instant
    duration: str | None
    worker: str | None
    model: str | None
    note: str | None
    tokens: str | None
    flower: str | None


@dataclass(frozen=True)
class MessageView:
    type: str
    speaker: str
    name: str | None
    text: str
    at: Instant


def run_view(run: Run, task: Task | None) -> RunView:
    zone = task.timezone if task else None
    return RunView(
        id=str(run.id),
        title=task_title(task),
        task_id=str(run.task_id) if run.task_id else None,
        deleted=task is not None and task.state == TaskState.DELETED,
        state=run.state,
        open=run.state in OPEN,
        trigger=TRIGGERS.get(run.trigger, run.trigger),
        schedule=task.schedule if task else None,
        when=instant(run.scheduled_for or run.created_at, zone),
        scheduled=run.scheduled_for is not None,
        created=instant(run.created_at, zone),
        started=instant(run.started_at, zone) if run.started_at else None,
        finished=instant(run.finished_at, zone) if run.finished_at else None,
        waited=duration(run.scheduled_for or run.created_at, run.started_at),
        duration=duration(run.started_at, run.finished_at),
        cost=money(run.cost),
        error=run.error_class or run.reason,
        error_code=run.error_code,
        covers=run.covers_count,
        summary=run.summary,
        conversation_id=str(run.conversation_id) if run.conversation_id else None,
        attempt=run.attempt,
        crashes=run.crashes,
        worker=run.worker,
        model=run.model,
        model_calls=run.model_calls,
        input_tokens=run.input_tokens,
        output_tokens=run.output_tokens,
    )


def task_title(task: Task | None) -> str:
    if task is None:
        return "Turn in a conversation"
    if task.state == TaskState.DELETED:
        return "Deleted task"
    return task.name or (task.description or "")[:80]


def step_view(step: RunStep, flower: str | None) -> StepView:
    tokens = None
    if step.input_tokens is not None or step.output_tokens is not None:
        tokens = f"{step.input_tokens or 0} in, {step.output_tokens or 0} out"
    return StepView(
        step=step.step,
        outcome=step.outcome or "under way",
        started=instant(step.started_at, None),
        duration=duration(step.started_at, step.finished_at),
        worker=step.worker,
        model=step.model,
        note=step.error_code or step.finish_reason,
        tokens=tokens,
        flower=flower_link(flower, step.delivery_id),
    )


def message_view(message: Message) -> MessageView:
    """A message as it is stored; without words where nobody may see them before it was annotated."""
    blocked = message.pii_state == PiiState.BLOCKED
    return MessageView(
        type=message.type,
        speaker=SPEAKERS.get(message.type, message.type.capitalize()),
        name=None if blocked else message.name,
        text="" if blocked else message.text,
        at=instant(message.created_at, None),
    )


def instant(at: datetime, zone: str | None) -> Instant:
    """A zone that is unknown here, or none, is UTC."""
    try:
        there = at.astimezone(ZoneInfo(zone or "UTC"))
    except (ZoneInfoNotFoundError, ValueError):
        zone, there = None, at.astimezone(UTC)
    here = at.astimezone(UTC)
    return Instant(
        iso=here.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        local=f"{there:%a} {there.day} {there:%b %Y, %H:%M:%S}",
        zone=zone or "UTC",
        utc=f"{here:%Y-%m-%d %H:%M:%S} UTC",
    )


def duration(begin: datetime | None, end: datetime | None) -> str | None:
    """`320 ms`, `4.2 s`, `3 min 5 s`, `2 h 3 min`."""
    if begin is None or end is None:
        return None
    took = max(end - begin, timedelta(0))
    seconds = took.total_seconds()
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def flower_link(flower: str | None, delivery: str | None) -> str | None:
    """Where Flower shows the delivery that carried this out."""
    return f"{flower.rstrip('/')}/task/{quote(delivery, safe='')}" if flower and delivery else None


def money(millionths: int) -> str | None:
    """An amount in the operator's currency; nothing is said of nothing."""
    return f"{millionths / 1_000_000:.4f}" if millionths else None
