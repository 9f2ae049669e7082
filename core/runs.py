"""Runs as their owners see them: find, list, cancel, and the timeline."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, TextClause, select, text
from sqlalchemy.orm import Session

from core.context import Context, account_of, news_after_commit
from core.errors import Conflict, InvalidInput, Unavailable
from core.rows import MetaFilter, OneOrMore, own, own_ids, page
from core.work import close_steps
from models import OPEN, Run, RunState, RunStep, Task

# The epoch rises with every change of hands, so whoever still works on the run finds out at its next beat.
CANCEL = (
    "UPDATE runs SET state = 'cancelled', error_class = 'cancelled', error_code = NULL, epoch = epoch + 1,"
    " lease_until = NULL, finished_at = now(), request = NULL, reason = :reason"
    " WHERE {which} AND state IN ('waiting', 'pending', 'running')"
    " RETURNING id, account_id, conversation_id"
)
CANCEL_ONE = text(CANCEL.format(which="id = :id"))
CANCEL_OF_TASK = text(CANCEL.format(which="task_id = :id"))
CANCEL_LIVE_OF_TASK = text(CANCEL.format(which="task_id = :id AND trigger <> 'backfill'"))
CANCEL_OF_BACKFILL = text(CANCEL.format(which="backfill_id = :id"))
CANCEL_OF_CONVERSATION = text(CANCEL.format(which="conversation_id = :id"))
CANCEL_OF_CONVERSATIONS = text(CANCEL.format(which="conversation_id = ANY(CAST(:ids AS uuid[]))"))
# A settling worker takes the conversation first: the other way round is a deadlock.
LOCK_CONVERSATIONS_OF_TASK = text(
    "SELECT c.id FROM conversations c WHERE c.id IN (SELECT r.conversation_id FROM runs r"
    " WHERE r.task_id = :id AND r.state IN ('pending', 'running')) ORDER BY c.id FOR UPDATE"
)
POLL = 0.1
LATEST = text(
    "SELECT r.* FROM unnest(CAST(:ids AS uuid[])) AS asked (id) CROSS JOIN LATERAL (SELECT * FROM runs"
    " WHERE task_id = asked.id AND account_id = :account AND state NOT IN ('skipped', 'missed')"
    " ORDER BY id DESC LIMIT 1) AS r"
)


def get_run(session: Session, run_id: uuid.UUID | str) -> tuple[Run, list[RunStep]]:
    """The run and its timeline, oldest step first."""
    run = own(session, Run, run_id)
    steps = select(RunStep).where(RunStep.run_id == run.id).order_by(RunStep.started_at, RunStep.step)
    return run, list(session.scalars(steps))


def list_runs(
    session: Session,
    *,
    task_id: OneOrMore | None = None,
    states: Sequence[str] = (),
    backfill_id: uuid.UUID | None = None,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Run]:
    """The account's runs, newest first or `ascending`; of some tasks, in some states, of a backfill."""
    unknown = set(states) - set(RunState)
    if unknown:
        raise InvalidInput(f"A run's state is one of {', '.join(RunState)}.")
    where: list[ColumnElement[bool]] = [Run.state.in_(states)] if states else []
    if backfill_id is not None:
        where.append(Run.backfill_id == backfill_id)
    if task_id is not None:
        where.append(Run.task_id.in_(own_ids(session, Task, task_id)))
    return page(session, Run, *where, take=take, before=before, ascending=ascending, meta=meta)


def latest_runs(session: Session, task_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Run]:
    """The newest run of each of these tasks, in one query; skipped and missed occurrences did not run."""
    if not task_ids:
        return {}
    values = {"ids": list(task_ids), "account": account_of(session)}
    found = session.scalars(select(Run).from_statement(LATEST), values)
    return {run.task_id: run for run in found if run.task_id}


def cancel_run(session: Session, run_id: uuid.UUID | str) -> Run:
    """Ends a run that waits or works; nothing of it is stored from here on. A second time changes nothing.

    Raises:
        Conflict: the run has ended otherwise.

    """
    run = own(session, Run, run_id)
    _cancel(session, CANCEL_ONE, run.id)
    session.refresh(run)
    if run.state != RunState.CANCELLED:
        raise Conflict(f"The run has {run.state} already.")
    return run


def cancel_runs_of(session: Session, task_id: uuid.UUID) -> None:
    _cancel(session, CANCEL_OF_TASK, task_id)


def cancel_runs_of_backfill(session: Session, backfill_id: uuid.UUID) -> None:
    _cancel(session, CANCEL_OF_BACKFILL, backfill_id)


def cancel_turns_of(session: Session, conversation_id: uuid.UUID) -> None:
    _cancel(session, CANCEL_OF_CONVERSATION, conversation_id)


def cancel_turns_of_all(session: Session, conversation_ids: Sequence[uuid.UUID]) -> None:
    """The same of many conversations, which are locked."""
    values = {"ids": list(conversation_ids), "reason": None}
    _cancelled(session, session.execute(CANCEL_OF_CONVERSATIONS, values).all())


def cancel_live_runs_of(session: Session, task_id: uuid.UUID) -> None:
    """Ends what is under way of a task and what waits behind it; its backfills go on."""
    _cancel(session, CANCEL_LIVE_OF_TASK, task_id)


def supersede_runs_of(session: Session, task_id: uuid.UUID) -> None:
    """Ends what is under way of a task for the run that comes next (overlap policy `cancel_previous`)."""
    session.execute(LOCK_CONVERSATIONS_OF_TASK, {"id": task_id})
    _cancel(session, CANCEL_LIVE_OF_TASK, task_id, reason="superseded")


def _cancel(session: Session, statement: TextClause, row_id: uuid.UUID, *, reason: str | None = None) -> None:
    _cancelled(session, session.execute(statement, {"id": row_id, "reason": reason}).all())


def _cancelled(session: Session, rows: Sequence[Row[Any]]) -> None:
    close_steps(session, [row.id for row in rows], "cancelled")
    for row in rows:
        if row.conversation_id is not None:
            news_after_commit(session, row.account_id, row.conversation_id)


def wait_for_run(context: Context, account: uuid.UUID, run_id: uuid.UUID, patience: timedelta) -> Run:
    """Waits until a run has ended, by looking at its row.

    Raises:
        Unavailable: it had not ended in time; it goes on and can be looked up later.

    """
    end = time.monotonic() + patience.total_seconds()
    while True:
        with context.transaction(account) as session:
            run = own(session, Run, run_id)
        if run.state not in OPEN:
            return run
        if time.monotonic() >= end:
            raise Unavailable(f"Run {run_id} is still {run.state}; is a worker running?")
        time.sleep(POLL)


def names_of_tasks(session: Session, task_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str | None]:
    """The names of the account's tasks with these ids; None for a deleted one."""
    mine = select(Task.id, Task.name).where(Task.account_id == account_of(session), Task.id.in_(task_ids))
    return {row.id: row.name for row in session.execute(mine)}
