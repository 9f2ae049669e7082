"""Advance: a backfill is a clock that runs through the past; a scheduler's turn moves it on.

One short transaction a backfill: look how many of its runs are unfinished, make the next ones, move the
cursor and the counter. Committed together or not at all, so a kill loses no occurrence, and UNIQUE
(backfill_id, scheduled_for) lets none be made twice. Any number of schedulers may: SKIP LOCKED parts them.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import structlog
from sqlalchemy import RowMapping, func, select, text
from sqlalchemy.orm import Session

from core.backfills import end, prompt_params
from core.context import Context
from core.errors import Unavailable
from core.firing import insert_spawned
from core.past import COVERED, looked_up, read_past
from core.planning import Prompt, Spawn
from core.prompts import protected_prompt
from core.usage import count_spawned
from models import DUE_STATES, ErrorClass, Job, JobState, Task, Trigger

log = structlog.get_logger()

BATCH = 50
# Live clocks wait for no more than this in a turn.
PATIENCE = 0.1
# How many instants are looked at in one transaction, and by one query.
STRIDE, CHUNK = 500, 50
LOOK_AGAIN = timedelta(seconds=0.25)
GIVE_WAY = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
# How often one looks again whose task has spent its budget: for the next day, or a higher budget.
ANOTHER_DAY = timedelta(seconds=30)

# The one longest due of every account before the second of any.
DUE = text(
    "SELECT id, task_id FROM (SELECT j.id, j.task_id, j.run_at,"
    "  row_number() OVER (PARTITION BY j.account_id ORDER BY j.run_at) AS place FROM jobs j"
    "  WHERE j.kind = 'backfill' AND j.state IN ('pending', 'running') AND j.run_at <= now()) AS due"
    " ORDER BY place, run_at LIMIT :batch"
)
# Somebody who fires or edits the task is passed by; the backfill comes up again in the next turn.
TAKE_CLOCK = text("SELECT 1 FROM task_clocks WHERE task_id = :task FOR UPDATE SKIP LOCKED")
# A live run of the account that has waited for seconds goes first: within an account the queue is in the
# order in which runs came, so what a backfill adds would stand before the live runs that follow.
SITUATION = text(
    "SELECT now() AS now, t.bot_id IS NULL AS no_bot, a.closed_at IS NOT NULL AS closed,"
    " (SELECT count(*) FROM runs r WHERE r.backfill_id = :id"
    "  AND r.state IN ('waiting', 'pending', 'running')) AS under_way,"
    " (SELECT true FROM runs r WHERE r.queue = 'chat' AND r.state = 'pending' AND r.account_id = a.id"
    "  AND r.run_at < now() - interval '2 seconds' AND r.trigger <> 'backfill' LIMIT 1) IS TRUE AS crowded,"
    " (SELECT u.input_tokens + u.output_tokens >= t.max_tokens_per_day OR u.cost >= t.max_cost_per_day"
    "  FROM task_usage_days u WHERE u.task_id = t.id AND u.day = current_date) IS TRUE AS budget_spent"
    " FROM tasks t JOIN accounts a ON a.id = t.account_id WHERE t.id = :task"
)
# Oldest first: its latest instants are those of its latest runs.
LATEST = text("SELECT created_at FROM runs WHERE backfill_id = :id ORDER BY scheduled_for DESC LIMIT :most")


@dataclass(frozen=True)
class _Room:
    """How many runs may begin now, and when to look again if they are too few."""

    runs: int
    again_at: datetime


def advance_backfills(context: Context) -> int:
    """Advances the backfills whose time has come, fairly between accounts; answers how many it took up."""
    with context.transaction() as session:
        due = session.execute(DUE, {"batch": BATCH}).all()
    stop_at = time.monotonic() + PATIENCE
    taken = 0
    for row in due:
        if taken and time.monotonic() >= stop_at:
            break
        try:
            taken += _advance_one(context, row.id, row.task_id)
        except Unavailable as error:
            log.warning("backfill_not_advanced", job=str(row.id), error=type(error).__name__)
            break
    return taken


def _advance_one(context: Context, job_id: uuid.UUID, task_id: uuid.UUID) -> bool:
    try:
        with context.transaction() as session:
            return advance(session, job_id, task_id)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 (one bad row must not stop the clocks)
        log.error("backfill_broke", job=str(job_id), error=type(error).__name__)
    _give_up(context, job_id, task_id)
    return True


def _give_up(context: Context, job_id: uuid.UUID, task_id: uuid.UUID) -> None:
    try:
        with context.transaction() as session:
            job = _take(session, job_id, task_id)
            if job is not None:
                end(session, job, JobState.FAILED, ErrorClass.INTERNAL_ERROR)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 (as above; the doctor finds one that stands still)
        log.error("backfill_not_ended", job=str(job_id), error=type(error).__name__)


def advance(session: Session, job_id: uuid.UUID, task_id: uuid.UUID) -> bool:
    """Makes the next runs of a backfill, or ends it; False when it is not due, or in somebody's hands."""
    job = _take(session, job_id, task_id)
    if job is None:
        return False
    now = session.execute(SITUATION, {"id": job.id, "task": task_id}).mappings().one()
    if now["closed"]:
        end(session, job, JobState.CANCELLED)
    elif now["no_bot"]:
        end(session, job, JobState.FAILED, ErrorClass.NO_BOT)
    else:
        _go_on(session, job, now)
    return True


def _take(session: Session, job_id: uuid.UUID, task_id: uuid.UUID) -> Job | None:
    if session.execute(TAKE_CLOCK, {"task": task_id}).one_or_none() is None:
        return None
    due = select(Job).where(Job.id == job_id, Job.state.in_(DUE_STATES), Job.run_at <= func.now())
    return session.scalars(due.with_for_update(skip_locked=True)).one_or_none()


def _go_on(session: Session, job: Job, now: RowMapping) -> None:
    job.state, job.started_at = JobState.RUNNING, job.started_at or now["now"]
    room = _room(session, job, now)
    made = _walk(session, job, room.runs) if room.runs else 0
    after = datetime.fromisoformat(job.cursor) if job.cursor else None
    at_the_end = next(read_past(job.params).instants(after), None) is None
    if at_the_end and not made and not now["under_way"]:
        end(session, job)
        return
    if at_the_end:
        job.run_at = now["now"] + LOOK_AGAIN
    else:
        # Where room is left the stride was too short: the next turn goes on at once.
        job.run_at = (
            now["now"] if made < room.runs else room.again_at if not made else now["now"] + LOOK_AGAIN
        )
    session.flush()


def _room(session: Session, job: Job, now: RowMapping) -> _Room:
    instant: datetime = now["now"]
    if now["crowded"]:
        return _Room(0, instant + GIVE_WAY)
    if now["budget_spent"]:
        return _Room(0, instant + ANOTHER_DAY)
    room = int(job.params.get("at_once", 1)) - now["under_way"]
    if room <= 0:
        return _Room(0, instant + LOOK_AGAIN)
    pace = job.params.get("pace")
    if pace is not None:
        latest = session.scalars(LATEST, {"id": job.id, "most": pace}).all()
        begun = [at for at in latest if at > instant - MINUTE]
        if len(begun) >= pace:
            return _Room(0, min(begun) + MINUTE)
        room = min(room, pace - len(begun))
    return _Room(room, instant + LOOK_AGAIN)


def _prompt(session: Session, job: Job) -> Prompt | None:
    """What its runs say instead of their task's words, under the policies of today."""
    if "prompt" not in job.params:
        return None
    kept = Prompt(job.params["prompt"], job.params.get("shield"))
    prompt = protected_prompt(session, session.get_one(Task, job.task_id), kept)
    if prompt != kept:
        job.params = job.params | prompt_params(prompt)
    return prompt


def _walk(session: Session, job: Job, room: int) -> int:
    """Deals with the next instants until the room is used up or the stride done; answers how many runs."""
    assert job.task_id is not None  # noqa: S101 (its clock was taken)
    everything, prompt = job.params.get("everything", False), _prompt(session, job)
    after = datetime.fromisoformat(job.cursor) if job.cursor else None
    instants = read_past(job.params).instants(after)
    spawns: list[Spawn] = []
    for _ in range(0, STRIDE, CHUNK):
        chunk = list(islice(instants, CHUNK))
        for at, state, own in looked_up(session, job.task_id, chunk, job.id):
            if len(spawns) == room:
                break
            after = at
            if own:
                continue  # Made already: nothing is made twice, wherever the cursor stands.
            if state in COVERED and not everything:
                job.skipped += 1
            else:
                spawns.append(Spawn(job.task_id, Trigger.BACKFILL, at, prompt=prompt, backfill_id=job.id))
        if len(spawns) == room or len(chunk) < CHUNK:
            break
    if spawns:
        insert_spawned(session, spawns)
        count_spawned(session, spawns)
    job.cursor = after.isoformat() if after else None
    return len(spawns)
