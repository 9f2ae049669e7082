"""What the rows tell of a run while processes die around it, for the story in `cli/chaos.py`."""

from __future__ import annotations

import uuid
from datetime import timedelta

from cli.reach import Reach
from cli.runs import run_with_messages
from cli.show import Document
from models import OPEN, RunState

BACKSTORY = (
    "You are the keeper of a lighthouse. You keep the log and never miss a watch, whatever the weather."
)


def make_task(at: Reach, name: str, *, latency: int, due_in: timedelta | None = None) -> uuid.UUID:
    """A task whose model takes `latency` seconds, due once if at all."""
    from core.bots import create_bot
    from core.rows import database_now
    from core.tasks import create_task

    with at.transaction() as session:
        due = database_now(session) + due_in if due_in else None
        bot = create_bot(
            session, name=f"Keeper, {name}", backstory=BACKSTORY, model=f"offline/latency={latency}"
        )
        task = create_task(
            session,
            name=name,
            description="Write tonight's entry of the log.",
            bot_id=bot.id,
            schedule=due.strftime("%Y-%m-%dT%H:%M:%SZ") if due else None,
        )
        return task.id


def trigger(at: Reach, task: uuid.UUID) -> uuid.UUID:
    from core.tasks import trigger_task

    with at.transaction() as session:
        return trigger_task(session, task).id


def in_mid_call(at: Reach, run: uuid.UUID) -> Document | None:
    """The run while somebody waits for its model."""
    document = run_with_messages(at, str(run))
    calls = [step for step in document["steps"] if step["step"].startswith("model.")]
    waits = document["state"] == RunState.RUNNING and any("outcome" not in step for step in calls)
    return document if waits else None


def ended(at: Reach, run: uuid.UUID) -> Document | None:
    """The run with its timeline and its messages once it has ended."""
    document = run_with_messages(at, str(run))
    return None if document["state"] in OPEN else document


def lease_left(at: Reach, run: uuid.UUID, worker: str) -> float | None:
    """Seconds until this worker's lease of the run is over; None when it holds none any more."""
    from core.rows import database_now
    from core.runs import get_run

    with at.transaction() as session:
        row, _ = get_run(session, run)
        if row.lease_until is None or row.worker != worker:
            return None
        return (row.lease_until - database_now(session)).total_seconds()


def taken_from(at: Reach, run: uuid.UUID, worker: str) -> Document | None:
    """The run once another worker has it, or had it: a fast one may have ended it between two looks."""
    document = run_with_messages(at, str(run))
    return document if document.get("worker") != worker else None


def runs_of(at: Reach, task: uuid.UUID) -> list[uuid.UUID]:
    """Everything the task's schedule came to."""
    from core.runs import list_runs

    with at.transaction() as session:
        return [run.id for run in list_runs(session, task_id=task)]
