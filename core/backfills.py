"""Backfills: a task's past occurrences, run oldest first, a few at a time; asked for, watched and ended here.

A backfill is a row with a cursor, advanced by whichever scheduler comes by (core/advancing.py). Every verb
takes the task's clock before the job, so that neither the definition nor the job changes under it.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import Conflict, InvalidInput, NotFound
from core.past import COVERED, Past, looked_up, past_of
from core.planning import Prompt
from core.prompts import protected_prompt
from core.rows import MetaFilter, OneOrMore, checked_text, database_now, own, own_ids, page
from core.runs import cancel_runs_of_backfill
from models import (
    MAX_TEXT_BYTES,
    UNFINISHED,
    Job,
    JobKind,
    JobState,
    Run,
    RunState,
    Task,
    TaskClock,
    TaskState,
)

MOST = 10_000
MOST_AT_ONCE = 100
MOST_A_MINUTE = 10_000
MOST_UNFINISHED = 100
SAMPLE = 20
# What a job keeps of a prompt of its own, for as long as it goes on.
PROMPT = frozenset({"prompt", "shield"})

LOCK_CLOCK = text("SELECT 1 FROM task_clocks WHERE task_id = :task FOR UPDATE")
COUNTS = text(
    "SELECT j.id, extract(epoch FROM now() - j.started_at)::float8 AS seconds,"
    " c.* FROM jobs j CROSS JOIN LATERAL (SELECT"
    "  count(*) FILTER (WHERE r.state = 'succeeded') AS done,"
    "  count(*) FILTER (WHERE r.state IN ('failed', 'cancelled')) AS failed,"
    "  count(*) FILTER (WHERE r.state IN ('waiting', 'pending', 'running')) AS under_way"
    "  FROM runs r WHERE r.backfill_id = j.id) AS c WHERE j.id = ANY(CAST(:ids AS uuid[]))"
)
SPENT = text(
    "SELECT count(*) AS runs, COALESCE(avg(input_tokens + output_tokens), 0)::float8 AS tokens,"
    " COALESCE(avg(cost), 0)::float8 AS cost FROM (SELECT * FROM runs WHERE task_id = :task"
    " AND state = 'succeeded' ORDER BY id DESC LIMIT :sample) AS latest"
)


@dataclass(frozen=True)
class Plan:
    """What a backfill comes to as things stand; `states` are those of the ledger's rows in the range.

    `tokens` and `cost` are estimates from the task's latest `sample` successes; without any they are 0.
    """

    past: Past
    total: int
    to_run: int
    first: datetime
    last: datetime
    states: dict[str, int]
    tokens: int
    cost: int
    sample: int


@dataclass(frozen=True)
class Progress:
    """How far a backfill is: exact, counted from its runs. `seconds` since it began, or that it took."""

    done: int
    failed: int
    under_way: int
    seconds: float | None


def plan_backfill(
    session: Session,
    task_id: uuid.UUID | str,
    since: datetime | str,
    until: datetime | str,
    *,
    everything: bool = False,
) -> Plan:
    """What a backfill of [since, until) would do; stores nothing. See `create_backfill`."""
    task, clock = _live(session, task_id)
    past = past_of(session, task, clock, since=since, until=until)
    return _planned(session, task, past, everything=everything)


def create_backfill(
    session: Session,
    task_id: uuid.UUID | str,
    since: datetime | str,
    until: datetime | str,
    *,
    everything: bool = False,
    at_once: int = 1,
    pace: int | None = None,
    prompt: str | None = None,
) -> tuple[Job, Plan]:
    """Runs the occurrences of the task's schedule in [since, until), which lies in the past, oldest first.

    Those that have succeeded or are under way are left out, unless `everything` is asked for. At most
    `at_once` runs are unfinished at a time and at most `pace` begin in a minute. Each speaks in a new
    conversation, and says `prompt` if it is given. The schedule itself goes on as if nothing were.

    Raises:
        InvalidInput: the range (see `past_of`), more than 10,000 occurrences or none, or a limit.
        Conflict: the task has no bot, or too many backfills are unfinished.
        NotFound, NotAuthorized.

    """
    _check_number(at_once, "At once", MOST_AT_ONCE)
    if pace is not None:
        _check_number(pace, "The pace a minute", MOST_A_MINUTE)
    prompt = checked_text(prompt, "The prompt", longest=MAX_TEXT_BYTES)
    plan = plan_backfill(session, task_id, since, until, everything=everything)
    task = _locked_task(session, task_id)
    if (task.schedule, task.timezone) != (plan.past.schedule, plan.past.timezone):
        raise Conflict("The schedule of the task was changed meanwhile; try again.")
    if task.bot_id is None:
        raise Conflict("The task has no bot.")
    _refuse_a_crowd(session)
    said = None if prompt is None else protected_prompt(session, task, Prompt(prompt))
    params = {"everything": everything, "at_once": at_once, "pace": pace, **prompt_params(said)}
    job = Job(
        account_id=task.account_id,
        kind=JobKind.BACKFILL,
        task_id=task.id,
        total=plan.total,
        params={**plan.past.params(), **{name: value for name, value in params.items() if value}},
    )
    session.add(job)
    session.flush()
    session.refresh(job)
    return job, plan


def get_backfill(session: Session, backfill_id: uuid.UUID | str) -> tuple[Job, Progress]:
    """The backfill and how far it is.

    Raises:
        NotFound, NotAuthorized.

    """
    job = own(session, Job, backfill_id)
    return job, progress_of(session, [job])[job.id]


def list_backfills(
    session: Session,
    *,
    task_id: OneOrMore | None = None,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[tuple[Job, Progress]]:
    """The account's backfills, newest first or `ascending`; of some tasks where asked."""
    where = [Job.kind == JobKind.BACKFILL]
    if task_id is not None:
        where.append(Job.task_id.in_(own_ids(session, Task, task_id)))
    jobs = page(session, Job, *where, take=take, before=before, ascending=ascending, meta=meta)
    progress = progress_of(session, jobs)
    return [(job, progress[job.id]) for job in jobs]


def pause_backfill(session: Session, backfill_id: uuid.UUID | str) -> Job:
    """Begins no further run; those under way go on. A second time changes nothing.

    Raises:
        Conflict: it has ended.

    """
    job = _locked_job(session, backfill_id)
    _refuse_ended(job)
    job.state = JobState.PAUSED
    session.flush()
    return job


def resume_backfill(session: Session, backfill_id: uuid.UUID | str) -> Job:
    """Goes on after the last occurrence dealt with.

    Raises:
        Conflict: it has ended.

    """
    job = _locked_job(session, backfill_id)
    _refuse_ended(job)
    if job.state == JobState.PAUSED:
        job.state = JobState.PENDING if job.started_at is None else JobState.RUNNING
        job.run_at = database_now(session)
    session.flush()
    return job


def cancel_backfill(session: Session, backfill_id: uuid.UUID | str) -> Job:
    """Ends it with its runs that wait or work. A second time changes nothing.

    Raises:
        Conflict: it has ended otherwise.

    """
    job = _locked_job(session, backfill_id)
    if job.state != JobState.CANCELLED:
        _refuse_ended(job)
        end(session, job, JobState.CANCELLED)
    return job


def cancel_backfills_of(session: Session, task_id: uuid.UUID) -> None:
    """Ends all backfills of a task that is going away. Its clock must be locked."""
    unfinished = select(Job).where(Job.task_id == task_id, Job.state.in_(UNFINISHED))
    for job in session.scalars(unfinished.order_by(Job.id).with_for_update()):
        end(session, job, JobState.CANCELLED)


def end(session: Session, job: Job, state: JobState | None = None, error_class: str | None = None) -> None:
    """Ends a locked job, with what is left of its runs; without a state it is completed.

    The counters are exact from here on. The prompt goes: it stands in the conversations it was said in.
    """
    if state is not None:
        cancel_runs_of_backfill(session, job.id)
    counted, now = progress_of(session, [job])[job.id], database_now(session)
    job.done, job.failed = counted.done, counted.failed
    if state is None:
        # What the schedule came to: the rules of its zone may have changed since it was asked.
        job.total = job.done + job.skipped + job.failed
        state = JobState.COMPLETED_WITH_ERRORS if job.failed else JobState.COMPLETED
    job.state, job.error_class, job.finished_at = state, error_class, now
    job.params = {name: value for name, value in job.params.items() if name not in PROMPT}
    session.flush()


def prompt_params(prompt: Prompt | None) -> dict[str, Any]:
    """A prompt of its own as a job keeps it."""
    return {} if prompt is None else {"prompt": prompt.words, "shield": prompt.shield}


def progress_of(session: Session, jobs: Sequence[Job]) -> dict[uuid.UUID, Progress]:
    """How far each of these backfills is; the runs of those that have ended are not counted again."""
    found = {job.id: _ended(job) for job in jobs if job.finished_at is not None}
    going = [job.id for job in jobs if job.finished_at is None]
    for row in session.execute(COUNTS, {"ids": going}) if going else ():
        found[row.id] = Progress(row.done, row.failed, row.under_way, row.seconds)
    return found


def failed_runs(session: Session, job: Job, most: int) -> list[Run]:
    """The first of a backfill's runs that failed or were cancelled, by the instants they stand for."""
    query = select(Run).where(
        Run.account_id == account_of(session),
        Run.backfill_id == job.id,
        Run.state.in_((RunState.FAILED, RunState.CANCELLED)),
    )
    return list(session.scalars(query.order_by(Run.scheduled_for).limit(most)))


def _ended(job: Job) -> Progress:
    took = job.finished_at - job.started_at if job.finished_at and job.started_at else None
    return Progress(job.done, job.failed, 0, took.total_seconds() if took is not None else None)


def _live(session: Session, task_id: uuid.UUID | str) -> tuple[Task, TaskClock]:
    task = own(session, Task, task_id)
    clock = session.get(TaskClock, task.id)
    if clock is None or task.state == TaskState.DELETED:
        raise NotFound("There is no such task.")
    return task, clock


def _locked_task(session: Session, task_id: uuid.UUID | str) -> Task:
    """The task under its clock's lock, taken only when all is planned: the clock goes on meanwhile."""
    task = own(session, Task, task_id)
    locked = session.execute(LOCK_CLOCK, {"task": task.id}).one_or_none()
    session.refresh(task)
    if locked is None or task.state == TaskState.DELETED:
        raise NotFound("There is no such task.")
    return task


def _locked_job(session: Session, backfill_id: uuid.UUID | str) -> Job:
    job = own(session, Job, backfill_id)
    session.execute(LOCK_CLOCK, {"task": job.task_id})
    session.refresh(job, with_for_update=True)
    return job


def _planned(session: Session, task: Task, past: Past, *, everything: bool) -> Plan:
    instants = list(islice(past.instants(), MOST + 1))
    if len(instants) > MOST:
        raise InvalidInput(f"The range holds more than {MOST} occurrences; choose a shorter one.")
    if not instants:
        raise InvalidInput("The schedule has no occurrence in this range.")
    states = Counter(state for _, state, _ in looked_up(session, task.id, instants) if state)
    covered = 0 if everything else sum(count for state, count in states.items() if state in COVERED)
    to_run = len(instants) - covered
    spent = session.execute(SPENT, {"task": task.id, "sample": SAMPLE}).one()
    tokens, cost = round(spent.tokens * to_run), round(spent.cost * to_run)
    first, last = instants[0], instants[-1]
    return Plan(past, len(instants), to_run, first, last, dict(states), tokens, cost, spent.runs)


def _refuse_a_crowd(session: Session) -> None:
    query = select(func.count()).where(Job.account_id == account_of(session), Job.state.in_(UNFINISHED))
    if session.execute(query).scalar_one() >= MOST_UNFINISHED:
        raise Conflict(f"{MOST_UNFINISHED} backfills are unfinished; cancel some or wait for them.")


def _refuse_ended(job: Job) -> None:
    if job.state not in UNFINISHED:
        raise Conflict(f"The backfill has ended already: {job.state}.")


def _check_number(value: Any, label: str, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidInput(f"{label} must be a whole number from 1 to {most}.")
