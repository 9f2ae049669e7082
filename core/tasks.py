"""Tasks: what to say, to which bot, and when; every edit takes the task's clock first."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, exists, select
from sqlalchemy.orm import Session

from core.backfills import cancel_backfills_of
from core.bots import find_bot
from core.context import account_of, hint_after_commit, settings_of
from core.deliveries import forget_task
from core.erasures import note_erasure
from core.errors import Conflict, InvalidInput, NotFound
from core.firing import DEFINITIONS, insert_spawned
from core.holds import refuse_held_thing
from core.ledger import account_for, next_run, rest
from core.meta import checked_meta, merged_meta
from core.naming import page_named
from core.planning import Prompt, Spawn, spawns_of
from core.policies import CHECKS, checked_instant, checked_policies
from core.prompts import protect_task, protected_prompt
from core.rows import MetaFilter, OneOrMore, checked_text, database_now, own, own_ids
from core.runs import cancel_live_runs_of, cancel_runs_of, supersede_runs_of
from core.schedule import check_future, check_minimum, next_after, parse, preview
from core.usage import count_spawned
from core.waiting import promote_of
from models import (
    MAX_TEXT_BYTES,
    OPEN,
    Action,
    Bot,
    Contact,
    ErasureKind,
    Overlap,
    Reason,
    Run,
    RunState,
    Task,
    TaskClock,
    TaskState,
    Trigger,
    new_id,
)

FIELDS = frozenset(
    {"name", "description", "bot_id", "contact_id", "schedule", "timezone", "action", "meta", *CHECKS}
)
# What its prompt's privacy follows from.
PROTECTED = frozenset({"name", "description", "bot_id", "contact_id", "meta"})
# What sets the clock anew.
TIMING = frozenset({"schedule", "timezone", "starts_at", "expires_at"})


def create_task(session: Session, **fields: Any) -> Task:
    """A new task and its clock. Fields: see FIELDS; `bot_id` may be a bot's name, null is the default bot.

    Raises:
        InvalidInput: any field that cannot work, in a sentence; nothing is stored.
        NotFound, NotAuthorized: the bot or the contact.

    """
    values = {"action": Action.COMPLETE.value, "bot_id": None, **fields}
    values["bot_id"] = find_bot(session, values["bot_id"]).id
    values["contact_id"] = _contact(session, values.get("contact_id"))
    values["meta"] = checked_meta(values.get("meta"))
    task = Task(id=new_id(), account_id=account_of(session), **_checked(values))
    _refuse_silence(task)
    next_run_at = _first_run(session, task)
    protect_task(session, task)
    session.add(task)
    session.flush()
    session.add(TaskClock(task_id=task.id, account_id=task.account_id, next_run_at=next_run_at))
    session.flush()
    session.refresh(task)
    return task


def update_task(session: Session, task_id: uuid.UUID | str, **fields: Any) -> Task:
    """Changes the given fields only. The clock is computed anew iff one of TIMING is among them.

    What was due by the old definition and has not been fired is written into the ledger, not run.

    Raises:
        InvalidInput: as `create_task`. NotFound, NotAuthorized.

    """
    task, clock = _locked(session, task_id)
    retimed = bool(TIMING & fields.keys())
    paused = task.state == TaskState.PAUSED
    if retimed:
        if paused:
            clock.next_run_at = None
        reason = Reason.PAUSED if paused else Reason.RESCHEDULED
        account_for(session, task, clock, database_now(session), reason)
    if "bot_id" in fields:
        fields["bot_id"] = find_bot(session, fields["bot_id"]).id
    if "contact_id" in fields:
        fields["contact_id"] = _contact(session, fields["contact_id"])
    if "meta" in fields:
        fields["meta"] = merged_meta(task.meta, fields["meta"])
    with session.no_autoflush:  # nothing is written before it was looked at
        for name, value in _checked(fields).items():
            setattr(task, name, value)
        _refuse_silence(task)
        if PROTECTED & fields.keys():
            protect_task(session, task, said="description" in fields)
    if retimed:
        clock.next_run_at = _first_run(session, task)
        if paused:
            rest(clock)
            clock.next_run_at = task.paused_until
    _touch(session, task)
    return task


def pause_task(
    session: Session, task_id: uuid.UUID | str, reason: str = "user", *, until: datetime | None = None
) -> Task:
    """Stops the clock, for good or `until` an instant; runs already there go on. The last pause counts.

    Raises:
        InvalidInput: `until` is not in the future.

    """
    until = checked_instant("The end of a pause", until)
    task, clock = _locked(session, task_id)
    if until is not None and until <= database_now(session):
        raise InvalidInput("A pause ends in the future.")
    if task.state == TaskState.ACTIVE:
        task.state, task.pause_reason = TaskState.PAUSED, reason
        rest(clock)
    task.paused_until = until
    clock.next_run_at = until
    _touch(session, task)
    return task


def resume_task(session: Session, task_id: uuid.UUID | str) -> Task:
    """Starts the clock from now; what fell into the pause does not run, and is one row of the ledger."""
    task, clock = _locked(session, task_id)
    if task.state == TaskState.PAUSED:
        clock.next_run_at = None
        account_for(session, task, clock, database_now(session), Reason.PAUSED)
        task.state, task.pause_reason, task.consecutive_failures = TaskState.ACTIVE, None, 0
        task.paused_until, clock.fire_errors = None, 0
        clock.next_run_at = next_run(task, database_now(session))
    _touch(session, task)
    return task


def delete_task(session: Session, task_id: uuid.UUID | str) -> uuid.UUID:
    """Blanks the task for good. Its backfills and runs in flight are cancelled, its conversations stay.

    Its subscriptions go, with what was still to be told.

    Raises:
        NotFound, NotAuthorized. Conflict: a legal hold is on it.

    """
    refuse_held_thing(session, own(session, Task, task_id))
    task, clock = _locked(session, task_id)
    cancel_backfills_of(session, task.id)
    cancel_runs_of(session, task.id)
    paused = task.state == TaskState.PAUSED
    if paused:
        clock.next_run_at = None
    reason = Reason.PAUSED if paused else Reason.DELETED
    account_for(session, task, clock, database_now(session), reason)
    task.state, task.pause_reason, task.paused_until = TaskState.DELETED, None, None
    task.name = task.description = task.schedule = task.timezone = task.bot_id = task.contact_id = None
    task.meta, task.assertions, task.shield = {}, {}, None
    session.delete(clock)
    _touch(session, task)
    forget_task(session, task.id)
    note_erasure(session, ErasureKind.TASK, task.id)
    return task.id


def trigger_task(session: Session, task_id: uuid.UUID | str, prompt: str | None = None) -> Run:
    """Starts a run now, whatever the schedule says; the schedule does not change.

    While a run is under way the overlap policy rules: `queue` lets this one wait behind it. A `prompt` is
    said in this run's conversation instead of the task's; the task never learns of it.

    Raises:
        InvalidInput: the prompt, as a description.
        Conflict: the overlap policy leaves no place for it, the day's budget is spent, or there is no bot.

    """
    prompt = checked_text(prompt, "The prompt", longest=MAX_TEXT_BYTES)
    task, clock = _locked(session, task_id)
    definition = session.execute(DEFINITIONS, {"ids": [task.id], "dues": [None]}).mappings().one()
    spawn = _manual(definition)
    if prompt is not None:
        spawn = replace(spawn, prompt=protected_prompt(session, task, Prompt(prompt)))
    if prompt is not None and spawn.waiting:
        raise Conflict("A prompt of its own needs a run that begins at once, in a conversation of its own.")
    if task.overlap == Overlap.CANCEL_PREVIOUS:
        supersede_runs_of(session, task.id)
    run_id = insert_spawned(session, [spawn])[0]
    if not spawn.opens:
        promote_of(session, [task.id])
    clock.last_run_at = database_now(session)
    session.flush()
    run = own(session, Run, run_id)
    if run.state == RunState.PENDING:
        hint_after_commit(session, run_id, task.action)
    count_spawned(session, [spawn])
    return own(session, Run, run_id)


def _manual(definition: RowMapping) -> Spawn:
    """A run on request, in the place that the overlap policy gives it."""
    if definition["bot_id"] is None:
        raise Conflict("The task has no bot.")
    if definition["budget_spent"]:
        raise Conflict("The task has spent its budget of the day.")
    spawns = spawns_of(definition, Trigger.MANUAL, [None])
    if spawns is None:
        raise Conflict("A run of this task is under way.")
    return spawns[0]


def cancel_task(session: Session, task_id: uuid.UUID | str) -> uuid.UUID:
    """Ends the task's runs that wait or work, if there are any; the schedule and its backfills go on."""
    task, _ = _locked(session, task_id)
    cancel_live_runs_of(session, task.id)
    return task.id


def get_task(session: Session, task_id: uuid.UUID | str) -> tuple[Task, TaskClock]:
    """The task and its clock.

    Raises:
        NotFound, NotAuthorized. A deleted task is not found.

    """
    task = own(session, Task, task_id)
    clock = session.get(TaskClock, task.id)
    if task.state == TaskState.DELETED or clock is None:
        raise NotFound("There is no such task.")
    return task, clock


def list_tasks(
    session: Session,
    *,
    bot_id: OneOrMore | None = None,
    contact_id: OneOrMore | None = None,
    running: bool | None = None,
    named: str | None = None,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[tuple[Task, TaskClock]]:
    """The account's tasks with their clocks, newest first or `ascending`.

    Of some bots or contacts where asked; `running`: those with a run under way, or those without;
    `named`: those with this in their names.
    """
    where = [Task.state != TaskState.DELETED]
    if bot_id is not None:
        where.append(Task.bot_id.in_(own_ids(session, Bot, bot_id)))
    if contact_id is not None:
        where.append(Task.contact_id.in_(own_ids(session, Contact, contact_id)))
    if running is not None:
        under_way = exists().where(Run.task_id == Task.id, Run.state.in_(OPEN))
        where.append(under_way if running else ~under_way)
    tasks = page_named(session, Task, named, *where, take=take, before=before, ascending=ascending, meta=meta)
    query = select(TaskClock).where(TaskClock.task_id.in_([task.id for task in tasks]))
    clocks = {clock.task_id: clock for clock in session.scalars(query)}
    return [(task, clocks[task.id]) for task in tasks if task.id in clocks]


def tasks_by_id(session: Session, task_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Task]:
    """The account's tasks among these, deleted ones as the tombstones they are."""
    query = select(Task).where(Task.account_id == account_of(session), Task.id.in_(list(task_ids)))
    return {task.id: task for task in session.scalars(query)}


def preview_task(session: Session, task_id: uuid.UUID | str, count: int) -> list[datetime]:
    """The next instants of a task, UTC, until it expires; a paused task's as if it were resumed now."""
    if not 1 <= count <= 1000:
        raise InvalidInput("A preview shows 1 to 1000 instants.")
    task, clock = get_task(session, task_id)
    first = clock.next_run_at
    if first is None or task.state == TaskState.PAUSED:
        first = next_run(task, database_now(session))
    if task.schedule is None or first is None:
        return []
    instants = [first, *preview(parse(task.schedule, task.timezone), first, count - 1)]
    return [at for at in instants if task.expires_at is None or at < task.expires_at]


def _locked(session: Session, task_id: uuid.UUID | str) -> tuple[Task, TaskClock]:
    """The task under its firing lock: from here to the commit it cannot fire."""
    task = own(session, Task, task_id)
    clock = session.get(TaskClock, task.id, with_for_update=True, populate_existing=True)
    session.refresh(task)
    if clock is None or task.state == TaskState.DELETED:
        raise NotFound("There is no such task.")
    return task, clock


def _touch(session: Session, task: Task) -> None:
    task.updated_at = database_now(session)
    session.flush()


def _contact(session: Session, contact_id: uuid.UUID | str | None) -> uuid.UUID | None:
    return None if contact_id is None else own(session, Contact, contact_id).id


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = fields.keys() - FIELDS
    if unknown:
        raise InvalidInput(f"A task has no field {min(unknown)}.")
    checked = dict(fields)
    for name, label, longest in (
        ("name", "The name", 1000),
        ("description", "The description", MAX_TEXT_BYTES),
    ):
        if name in fields:
            checked[name] = checked_text(fields[name], label, longest=longest)
    for name in ("schedule", "timezone"):
        if name in fields:
            checked[name] = fields[name] or None
    if "action" in fields and fields["action"] not in list(Action):
        raise InvalidInput(f"The action must be one of {', '.join(Action)}.")
    return checked | checked_policies(fields)


def _refuse_silence(task: Task) -> None:
    if not (task.description or task.name):
        raise InvalidInput("A task needs a description (the prompt) or at least a name.")


def _first_run(session: Session, task: Task) -> datetime | None:
    """The first instant of a schedule that is being saved.

    Raises:
        InvalidInput: the zone or the schedule is unknown, can never fire, or fires too often; or the task
            expires before it starts, or before it is due at all.

    """
    now = database_now(session)
    if task.starts_at and task.expires_at and task.starts_at >= task.expires_at:
        raise InvalidInput("A task starts before it expires.")
    if task.schedule is None:
        parse("never", task.timezone)
        return None
    schedule = parse(task.schedule, task.timezone)
    check_future(schedule, now)
    check_minimum(schedule, settings_of(session).minimum_interval)
    first = next_run(task, now)
    if first is None and next_after(schedule, now) is not None:
        raise InvalidInput("The task expires before it is due for the first time.")
    return first
