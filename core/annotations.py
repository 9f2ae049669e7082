"""Annotations as rows: what a worker is to look at again, enqueued with its text and claimed in batches.

A pending row is the queue entry, as a run's is; a hint wakes a worker for everything of its account that is
due. A row that is being worked on has a lease longer than a batch may take, so there is no heartbeat; its
`run_at` is then the lease's end, so that a lost one is due again by itself. What is settled is guarded by the
epoch of the row and the `text_rev` of the message.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import Context
from core.publisher import Hint
from models import Message

QUEUE = "annotate"
HINT = "annotate_message"
BATCH = 200
LEASE = timedelta(minutes=5)
ATTEMPTS = 8
BACKOFF_BASE = timedelta(seconds=2)
BACKOFF_CAP = timedelta(minutes=10)

# The hint that follows the commit is for all of them.
ENQUEUE = text(
    "INSERT INTO annotations AS a (message_id, account_id, conversation_id, text_rev, hinted_at, hints)"
    " SELECT m.id, m.account, m.conversation, :rev, now(), 1 FROM unnest(CAST(:ids AS uuid[]),"
    "  CAST(:accounts AS uuid[]), CAST(:conversations AS uuid[])) AS m (id, account, conversation)"
    " ON CONFLICT (message_id) DO UPDATE SET text_rev = excluded.text_rev, state = 'pending', run_at = now(),"
    "  lease_until = NULL, epoch = a.epoch + 1, attempt = 0, error_code = NULL, hinted_at = now(),"
    "  hints = a.hints + 1 RETURNING message_id, hints"
)
CLAIM = text(
    "UPDATE annotations a SET state = 'running', epoch = a.epoch + 1, attempt = a.attempt + 1,"
    "  lease_until = lease.end, run_at = lease.end"
    " FROM (SELECT clock_timestamp() + CAST(:lease AS interval) AS end) AS lease,"
    "  (SELECT d.message_id FROM annotations d"
    "   WHERE d.account_id = (SELECT account_id FROM annotations WHERE message_id = :id)"
    "   AND d.state IN ('pending', 'running') AND d.run_at <= now()"
    "   ORDER BY d.run_at LIMIT :batch FOR UPDATE SKIP LOCKED) AS due"
    " WHERE a.message_id = due.message_id"
    " RETURNING a.message_id, a.account_id, a.conversation_id, a.text_rev, a.epoch, a.attempt"
)
CLAIM_OF = text(
    "UPDATE annotations a SET state = 'running', epoch = a.epoch + 1, attempt = a.attempt + 1,"
    "  lease_until = lease.end, run_at = lease.end"
    " FROM (SELECT clock_timestamp() + CAST(:lease AS interval) AS end) AS lease,"
    "  (SELECT message_id FROM annotations WHERE conversation_id = :conversation AND state = 'pending'"
    "   ORDER BY run_at LIMIT :batch FOR UPDATE SKIP LOCKED) AS due"
    " WHERE a.message_id = due.message_id"
    " RETURNING a.message_id, a.account_id, a.conversation_id, a.text_rev, a.epoch, a.attempt"
)
END = text("DELETE FROM annotations WHERE message_id = :id AND epoch = :epoch AND state = 'running'")
RETRY = text(
    "UPDATE annotations SET state = 'pending', lease_until = NULL, hinted_at = NULL, error_code = :code,"
    " run_at = now() + CAST(:delay AS interval)"
    " WHERE message_id = :id AND epoch = :epoch AND state = 'running'"
)
FAIL = text(
    "UPDATE annotations SET state = 'failed', lease_until = NULL, error_code = :code"
    " WHERE message_id = :id AND epoch = :epoch AND state = 'running'"
)
# One row of every account that has some due: its hint wakes a worker for all of them.
DUE = (
    "WITH RECURSIVE waiting AS ("
    " (SELECT account_id FROM annotations WHERE state IN ('pending', 'running') ORDER BY account_id LIMIT 1)"
    " UNION ALL SELECT (SELECT a.account_id FROM annotations a WHERE a.state IN ('pending', 'running')"
    "  AND a.account_id > w.account_id ORDER BY a.account_id LIMIT 1) FROM waiting w"
    "  WHERE w.account_id IS NOT NULL),"
    " due AS (SELECT first.message_id, first.run_at FROM waiting w CROSS JOIN LATERAL ("
    "  SELECT a.message_id, a.run_at FROM annotations a WHERE a.account_id = w.account_id"
    "  AND a.state IN ('pending', 'running') AND a.run_at <= now() - CAST(:overdue AS interval)"
    "  AND (a.hinted_at IS NULL OR a.hinted_at < now() - CAST(:rest AS interval))"
    "  ORDER BY a.run_at LIMIT 1) AS first WHERE w.account_id IS NOT NULL ORDER BY first.run_at LIMIT :room)"
)
TAKE_HINTS = text(
    DUE  # noqa: S608 (constants)
    + " UPDATE annotations a SET hinted_at = now(), hints = a.hints + 1 FROM due"
    " WHERE a.message_id = due.message_id RETURNING a.message_id, a.hints"
)
OVERDUE = text(DUE + " SELECT message_id FROM due")  # noqa: S608 (constants)


@dataclass(frozen=True)
class ClaimedAnnotation:
    """A message in our hands: valid while its epoch is the row's."""

    message_id: uuid.UUID
    account_id: uuid.UUID
    conversation_id: uuid.UUID
    text_rev: int
    epoch: int
    attempt: int


def enqueue_annotations(session: Session, messages: Sequence[Message], *, text_rev: int = 1) -> None:
    """Asks for messages to be looked at by a worker, in the transaction that wrote them."""
    values = {
        "ids": [message.id for message in messages],
        "accounts": [message.account_id for message in messages],
        "conversations": [message.conversation_id for message in messages],
        "rev": text_rev,
    }
    rows = session.execute(ENQUEUE, values).all()
    if rows:
        hint = Hint(rows[0].message_id, HINT, QUEUE, rows[0].hints)
        session.info.setdefault("hints", []).append(hint)


def claim_annotations(session: Session, message_id: uuid.UUID) -> list[ClaimedAnnotation]:
    """Takes what is due of the account that this message belongs to."""
    rows = session.execute(CLAIM, {"id": message_id, "lease": LEASE, "batch": BATCH}).mappings()
    return [ClaimedAnnotation(**row) for row in rows]


def claim_annotations_of(session: Session, conversation_id: uuid.UUID) -> list[ClaimedAnnotation]:
    """Takes what is pending of a conversation, for whoever cannot go on before it is done."""
    values = {"conversation": conversation_id, "lease": LEASE, "batch": BATCH}
    return [ClaimedAnnotation(**row) for row in session.execute(CLAIM_OF, values).mappings()]


def end_annotation(session: Session, claimed: ClaimedAnnotation) -> None:
    """Takes a settled row away, unless the message has changed meanwhile."""
    session.execute(END, {"id": claimed.message_id, "epoch": claimed.epoch})


def put_back(session: Session, claimed: ClaimedAnnotation, code: str, *, ends: bool = True) -> str:
    """Lets an annotation be tried again later, or no more: `retried` or `failed`.

    `ends`: attempts do; not for what says nothing against this message.
    """
    values = {"id": claimed.message_id, "epoch": claimed.epoch, "code": code}
    if ends and claimed.attempt >= ATTEMPTS:
        session.execute(FAIL, values)
        return "failed"
    ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2 ** min(claimed.attempt - 1, 16))
    session.execute(RETRY, values | {"delay": ceiling * random.random()})
    return "retried"


def hint_annotations(context: Context) -> int:
    """Publishes a hint for every account that has messages due, unless enough wait in the queue."""
    waiting = context.publisher.waiting(QUEUE)
    if waiting is None or waiting >= context.settings.high_water:
        return 0
    room = context.settings.high_water - waiting
    values = {"room": room, "overdue": timedelta(0), "rest": context.settings.rehint_after}
    with context.transaction() as session:
        rows = session.execute(TAKE_HINTS, values).all()
    if rows:
        context.publisher.publish([Hint(row.message_id, HINT, QUEUE, row.hints) for row in rows])
    return len(rows)


def unannotated(context: Context, overdue: timedelta, room: int) -> list[uuid.UUID]:
    """A due message of every account whose messages nobody has claimed for `overdue`; for the poll worker."""
    values = {"room": room, "overdue": overdue, "rest": timedelta(0)}
    with context.transaction() as session:
        return list(session.scalars(OVERDUE, values))
