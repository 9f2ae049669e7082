"""The one mechanism: claim, heartbeat, release, retry, reap, hint. Rows decide, Celery wakes.

A pending row is the queue entry; a hint only wakes somebody. A claim raises the row's epoch and gives a
lease; the heartbeat renews it; whatever is written later is guarded by the epoch, so a worker that lost
its lease writes nothing. The machine is drawn in docs/architecture.md.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core.chat.provider import Deadline
from core.context import Context, news_after_commit
from core.database import make_engine
from core.deliveries import announce, announce_task
from core.errors import CrontalkError
from core.publisher import Hint
from models import Action, Event

log = structlog.get_logger()

CRASHES = 3
# A run that has lost two workers gets a process of its own for the third attempt (worker/alone.py): if it
# ends that one as well it was the run, and nobody who was in the same process is taken for it.
SUSPECT = CRASHES - 1
BATCH = 500
LOOK = 1.0  # seconds between two looks at what is held
# A run whose action a newer version of this program made is left for that version.
KNOWN = [action.value for action in Action]

CLAIM = text(
    "WITH claimed AS (UPDATE runs SET state = 'running', epoch = epoch + 1, attempt = attempt + 1,"  # noqa: S608
    "  lease_until = clock_timestamp() + CAST(:lease AS interval), started_at = COALESCE(started_at, now()),"
    "  worker = :worker, delivery_id = :delivery, error_class = NULL, error_code = NULL,"
    "  deadline_at = COALESCE(deadline_at, now() + COALESCE("
    "   (SELECT t.max_time_ms * interval '1 millisecond' FROM tasks t WHERE t.id = runs.task_id),"
    "   CAST(:run_time AS interval)))"
    "  WHERE id = :id AND state = 'pending' AND run_at <= now() AND action = ANY(:known)"
    f"  AND (crashes < {SUSPECT} OR CAST(:alone AS bool)) RETURNING *),"
    " step AS (INSERT INTO run_steps (run_id, step, account_id, epoch, worker, delivery_id)"
    "  SELECT id, 'attempt.' || epoch, account_id, epoch, worker, delivery_id FROM claimed)"
    " SELECT c.id, c.account_id, c.task_id, c.conversation_id, c.action, c.epoch, c.attempt, c.model_calls,"
    "  c.channel, c.params, c.request,"
    "  c.input_tokens + c.output_tokens AS tokens, c.cost, t.max_attempts, t.retry_delay, t.retry_on,"
    "  extract(epoch FROM c.deadline_at - clock_timestamp())::float8 AS seconds_left"
    " FROM claimed c LEFT JOIN tasks t ON t.id = c.task_id"
)
BEAT = text(
    "UPDATE runs r SET lease_until = clock_timestamp() + CAST(:lease AS interval)"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS int[])) AS held (id, epoch)"
    " WHERE r.id = held.id AND r.epoch = held.epoch AND r.state = 'running' RETURNING r.id, r.epoch"
)
# Which of the held runs changed hands: one look at the primary key for each.
GONE = text(
    "SELECT held.id, held.epoch FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS int[])) AS held (id, epoch)"
    " LEFT JOIN runs r ON r.id = held.id AND r.epoch = held.epoch AND r.state = 'running' WHERE r.id IS NULL"
)
# Given back unworked: the attempt does not count. Without a delay the row keeps its place in the queue.
RELEASE = text(
    "UPDATE runs r SET state = 'pending', lease_until = NULL, hinted_at = NULL, attempt = attempt - 1,"
    " run_at = CASE WHEN CAST(:delay AS interval) > interval '0'"
    "  THEN now() + CAST(:delay AS interval) ELSE run_at END"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS int[])) AS held (id, epoch)"
    " WHERE r.id = held.id AND r.epoch = held.epoch AND r.state = 'running' RETURNING r.id"
)
# run_at stays: recovered work is older than the backlog and goes before it. The third crash ends the run.
REAP = text(
    "WITH dead AS (SELECT id FROM runs WHERE state = 'running' AND lease_until < clock_timestamp()"
    "  ORDER BY lease_until LIMIT :batch FOR UPDATE SKIP LOCKED),"
    " reaped AS (UPDATE runs r SET crashes = crashes + 1, epoch = epoch + 1, lease_until = NULL,"
    "  hinted_at = NULL,"
    "  state = CASE WHEN crashes + 1 >= :crashes THEN 'failed' ELSE 'pending' END,"
    "  error_class = CASE WHEN crashes + 1 >= :crashes THEN 'poison' END,"
    "  finished_at = CASE WHEN crashes + 1 >= :crashes THEN now() END,"
    "  request = CASE WHEN crashes + 1 < :crashes THEN request END"
    "  FROM dead WHERE r.id = dead.id"
    "  RETURNING r.id, r.account_id, r.conversation_id, r.task_id, r.state, r.trigger),"
    " counted AS (UPDATE tasks t SET consecutive_failures = consecutive_failures + 1 FROM reaped"
    "  WHERE t.id = reaped.task_id AND reaped.state = 'failed' AND reaped.trigger <> 'backfill'"
    "  RETURNING t.id, t.consecutive_failures >= t.max_consecutive_failures AS tired)"
    " SELECT r.id, r.account_id, r.conversation_id, r.state, CASE WHEN c.tired THEN c.id END AS tired"
    " FROM reaped r LEFT JOIN counted c ON c.id = r.task_id"
)
# In the house's order of locks the clock comes before the task; a failing run's worker holds it already.
LOCK_CLOCKS = text("SELECT 1 FROM task_clocks WHERE task_id = ANY(CAST(:ids AS uuid[])) FOR UPDATE")
PAUSE = text(
    "WITH paused AS (UPDATE tasks SET state = 'paused', pause_reason = :reason, updated_at = now()"
    " WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'active' RETURNING id)"
    " UPDATE task_clocks c SET rests_from = COALESCE(c.next_run_at, c.rests_from), next_run_at = NULL"
    " FROM paused WHERE c.task_id = paused.id RETURNING c.task_id, now() AS at"
)
CLOSE_STEPS = text(
    "UPDATE run_steps SET finished_at = clock_timestamp(), outcome = :outcome"
    " WHERE run_id = ANY(CAST(:ids AS uuid[])) AND finished_at IS NULL"
)
# Fair between accounts: the oldest due row of every account before the second of any. The recursive part
# walks the index from account to account, so its cost follows the accounts that wait, not the rows.
DUE = (
    "WITH RECURSIVE waiting AS ("  # noqa: S608 (constants)
    " (SELECT account_id FROM runs WHERE queue = :queue AND state = 'pending' ORDER BY account_id LIMIT 1)"
    " UNION ALL SELECT (SELECT r.account_id FROM runs r WHERE r.queue = :queue AND r.state = 'pending'"
    "  AND r.account_id > w.account_id ORDER BY r.account_id LIMIT 1) FROM waiting w"
    "  WHERE w.account_id IS NOT NULL),"
    " fair AS (SELECT due.id, w.account_id, due.run_at, due.place FROM waiting w CROSS JOIN LATERAL ("
    "  SELECT r.id, r.run_at, row_number() OVER (ORDER BY r.run_at) AS place FROM runs r"
    "  WHERE r.queue = :queue AND r.state = 'pending' AND r.account_id = w.account_id"
    f"  AND r.action = ANY(:known) AND r.crashes < {SUSPECT}"
    "  AND r.run_at <= now() - CAST(:overdue AS interval)"
    "  AND (r.hinted_at IS NULL OR r.hinted_at < now() - CAST(:rest AS interval))"
    "  ORDER BY r.run_at LIMIT :room) due WHERE w.account_id IS NOT NULL"
    "  ORDER BY due.place, due.run_at LIMIT :room)"
)
# The few ids are looked up one by one. Before the planner knows of a backlog it would rather read all of what
# is pending, for every queue, every turn: an array and a state that no index answers leave it no choice.
TAKE_HINTS = text(
    DUE  # noqa: S608 (constants)
    + ", locked AS (SELECT id FROM runs WHERE id = ANY(ARRAY(SELECT id FROM fair))"
    "  AND state || '' = 'pending' AND (hinted_at IS NULL OR hinted_at < now() - CAST(:rest AS interval))"
    "  FOR UPDATE SKIP LOCKED),"
    " hinted AS (UPDATE runs r SET hinted_at = now(), hints = hints + 1 FROM locked WHERE r.id = locked.id"
    "  RETURNING r.id, r.action, r.hints)"
    " SELECT hinted.* FROM hinted JOIN fair ON fair.id = hinted.id ORDER BY fair.place, fair.run_at"
)
NEXT_SUSPECT = text(
    f"SELECT id FROM runs WHERE state = 'pending' AND crashes >= {SUSPECT} AND run_at <= now()"  # noqa: S608
    " AND action = ANY(:known) ORDER BY run_at LIMIT 1"
)
UNCLAIMED = text(DUE + " SELECT id, account_id FROM fair ORDER BY place, run_at")  # noqa: S608 (constants)


@dataclass(frozen=True)
class Claim:
    """A run in our hands: valid while its epoch is the row's.

    `tokens` and `cost` are what its attempts have used so far; `max_attempts`, `retry_delay` and `retry_on`
    are its task's retry policy, None where that is the installation's.
    `channel`, `params` and `request` say how a caller asked for it (models/runs.py).
    """

    id: uuid.UUID
    account_id: uuid.UUID
    task_id: uuid.UUID | None
    conversation_id: uuid.UUID | None
    action: str
    epoch: int
    attempt: int
    model_calls: int
    tokens: int
    cost: int
    max_attempts: int | None
    retry_delay: timedelta | None
    retry_on: list[str] | None
    deadline: Deadline
    channel: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    request: bytes | None = field(default=None, repr=False)

    @property
    def compacts(self) -> bool:
        """Whether it is to sum its conversation up instead of going on with it."""
        return bool(self.params.get("compacts"))


class LeaseLost(CrontalkError):
    """The run was cancelled, reaped or taken over; whatever was done for it is not to be stored."""


def claim(
    session: Session,
    run_id: uuid.UUID,
    *,
    lease: timedelta,
    run_time: timedelta,
    worker: str,
    delivery: str | None,
    alone: bool = False,
) -> Claim | None:
    """Takes a due pending run, or None: a hint that is late, doubled, forged or early finds nothing.

    A suspect is taken only by who has nothing else in its process (`alone`).
    """
    values = {
        "id": run_id,
        "known": KNOWN,
        "lease": lease,
        "run_time": run_time,
        "worker": worker,
        "delivery": delivery,
        "alone": alone,
    }
    row = session.execute(CLAIM, values).mappings().one_or_none()
    if row is None:
        return None
    fields = dict(row)
    return Claim(deadline=Deadline.after(timedelta(seconds=fields.pop("seconds_left"))), **fields)


@dataclass
class Lease:
    """One run's right to write. `trusted_until` is on the monotonic clock, counted from the start of the
    last good beat, so a worker whose beats fail stops by itself before anybody else may claim the run.
    """

    run_id: uuid.UUID
    epoch: int
    trusted_until: float
    lost: bool = False

    def check(self) -> None:
        """Raises LeaseLost when the run is not ours any more."""
        if self.lost or time.monotonic() >= self.trusted_until:
            raise LeaseLost("The lease was lost.")


@dataclass
class Leases:
    """All leases of a process, renewed by one thread on one connection every third of a lease.

    Between two beats the thread looks every second whether a held run was cancelled or taken over, so that a
    model that says nothing keeps no slot. NOTIFY would tell sooner, but its notices are lost with their
    connection, so the look would be needed all the same, and all notifying commits of a server wait for one
    lock. A look at 32 held runs costs a process under a millisecond.
    """

    context: Context
    _engine: Engine = field(init=False)
    _held: dict[tuple[uuid.UUID, int], Lease] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _given_back: bool = False
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        url = self.context.engine.url.render_as_string(hide_password=False)
        self._engine = make_engine(url, pool_size=1, name="heartbeat")
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    @contextmanager
    def hold(self, claimed: Claim, since: float) -> Iterator[Lease]:
        """Keeps a claim alive inside the block. `since`: the monotonic clock before the claim was made."""
        lease = Lease(claimed.id, claimed.epoch, since + self._trust())
        with self._lock:
            self._held[(lease.run_id, lease.epoch)] = lease
            too_late = self._given_back
        try:
            if too_late:
                self.release_all()
            yield lease
        finally:
            with self._lock:
                self._held.pop((lease.run_id, lease.epoch), None)

    def held(self) -> int:
        with self._lock:
            return len(self._held)

    def beat(self) -> None:
        """Renews every lease in one UPDATE; those the database does not know any more are lost."""
        started = time.monotonic()
        with self._lock:
            leases = dict(self._held)
        if not leases:
            return
        with self._engine.begin() as connection:
            rows = connection.execute(BEAT, {**_keys(leases), "lease": self.context.settings.lease})
            renewed = {(row.id, row.epoch) for row in rows}
        for key, lease in leases.items():
            if key in renewed:
                lease.trusted_until = started + self._trust()
            else:
                lease.lost = True

    def look(self) -> None:
        """Marks the leases whose runs were cancelled, reaped or taken over; changes no row."""
        with self._lock:
            leases = dict(self._held)
        if not leases:
            return
        with self._engine.connect() as connection:
            gone = connection.execution_options(isolation_level="AUTOCOMMIT").execute(GONE, _keys(leases))
            for row in gone:
                leases[(row.id, row.epoch)].lost = True

    def release_all(self) -> int:
        """Gives every held run back to the queue, for a process that must stop; answers how many.

        A run that is claimed meanwhile goes back as soon as it is held. When the database is away, the
        leases run out instead.
        """
        with self._lock:
            self._given_back = True
            leases = dict(self._held)
            for lease in leases.values():
                lease.lost = True
        if leases:
            values = {**_keys(leases), "delay": timedelta(0)}
            try:
                with self._engine.begin() as connection:
                    close_steps(connection, connection.scalars(RELEASE, values).all(), "released")
            except SQLAlchemyError as error:
                log.warning("not_given_back", error=type(error).__name__, held=len(leases))
        return len(leases)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._engine.dispose()

    def _trust(self) -> float:
        return self.context.settings.lease.total_seconds() * 0.9

    def _run(self) -> None:
        between = self.context.settings.lease.total_seconds() / 3
        beat_at = time.monotonic() + between
        while not self._stop.wait(min(LOOK, max(0.0, beat_at - time.monotonic()))):
            try:
                if time.monotonic() < beat_at:
                    self.look()
                    continue
                beat_at = time.monotonic() + min(LOOK, between)  # soon again if it fails
                self.beat()
                beat_at = time.monotonic() + between
            except SQLAlchemyError as error:
                log.warning("heartbeat_failed", error=type(error).__name__, held=self.held())


def postpone(session: Session, claimed: Claim, delay: timedelta, outcome: str) -> None:
    """Gives a claimed run back for later; the attempt does not count."""
    held = {"ids": [claimed.id], "epochs": [claimed.epoch]}
    close_steps(session, session.scalars(RELEASE, {**held, "delay": delay}).all(), outcome)


def _keys(leases: dict[tuple[uuid.UUID, int], Lease]) -> dict[str, list[object]]:
    return {"ids": [run_id for run_id, _ in leases], "epochs": [epoch for _, epoch in leases]}


def reap(context: Context) -> int:
    """Gives runs whose lease ran out back to the queue, or ends them at the third crash; answers how many."""
    with context.transaction() as session:
        reaped = session.execute(REAP, {"batch": BATCH, "crashes": CRASHES}).all()
        close_steps(session, [row.id for row in reaped], "lost")
        announce(session, Event.FAILURE, [row.id for row in reaped if row.state == "failed"])
        for row in reaped:
            if row.conversation_id is not None:
                news_after_commit(session, row.account_id, row.conversation_id)
    tired = sorted({row.tired for row in reaped if row.tired})
    if tired:
        with context.transaction() as session:
            session.execute(LOCK_CLOCKS, {"ids": tired})
            pause_tasks(session, tired, "failures")
    return len(reaped)


def pause_tasks(session: Session, task_ids: Sequence[uuid.UUID], reason: str) -> None:
    """Pauses tasks on the program's own account; their clocks must be locked."""
    for row in session.execute(PAUSE, {"ids": list(task_ids), "reason": reason}).all():
        announce_task(session, Event.PAUSED, row.task_id, row.at.isoformat())


def close_steps(session: Session | Connection, run_ids: Sequence[uuid.UUID], outcome: str) -> None:
    """Ends the open steps of runs that changed hands in this transaction.

    A statement of its own, by a newer snapshot: a step begun while the first one waited for the run's lock
    is ended as well.
    """
    if run_ids:
        session.execute(CLOSE_STEPS, {"ids": list(run_ids), "outcome": outcome})


def hint(context: Context, queue: str) -> int:
    """Publishes hints for the oldest due rows, fairly, but only as many as the queue has room for."""
    waiting = context.publisher.waiting(queue)
    if waiting is None or waiting >= context.settings.high_water:
        return 0
    values = {
        "queue": queue,
        "room": context.settings.high_water - waiting,
        "known": KNOWN,
        "overdue": timedelta(0),
        "rest": context.settings.rehint_after,
    }
    with context.transaction() as session:
        rows = session.execute(TAKE_HINTS, values).all()
    hints = [Hint(row.id, row.action, queue, row.hints) for row in rows]
    if hints:
        context.publisher.publish(hints)
    return len(hints)


def unclaimed(
    context: Context, queue: str, overdue: timedelta, room: int
) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """(run, account) of due rows that nobody has claimed for `overdue`, fairly; for the poll worker."""
    values = {"queue": queue, "room": room, "overdue": overdue, "rest": timedelta(0), "known": KNOWN}
    with context.transaction() as session:
        return [(row.id, row.account_id) for row in session.execute(UNCLAIMED, values)]


def next_suspect(context: Context) -> uuid.UUID | None:
    """The due run that has waited longest for a process of its own."""
    with context.transaction() as session:
        found: uuid.UUID | None = session.execute(NEXT_SUSPECT, {"known": KNOWN}).scalar_one_or_none()
        return found


def seconds_to_next_due(session: Session) -> float | None:
    """Seconds until the next clock is due, negative when it is late; None when no task waits."""
    query = text("SELECT extract(epoch FROM min(next_run_at) - clock_timestamp())::float8 FROM task_clocks")
    seconds: float | None = session.execute(query).scalar_one()
    return seconds
