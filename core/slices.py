"""How workers carry jobs out: one takes a job for a slice of some seconds and gives it back at its cursor.

A slice is made of short batches. Each is one transaction that does its work, moves the cursor and the
counters and renews the lease, guarded by the epoch. So a worker that is killed loses and doubles nothing;
another goes on once the lease has run out. What a batch does is its kind's own craft.
"""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Event

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.context import Context, publish_after_commit
from core.errors import Unavailable
from core.job_states import HINT, QUEUE
from core.publisher import Hint
from models import SLICED, Account, ErrorClass, Job, JobKind, JobState

log = structlog.get_logger()

TURN = 5.0  # seconds of a slice: whoever shares the worker, such as annotations, waits no longer
CRASHES = 20  # leases in a row that ran out without a batch
BROKEN = 3  # batches in a row that broke
FAILURES = 5  # times in a row that the database was too busy
PATIENCE = 2.0  # seconds that a pause may take with the job in hand

CLAIM = text(
    "UPDATE jobs SET state = 'running', started_at = COALESCE(started_at, now()), epoch = epoch + 1,"
    "  attempt = attempt + 1, crashes = crashes + (lease_until IS NOT NULL)::int, lease_until = lease.end,"
    "  run_at = lease.end FROM (SELECT clock_timestamp() + CAST(:lease AS interval) AS end) AS lease"
    " WHERE id = :id AND kind = ANY(:kinds) AND state IN ('pending', 'running') AND run_at <= now()"
    " RETURNING id, kind, account_id, epoch, crashes, params ->> 'actor' AS actor"
)
RENEW = text(
    "UPDATE jobs SET lease_until = lease.end, run_at = lease.end, crashes = 0"
    " FROM (SELECT clock_timestamp() + CAST(:lease AS interval) AS end) AS lease WHERE id = :id"
)
KEEP = text(
    "UPDATE jobs SET lease_until = lease.end, run_at = lease.end"
    " FROM (SELECT clock_timestamp() + CAST(:lease AS interval) AS end) AS lease"
    " WHERE id = :id AND epoch = :epoch AND state = 'running' RETURNING id"
)
GIVE_BACK = text(
    "UPDATE jobs SET lease_until = NULL, crashes = 0, run_at = now() + CAST(:delay AS interval),"
    " hints = hints + :hinted, hinted_at = CASE WHEN :hinted = 1 THEN now() END"
    " WHERE id = :id AND epoch = :epoch AND state = 'running' RETURNING hints"
)
# The one longest due of every account before the second of any.
DUE = (
    "SELECT id FROM (SELECT j.id, j.run_at, row_number() OVER (PARTITION BY j.account_id ORDER BY j.run_at)"
    "  AS place FROM jobs j WHERE j.kind = ANY(:kinds) AND j.state IN ('pending', 'running')"
    "  AND j.run_at <= now() - CAST(:overdue AS interval)"
    "  AND (j.hinted_at IS NULL OR j.hinted_at < now() - CAST(:rest AS interval))) AS due"
    " ORDER BY place, run_at LIMIT :room"
)
UNSERVED = text(DUE)
TAKE_HINTS = text(
    f"UPDATE jobs j SET hinted_at = now(), hints = j.hints + 1 FROM ({DUE}) AS due"  # noqa: S608 (constants)
    " WHERE j.id = due.id AND (j.hinted_at IS NULL OR j.hinted_at < now() - CAST(:rest AS interval))"
    " RETURNING j.id, j.hints"
)
KINDS = [kind.value for kind in SLICED]


@dataclass(frozen=True)
class Step:
    """What came of a batch: the word that ends the slice, or how long until the next."""

    ended: str | None = None
    wait: timedelta = timedelta(0)
    worked: bool = True


class Lost(Exception):
    """The job is in other hands, or has ended: whoever held it stops."""


class Craft(ABC):
    """What a kind of job does with a job in hand."""

    turn = TURN  # seconds of a slice

    def __init__(self, hold: Hold) -> None:
        self._hold = hold

    @abstractmethod
    def step(self) -> Step:
        """The next batch."""

    @abstractmethod
    def end(self, session: Session, job: Job, state: JobState, error_class: str | None = None) -> None:
        """Ends the locked job as its kind ends: what it kept meanwhile goes."""

    def judge(self, seconds: float | None) -> float:  # noqa: ARG002 (for kinds that must be waited for)
        """Told how long a batch took, None: the database was too busy. Answers for how long to rest."""
        return 0.0

    def close(self) -> None:  # noqa: B027 (most kinds have nothing open between batches)
        """Lets go of what is open."""


@dataclass(frozen=True)
class Hold:
    """A job in our hands: valid while its epoch is the row's."""

    context: Context
    id: uuid.UUID
    kind: JobKind
    account_id: uuid.UUID
    epoch: int
    crashes: int
    actor: str | None

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with self.context.transaction(self.account_id, actor=self.actor) as session:
            yield session

    def batch(self, craft: Craft, work: Callable[[Session, Job], Step]) -> Step:
        """Work in one transaction, with the job locked and the lease renewed by it.

        Nothing is done where it is ours no more (`lost`); a closed account's job ends (`cancelled`).
        """
        with self.transaction() as session:
            job = self.take(session)
            if job is None:
                return Step("lost")
            if session.get_one(Account, job.account_id).closed_at is not None:
                craft.end(session, job, JobState.CANCELLED)
                return Step("cancelled")
            step = work(session, job)
            if step.ended is None and step.worked:
                session.flush()
                session.execute(RENEW, {"id": job.id, "lease": self.context.settings.lease})
            return step

    def renew(self) -> None:
        """Keeps the job between two batches that are long in coming.

        Raises:
            Lost.

        """
        with self.transaction() as session:
            values = {"id": self.id, "epoch": self.epoch, "lease": self.context.settings.lease}
            if session.execute(KEEP, values).one_or_none() is None:
                raise Lost

    def take(self, session: Session) -> Job | None:
        """The job, locked, while it is ours: whoever pauses, resumes or ends it raises the epoch."""
        mine = (Job.id == self.id, Job.epoch == self.epoch, Job.state == JobState.RUNNING)
        return session.scalars(select(Job).where(*mine).with_for_update()).one_or_none()


def claim(context: Context, job_id: uuid.UUID) -> Hold | None:
    """Takes a job that is due; None when there is none to take."""
    with context.transaction() as session:
        values = {"id": job_id, "lease": context.settings.lease, "kinds": KINDS}
        row = session.execute(CLAIM, values).mappings().one_or_none()
    return None if row is None else Hold(context, **{**row, "kind": JobKind(row["kind"])})


def work_on(hold: Hold, craft: Craft, stopping: Event) -> str:
    """Carries a job on for a slice; the words are those of `carry_on`."""
    try:
        return _Slice(hold, craft, stopping).run()
    finally:
        craft.close()


def hint_jobs(context: Context) -> int:
    """Publishes hints for due jobs, fairly between accounts, as many as the queue has room for."""
    waiting = context.publisher.waiting(QUEUE)
    if waiting is None or waiting >= context.settings.high_water:
        return 0
    room = context.settings.high_water - waiting
    values = {"room": room, "overdue": timedelta(0), "rest": context.settings.rehint_after, "kinds": KINDS}
    with context.transaction() as session:
        rows = session.execute(TAKE_HINTS, values).all()
    if rows:
        context.publisher.publish([Hint(row.id, HINT, QUEUE, row.hints) for row in rows])
    return len(rows)


def unserved_jobs(context: Context, overdue: timedelta, room: int) -> list[uuid.UUID]:
    """Due jobs that nobody has claimed for `overdue`; for the poll worker."""
    values = {"room": room, "overdue": overdue, "rest": timedelta(0), "kinds": KINDS}
    with context.transaction() as session:
        return list(session.scalars(UNSERVED, values))


class _Slice:
    """One worker's turn on a job."""

    def __init__(self, hold: Hold, craft: Craft, stopping: Event) -> None:
        self._hold, self._craft, self._stopping = hold, craft, stopping
        self._failures = 0  # in a row

    def run(self) -> str:
        end_at = time.monotonic() + self._craft.turn
        if self._hold.crashes > CRASHES:
            return self._fail(ErrorClass.POISON)
        while True:
            step = self._step()
            if step.ended is not None:
                return step.ended
            pause = step.wait.total_seconds()
            if pause > PATIENCE:
                return self._give_back("paced", step.wait)
            if self._stopping.is_set() or time.monotonic() + pause >= end_at:
                return self._give_back("sliced")
            if pause:
                self._stopping.wait(pause)

    def _step(self) -> Step:
        """A batch; one that failed is waited for and tried again, some times."""
        began = time.monotonic()
        try:
            step = self._craft.step()
        except Lost:
            return Step("lost")
        except Unavailable:
            self._failures += 1
            if self._failures > FAILURES:
                raise
            self._craft.judge(None)
            return Step(wait=timedelta(seconds=0.2 * self._failures))
        except Exception as error:  # noqa: BLE001 (no traceback: it holds rows)
            log.error("job_broke", job=str(self._hold.id), kind=self._hold.kind, error=type(error).__name__)
            self._failures += 1
            if self._failures >= BROKEN:
                return Step(self._fail(ErrorClass.INTERNAL_ERROR))
            return Step(wait=timedelta(seconds=0.2))
        self._failures = 0
        if not step.worked:
            return step
        rest = self._craft.judge(time.monotonic() - began)
        return replace(step, wait=max(step.wait, timedelta(seconds=rest)))

    def _give_back(self, word: str, delay: timedelta = timedelta(0)) -> str:
        hold = self._hold
        with hold.transaction() as session:
            given = {"id": hold.id, "epoch": hold.epoch, "delay": delay, "hinted": int(not delay)}
            row = session.execute(GIVE_BACK, given).one_or_none()
            if row is None:
                return "lost"
            if not delay:
                publish_after_commit(session, Hint(hold.id, HINT, QUEUE, row.hints))
        return word

    def _fail(self, error_class: ErrorClass) -> str:
        hold = self._hold
        with hold.transaction() as session:
            job = hold.take(session)
            if job is None:
                return "lost"
            self._craft.end(session, job, JobState.FAILED, error_class)
        log.error("job_failed", job=str(hold.id), kind=hold.kind, error=error_class.value)
        return "failed"
