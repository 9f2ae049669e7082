"""Deleting in bulk: a worker takes a deletion for a slice of some seconds and gives it back at its cursor.

A slice is made of short batches. Each is one transaction: it takes its tokens, deletes, writes the receipt,
moves the cursor and the counters and renews the lease, guarded by the epoch. So a worker that is killed loses
and doubles nothing; another goes on once the lease has run out. The walk is repeated until it finds nothing
more: that is what `completed` means.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Event
from typing import Any

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.buckets import Buckets
from core.context import Context, publish_after_commit, settings_of
from core.conversations import SLICE
from core.delete_jobs import HINT, QUEUE, bucket_of, end_delete_job
from core.erasures import note_many
from core.errors import Unavailable
from core.publisher import Hint
from core.purging import NOTHING, Purged, purge_conversations, purge_messages, trim_conversation
from core.quotas import bulk_rate_of
from core.rates import Rate, parse_rate
from core.selection import Selection, What, selected_of
from core.walking import Found, Pace, Place, Walk
from models import Account, ErasureKind, ErrorClass, Job, JobState

log = structlog.get_logger()

TURN = 5.0  # seconds of a slice: whoever shares the worker, such as annotations, waits no longer
CRASHES = 20  # leases in a row that ran out without a batch
BROKEN = 3  # batches in a row that broke
FAILURES = 5  # times in a row that the database was too busy
PATIENCE = 2.0  # seconds that are waited for tokens with the job in hand

CLAIM = text(
    "UPDATE jobs SET state = 'running', started_at = COALESCE(started_at, now()), epoch = epoch + 1,"
    "  attempt = attempt + 1, crashes = crashes + (lease_until IS NOT NULL)::int, lease_until = lease.end,"
    "  run_at = lease.end FROM (SELECT clock_timestamp() + CAST(:lease AS interval) AS end) AS lease"
    " WHERE id = :id AND kind = 'delete' AND state IN ('pending', 'running') AND run_at <= now()"
    " RETURNING id, account_id, epoch, crashes, params ->> 'actor' AS actor"
)
RENEW = text(
    "UPDATE jobs SET lease_until = lease.end, run_at = lease.end, crashes = 0"
    " FROM (SELECT clock_timestamp() + CAST(:lease AS interval) AS end) AS lease WHERE id = :id"
)
GIVE_BACK = text(
    "UPDATE jobs SET lease_until = NULL, crashes = 0, run_at = now() + CAST(:delay AS interval),"
    " hints = hints + :hinted, hinted_at = CASE WHEN :hinted = 1 THEN now() END"
    " WHERE id = :id AND epoch = :epoch AND state = 'running' RETURNING hints"
)
# The one longest due of every account before the second of any.
DUE = (
    "SELECT id FROM (SELECT j.id, j.run_at, row_number() OVER (PARTITION BY j.account_id ORDER BY j.run_at)"
    "  AS place FROM jobs j WHERE j.kind = 'delete' AND j.state IN ('pending', 'running')"
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


@dataclass(frozen=True)
class _Claimed:
    id: uuid.UUID
    account_id: uuid.UUID
    epoch: int
    crashes: int
    actor: str | None


@dataclass(frozen=True)
class _Step:
    """What came of a batch: the word that ends the slice, or how long until the next."""

    ended: str | None = None
    wait: timedelta = timedelta(0)
    worked: bool = True


def carry_on(context: Context, job_id: uuid.UUID, stopping: Event | None = None) -> str:
    """Carries a deletion on for a slice, if it is due: `ignored lost completed failed cancelled`, or
    `sliced paced busy`: given back, to be gone on with.

    Raises:
        Unavailable: the database is away; the lease will run out and the deletion be claimed again.

    """
    with context.transaction() as session:
        values = {"id": job_id, "lease": context.settings.lease}
        row = session.execute(CLAIM, values).mappings().one_or_none()
    if row is None:
        return "ignored"
    return _Slice(context, _Claimed(**row), stopping or Event()).run()


def hint_deletions(context: Context) -> int:
    """Publishes hints for due deletions, fairly between accounts, as many as the queue has room for."""
    waiting = context.publisher.waiting(QUEUE)
    if waiting is None or waiting >= context.settings.high_water:
        return 0
    rest = context.settings.rehint_after
    values = {"room": context.settings.high_water - waiting, "overdue": timedelta(0), "rest": rest}
    with context.transaction() as session:
        rows = session.execute(TAKE_HINTS, values).all()
    if rows:
        context.publisher.publish([Hint(row.id, HINT, QUEUE, row.hints) for row in rows])
    return len(rows)


def undeleted(context: Context, overdue: timedelta, room: int) -> list[uuid.UUID]:
    """Due deletions that nobody has claimed for `overdue`; for the poll worker."""
    values = {"room": room, "overdue": overdue, "rest": timedelta(0)}
    with context.transaction() as session:
        return list(session.scalars(UNSERVED, values))


class _Slice:
    """A deletion in our hands."""

    def __init__(self, context: Context, claimed: _Claimed, stopping: Event) -> None:
        self._context = context
        self._claimed = claimed
        self._stopping = stopping
        self._pace = Pace()
        self._failures = 0  # in a row

    def run(self) -> str:
        end_at = time.monotonic() + TURN
        if self._claimed.crashes > CRASHES:
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

    def _step(self) -> _Step:
        """A batch; one that failed is waited for and tried again, some times."""
        began = time.monotonic()
        try:
            step = self._batch()
        except Unavailable:
            self._failures += 1
            if self._failures > FAILURES:
                raise
            self._pace.shrink()
            return _Step(wait=timedelta(seconds=0.2 * self._failures))
        except Exception as error:  # noqa: BLE001 (no traceback: it holds rows)
            log.error("deletion_broke", job=str(self._claimed.id), error=type(error).__name__)
            self._failures += 1
            if self._failures >= BROKEN:
                return _Step(self._fail(ErrorClass.INTERNAL_ERROR))
            return _Step(wait=timedelta(seconds=0.2))
        self._failures = 0
        if not step.worked:
            return step
        rest = self._pace.judge(time.monotonic() - began)
        return replace(step, wait=max(step.wait, timedelta(seconds=rest)))

    def _batch(self) -> _Step:
        with self._transaction() as session:
            job = _guarded(session, self._claimed)
            if job is None:
                return _Step("lost")
            account = session.get_one(Account, job.account_id)
            if account.closed_at is not None:
                end_delete_job(session, job, JobState.CANCELLED)
                return _Step("cancelled")
            buckets = Buckets(session, job.account_id, _rates(session, job))
            grant = buckets.grant(self._pace.size)
            if not grant.count:
                return _Step(wait=grant.wait, worked=False)
            return self._work(session, job, buckets, grant.count)

    def _work(self, session: Session, job: Job, buckets: Buckets, most: int) -> _Step:
        selection, place = Selection.of(job.params), Place.read(job.cursor)
        found = Walk(session, job.account_id, selection, place, self._pace).find(most)
        purged, done = _purge(session, job, selection, found)
        buckets.take(done)
        kind = ErasureKind.MESSAGES if selection.what is What.MESSAGES else ErasureKind.CONVERSATIONS
        if purged.messages or purged.ids:
            conversations = len(purged.ids) if selection.what is What.CONVERSATIONS else 0
            note_many(
                session,
                kind,
                job,
                [*purged.ids, *purged.derived],
                messages=purged.messages,
                conversations=conversations,
                attachments=purged.attachments,
            )
        job.done += done
        job.total = max(job.total or 0, job.done)
        seen = place.found + len(found.ids)
        if found.place is None and not seen:
            end_delete_job(session, job)
            return _Step("completed")
        # Behind the end begins another round, in case something came in behind the walk's back.
        following = replace(found.place, found=seen) if found.place else Place(place.round + 1)
        if found.long and purged.messages and not done:
            following = replace(place, found=seen)
        job.cursor = str(following)
        session.flush()
        session.execute(RENEW, {"id": job.id, "lease": self._context.settings.lease})
        return _Step()

    def _transaction(self) -> Any:
        return self._context.transaction(self._claimed.account_id, actor=self._claimed.actor)

    def _give_back(self, word: str, delay: timedelta = timedelta(0)) -> str:
        values = {"id": self._claimed.id, "epoch": self._claimed.epoch}
        with self._transaction() as session:
            given = {**values, "delay": delay, "hinted": int(not delay)}
            row = session.execute(GIVE_BACK, given).one_or_none()
            if row is None:
                return "lost"
            if not delay:
                publish_after_commit(session, Hint(self._claimed.id, HINT, QUEUE, row.hints))
        return word

    def _fail(self, error_class: ErrorClass) -> str:
        with self._transaction() as session:
            job = _guarded(session, self._claimed)
            if job is None:
                return "lost"
            end_delete_job(session, job, JobState.FAILED, error_class)
        log.error("deletion_failed", job=str(self._claimed.id), error=error_class.value)
        return "failed"


def _guarded(session: Session, claimed: _Claimed) -> Job | None:
    """The job, locked, while it is ours: whoever pauses, resumes or ends it raises the epoch."""
    mine = (Job.id == claimed.id, Job.epoch == claimed.epoch, Job.state == JobState.RUNNING)
    return session.scalars(select(Job).where(*mine).with_for_update()).one_or_none()


def _rates(session: Session, job: Job) -> list[tuple[str, Rate]]:
    """The account's rate, which all its deletions share, and the job's own."""
    most = bulk_rate_of(session, job.account_id, settings_of(session).rate_bulk)
    own = parse_rate(job.params["rate"]) if "rate" in job.params else None
    found = [("delete", most), (bucket_of(job.id), own)]
    return [(kind, rate) for kind, rate in found if rate is not None]


def _purge(session: Session, job: Job, selection: Selection, found: Found) -> tuple[Purged, int]:
    """Deletes what was found; answers as well how many of what the job counts have gone."""
    if not found.ids:
        return NOTHING, 0
    if selection.what is What.CONVERSATIONS:
        if found.long:
            purged = trim_conversation(session, found.ids[0])
            if purged.messages == SLICE:
                return purged, 0
            rest = purge_conversations(session, found.ids)
            messages, attachments = (
                purged.messages + rest.messages,
                purged.attachments + rest.attachments,
            )
            return replace(rest, messages=messages, attachments=attachments), len(rest.ids)
        purged = purge_conversations(session, found.ids)
        return purged, len(purged.ids)
    # Checkpoints that go with what they sum up may have been selected as well.
    purged = purge_messages(
        session,
        found.ids,
        found.conversations,
        count=lambda ids: len(selected_of(session, selection, job.account_id, ids)),
    )
    return purged, len(purged.ids) + purged.counted
