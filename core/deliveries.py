"""Deliveries as rows: announced with what they tell, claimed, settled, hinted.

A pending row is the queue entry, as a run's is. Whoever sends it holds a lease longer than a request may
take, so there is no heartbeat; its `run_at` is then the lease's end, so that a lost one is due again by
itself. What is settled is guarded by the epoch. Deliveries are made at least once, each time with the
same id.

Lock order: clock, conversation, run, step, task, subscription, delivery.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from core.context import Context
from core.publisher import Hint
from models import Event, new_ids

log = structlog.get_logger()

QUEUE = "chat"
HINT = "deliver"
ATTEMPTS = 16
BACKOFF_BASE = timedelta(seconds=30)
BACKOFF_CAP = timedelta(hours=6)  # with 16 attempts: most of a day on average, a day and a half at most
PER_ACCOUNT = 4
FAILURES = 10
FAILING_FOR = timedelta(days=1)

# The subscriptions of these runs' tasks that want to hear of it. A success after a failure is a recovery for
# those who want recoveries, unless either is a backfill's; what the last ended run before it came to is
# looked up for them alone. KEY SHARE: one that is being deleted is waited for and then not found, so that no
# foreign key fails its teller.
OF_RUNS = text(
    "SELECT s.id, s.account_id, s.task_id, r.id AS run_id,"
    " CASE WHEN recovered.yes AND 'recovery' = ANY(s.events) THEN 'recovery' ELSE :event END AS event"
    " FROM runs r JOIN subscriptions s ON s.task_id = r.task_id AND s.account_id = r.account_id"
    " CROSS JOIN LATERAL (SELECT :event = 'success' AND r.trigger <> 'backfill'"
    "   AND 'failed' = (SELECT latest.state FROM ("
    "   SELECT b.state, b.finished_at FROM runs b WHERE b.task_id = r.task_id AND b.id <> r.id"
    "    AND b.state IN ('succeeded', 'failed') AND b.trigger <> 'backfill'"
    "    ORDER BY b.id DESC LIMIT 20) AS latest"
    "   ORDER BY latest.finished_at DESC LIMIT 1) AS yes) AS recovered"
    " WHERE r.id = ANY(CAST(:runs AS uuid[])) AND s.state = 'active'"
    "  AND (:event = ANY(s.events) OR (recovered.yes AND 'recovery' = ANY(s.events)))"
    " ORDER BY s.id FOR KEY SHARE OF s"
)
OF_TASK = text(
    "SELECT s.id, s.account_id, s.task_id, CAST(NULL AS uuid) AS run_id, :event AS event FROM subscriptions s"
    " WHERE s.task_id = :task AND s.state = 'active' AND :event = ANY(s.events)"
    " ORDER BY s.id FOR KEY SHARE OF s"
)
INSERT = text(
    "INSERT INTO deliveries (id, subscription_id, account_id, task_id, run_id, event, occasion)"
    " SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:subscriptions AS uuid[]), CAST(:accounts AS uuid[]),"
    "  CAST(:tasks AS uuid[]), CAST(:runs AS uuid[]), CAST(:events AS text[]), CAST(:occasions AS text[]))"
    " ON CONFLICT (subscription_id, event, occasion) DO NOTHING RETURNING id"
)
FORGET_TASK = text("DELETE FROM subscriptions WHERE task_id = :id")
# One request at a time and subscription: whoever is slow or away keeps one sender, not all of them. Hints
# that have piled up know nothing of each other, so an account's share is held to here as well.
CLAIM = text(
    "UPDATE deliveries d SET state = 'sending', epoch = epoch + 1, attempt = attempt + 1,"
    "  lease_until = lease.end, run_at = lease.end, status_code = NULL, error_code = NULL"
    " FROM (SELECT clock_timestamp() + CAST(:lease AS interval) AS end) AS lease"
    " WHERE d.id = :id AND d.state IN ('pending', 'sending') AND d.run_at <= now() AND NOT EXISTS ("
    "  SELECT FROM deliveries o WHERE o.account_id = d.account_id AND o.subscription_id = d.subscription_id"
    "  AND o.state = 'sending' AND o.lease_until > now() AND o.id <> d.id)"
    "  AND :share > (SELECT count(*) FROM deliveries s WHERE s.account_id = d.account_id"
    "   AND s.state = 'sending' AND s.lease_until > now())"
    " RETURNING d.id, d.account_id, d.subscription_id, d.event, d.epoch, d.attempt"
)
LOCK_SUBSCRIPTION = text("SELECT 1 FROM subscriptions WHERE id = :subscription FOR NO KEY UPDATE")
END = text(
    "UPDATE deliveries SET state = :state, lease_until = NULL, finished_at = now(), status_code = :status,"
    " error_code = :error WHERE id = :id AND epoch = :epoch AND state = 'sending' RETURNING id"
)
RETRY = text(
    "UPDATE deliveries SET state = 'pending', lease_until = NULL, hinted_at = NULL, status_code = :status,"
    " error_code = :error, run_at = now() + CAST(:delay AS interval)"
    " WHERE id = :id AND epoch = :epoch AND state = 'sending' RETURNING id"
)
COUNT_SUCCESS = text(
    "UPDATE subscriptions SET consecutive_failures = 0, failing_since = NULL"
    " WHERE id = :subscription AND consecutive_failures > 0"
)
COUNT_FAILURE = text(
    "UPDATE subscriptions SET consecutive_failures = consecutive_failures + 1,"
    " failing_since = COALESCE(failing_since, now()) WHERE id = :subscription"
    " RETURNING consecutive_failures >= :failures AND failing_since <= now() - CAST(:span AS interval)"
)
DISABLE = text(
    "UPDATE subscriptions SET state = 'disabled', disabled_reason = :reason, updated_at = now()"
    " WHERE id = :subscription AND state = 'active' RETURNING id"
)
CANCEL_PENDING = text(
    "UPDATE deliveries SET state = 'cancelled', finished_at = now(), error_code = 'disabled'"
    " WHERE subscription_id = :subscription AND state = 'pending'"
)
# Fair between accounts, as DUE of core/work.py is; and no account has more than a few under way.
DUE = (
    "WITH RECURSIVE waiting AS ("
    " (SELECT account_id FROM deliveries WHERE state IN ('pending', 'sending') ORDER BY account_id LIMIT 1)"
    " UNION ALL SELECT (SELECT d.account_id FROM deliveries d WHERE d.state IN ('pending', 'sending')"
    "  AND d.account_id > w.account_id ORDER BY d.account_id LIMIT 1) FROM waiting w"
    "  WHERE w.account_id IS NOT NULL),"
    " fair AS (SELECT due.id, due.run_at, due.place FROM waiting w CROSS JOIN LATERAL ("
    "  SELECT d.id, d.run_at, row_number() OVER (ORDER BY d.run_at) AS place FROM deliveries d"
    "  WHERE d.state IN ('pending', 'sending') AND d.account_id = w.account_id"
    "  AND d.run_at <= now() - CAST(:overdue AS interval)"
    "  AND (d.hinted_at IS NULL OR d.hinted_at < now() - CAST(:rest AS interval))"
    "  AND NOT EXISTS (SELECT FROM deliveries o WHERE o.account_id = d.account_id"
    "   AND o.subscription_id = d.subscription_id AND o.state = 'sending' AND o.lease_until > now())"
    "  ORDER BY d.run_at LIMIT (SELECT GREATEST(0, :share - count(*)) FROM deliveries s"
    "   WHERE s.account_id = w.account_id AND s.state = 'sending' AND s.lease_until > now())) due"
    "  WHERE w.account_id IS NOT NULL ORDER BY due.place, due.run_at LIMIT :room)"
)
TAKE_HINTS = text(
    DUE  # noqa: S608 (constants)
    + ", locked AS (SELECT id FROM deliveries WHERE id IN (SELECT id FROM fair)"
    "  AND (hinted_at IS NULL OR hinted_at < now() - CAST(:rest AS interval)) FOR UPDATE SKIP LOCKED),"
    " hinted AS (UPDATE deliveries d SET hinted_at = now(), hints = hints + 1 FROM locked"
    "  WHERE d.id = locked.id RETURNING d.id, d.hints)"
    " SELECT hinted.* FROM hinted JOIN fair ON fair.id = hinted.id ORDER BY fair.place, fair.run_at"
)
UNSENT = text(DUE + " SELECT id FROM fair ORDER BY place, run_at")  # noqa: S608 (constants)


@dataclass(frozen=True)
class ClaimedDelivery:
    """A delivery in our hands: valid while its epoch is the row's."""

    id: uuid.UUID
    account_id: uuid.UUID
    subscription_id: uuid.UUID
    event: Event
    epoch: int
    attempt: int


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt. Without an `error` it was delivered; `final`: another try is of no use.

    `gone`: the receiver says that it is no more (410). `void`: nothing was sent, and nothing shall be.
    """

    error: str | None = None
    status: int | None = None
    retry_after: timedelta | None = None
    final: bool = False
    gone: bool = False
    void: bool = False


def announce(
    session: Session, event: Event, run_ids: Sequence[uuid.UUID], *, occasion: str | None = None
) -> int:
    """Writes the deliveries of an event of these runs; answers how many.

    In the transaction of what they tell, and after everything else in it: subscriptions are locked. Call it
    with `success` for every success, recoveries included: a subscription that wants recoveries gets one in
    its place. One event of one run is told once per subscription, however often it is announced; `occasion`
    replaces the run there, for what is told once a day ("2026-11-20"). Where nobody has subscribed it costs
    one statement over indexes.
    """
    if not run_ids:
        return 0
    return _insert(session, session.execute(OF_RUNS, {"event": event, "runs": list(run_ids)}).all(), occasion)


def announce_task(session: Session, event: Event, task_id: uuid.UUID, occasion: str) -> int:
    """The same for an event that is no run's; `occasion` is what makes it one of a kind for its task."""
    return _insert(session, session.execute(OF_TASK, {"event": event, "task": task_id}).all(), occasion)


def announce_budget(session: Session, run_ids: Sequence[uuid.UUID]) -> int:
    """That a task's budget is spent: once a UTC day, however many occurrences it costs."""
    if not run_ids:
        return 0
    day = session.execute(text("SELECT current_date")).scalar_one()
    return announce(session, Event.BUDGET, run_ids, occasion=day.isoformat())


def forget_task(session: Session, task_id: uuid.UUID) -> None:
    """Takes a task's subscriptions away, and their deliveries; what is being sent now is not stored."""
    session.execute(FORGET_TASK, {"id": task_id})


def claim_delivery(session: Session, delivery_id: uuid.UUID, lease: timedelta) -> ClaimedDelivery | None:
    """Takes a due delivery, or one whose lease has run out; None when there is nothing to take."""
    values = {"id": delivery_id, "lease": lease, "share": PER_ACCOUNT}
    row = session.execute(CLAIM, values).mappings().one_or_none()
    return None if row is None else ClaimedDelivery(**{**row, "event": Event(row["event"])})


def settle_delivery(session: Session, claimed: ClaimedDelivery, outcome: Outcome) -> str:
    """Writes what came of an attempt; `delivered retried failed cancelled`, or `lost`: somebody else has it.

    A subscription whose receiver is gone is disabled; so is one that has failed FAILURES times in a row and
    for FAILING_FOR.
    """
    values = {"id": claimed.id, "epoch": claimed.epoch, "subscription": claimed.subscription_id}
    session.execute(LOCK_SUBSCRIPTION, values)
    told = {**values, "status": outcome.status, "error": outcome.error}
    delay = _delay(claimed, outcome)
    if delay is not None:
        word, row = "retried", session.execute(RETRY, {**told, "delay": delay}).one_or_none()
    else:
        word = "cancelled" if outcome.void else "failed" if outcome.error else "delivered"
        row = session.execute(END, {**told, "state": word}).one_or_none()
    if row is None:
        return "lost"
    _count(session, claimed, outcome)
    return word


def disable(session: Session, subscription_id: uuid.UUID, reason: str) -> bool:
    """Stops a subscription and cancels what waits for it; answers whether it was active."""
    values = {"subscription": subscription_id, "reason": reason}
    if session.execute(DISABLE, values).one_or_none() is None:
        return False
    session.execute(CANCEL_PENDING, values)
    return True


def backoff(attempt: int, retry_after: timedelta | None, share: float) -> timedelta:
    """How long after the given attempt (1 for the first): full jitter over a doubling range.

    Retry-After is waited for first, up to the cap. `share` is drawn from 0 to 1.
    """
    ceiling: timedelta = min(BACKOFF_CAP, BACKOFF_BASE * 2 ** min(attempt - 1, 20))
    asked = min(max(retry_after or timedelta(0), timedelta(0)), BACKOFF_CAP)
    return asked + ceiling * share


def hint_deliveries(context: Context) -> int:
    """Publishes hints for due deliveries, fairly; a share of the queue is theirs beside the runs'."""
    waiting = context.publisher.waiting(QUEUE)
    share = max(1, context.settings.high_water // 4)
    if waiting is None or waiting >= context.settings.high_water + share:
        return 0
    values = {
        "share": PER_ACCOUNT,
        "room": min(share, context.settings.high_water + share - waiting),
        "overdue": timedelta(0),
        "rest": context.settings.rehint_after,
    }
    with context.transaction() as session:
        rows = session.execute(TAKE_HINTS, values).all()
    hints = [Hint(row.id, HINT, QUEUE, row.hints) for row in rows]
    if hints:
        context.publisher.publish(hints)
    return len(hints)


def unsent(context: Context, overdue: timedelta, room: int) -> list[uuid.UUID]:
    """Due deliveries that nobody has claimed for `overdue`, fairly; for the poll worker."""
    values = {"share": PER_ACCOUNT, "room": room, "overdue": overdue, "rest": timedelta(0)}
    with context.transaction() as session:
        return list(session.scalars(UNSENT, values))


def _insert(session: Session, rows: Sequence[Row[Any]], occasion: str | None) -> int:
    if not rows:
        return 0
    values = {
        "ids": new_ids(len(rows)),
        "subscriptions": [row.id for row in rows],
        "accounts": [row.account_id for row in rows],
        "tasks": [row.task_id for row in rows],
        "runs": [row.run_id for row in rows],
        "events": [row.event for row in rows],
        "occasions": [occasion or str(row.run_id) for row in rows],
    }
    return len(session.execute(INSERT, values).all())


def _delay(claimed: ClaimedDelivery, outcome: Outcome) -> timedelta | None:
    """How long until the next attempt; None when this was the last. A test is tried once."""
    over = outcome.error is None or outcome.final or outcome.gone or outcome.void
    if over or claimed.attempt >= ATTEMPTS or claimed.event == Event.TEST:
        return None
    return backoff(claimed.attempt, outcome.retry_after, random.random())


def _count(session: Session, claimed: ClaimedDelivery, outcome: Outcome) -> None:
    values = {"subscription": claimed.subscription_id, "failures": FAILURES, "span": FAILING_FOR}
    reason = None
    if outcome.error is None:
        session.execute(COUNT_SUCCESS, values)
    elif outcome.gone:
        reason = "gone"
    elif claimed.event != Event.TEST and not outcome.void:
        reason = "failing" if session.execute(COUNT_FAILURE, values).scalar_one_or_none() else None
    if reason and disable(session, claimed.subscription_id, reason):
        log.warning("subscription_disabled", subscription=str(claimed.subscription_id), reason=reason)
