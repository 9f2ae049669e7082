"""What a task's runs do, as events of contract section 3.8: read from the timeline that runs keep anyway."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.rows import database_now

# A transaction's rows carry the time it began and are seen when it ends: each look reaches back over that.
REACH = timedelta(seconds=10)

STEPS = (
    "SELECT s.run_id, s.step, s.started_at, s.finished_at, s.outcome, s.error_code, r.error_class"
    " FROM run_steps s JOIN runs r ON r.id = s.run_id WHERE r.task_id = :task"
)
SINCE = text(
    STEPS + " AND (s.started_at >= :since OR s.finished_at >= :since) AND r.id >= :recent"
    " ORDER BY s.started_at LIMIT 1000"
)
LATEST = text(STEPS + " ORDER BY r.id DESC, s.started_at DESC LIMIT :most")


@dataclass(frozen=True)
class TaskEvent:
    """`key` names it within its task: an event is told once, however often it is read."""

    key: str
    kind: str
    at: datetime
    data: dict[str, Any]


def events_since(session: Session, task_id: uuid.UUID, since: datetime, recent: uuid.UUID) -> list[TaskEvent]:
    """The events from an instant on, oldest first, of runs from the id `recent` on."""
    values = {"task": task_id, "since": since, "recent": recent}
    return [e for e in _events(session.execute(SINCE, values).mappings()) if e.at >= since]


def latest_events(session: Session, task_id: uuid.UUID, most: int) -> list[TaskEvent]:
    """The last events, oldest first."""
    if not most:
        return []
    found = _events(session.execute(LATEST, {"task": task_id, "most": most}).mappings())
    return found[-most:]


def look_from(session: Session) -> datetime:
    """Where the next look begins."""
    return database_now(session) - REACH


def _events(steps: Any) -> list[TaskEvent]:
    return sorted((event for step in steps for event in _of(step)), key=lambda event: event.at)


def _of(step: Any) -> Sequence[TaskEvent]:
    key = f"{step['run_id']}.{step['step']}"
    kind = {"kind": "function"} if step["step"].startswith("call.") else {}
    data = {"id": key, "action": {"id": str(step["run_id"]), "name": step["step"], **kind}}
    events = [TaskEvent(f"{key}+", "operationBegin", step["started_at"], data)]
    if step["finished_at"] is not None:
        events.append(TaskEvent(f"{key}-", "operationEnd", step["finished_at"], data))
        if step["error_class"] is not None and step["step"].startswith("attempt."):
            said = {"code": step["error_class"], "message": f"The attempt ended: {step['outcome']}."}
            events.append(TaskEvent(f"{key}!", "error", step["finished_at"], said))
    return events
