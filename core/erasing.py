"""Erasing again: receipts are applied to a database that a backup has brought back.

What a receipt names and is there again is deleted by the verb that deleted it before, so all that hung on it
goes too. The receipts themselves are stored again as they were. Done twice it changes nothing, and anything
may go on meanwhile.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.account_deletion import delete_account
from core.contacts import delete_contact
from core.context import Context
from core.conversations import delete_conversation
from core.errors import InvalidInput, NotAuthorized, NotFound, Unavailable
from core.holds import despite_holds
from core.memories import delete_memory
from core.messages import delete_message
from core.purging import purge_conversations
from core.sweeping import by_ids, sweep
from core.tasks import delete_task
from models import Erasure, ErasureKind

BATCH = 500
ATTEMPTS = 10
PAUSE = 0.5  # seconds

# A deleted task stays as a tombstone, which has nothing left to delete.
THERE = {
    ErasureKind.MESSAGE: text("SELECT id, account_id FROM messages WHERE id = ANY(:ids)"),
    ErasureKind.CONVERSATION: text("SELECT id, account_id FROM conversations WHERE id = ANY(:ids)"),
    ErasureKind.CONTACT: text("SELECT id, account_id FROM contacts WHERE id = ANY(:ids)"),
    ErasureKind.TASK: text("SELECT id, account_id FROM tasks WHERE id = ANY(:ids) AND state <> 'deleted'"),
    ErasureKind.MEMORY: text("SELECT id, account_id FROM memories WHERE id = ANY(:ids)"),
    ErasureKind.ACCOUNT: text("SELECT id, id AS account_id FROM accounts WHERE id = ANY(:ids)"),
}
# What many at once are, by the kind of their receipt; each id is looked for.
MANY = {
    ErasureKind.MESSAGES: text(
        "SELECT id, account_id, conversation_id FROM messages WHERE id = ANY(CAST(:ids AS uuid[]))"
    ),
    ErasureKind.CONVERSATIONS: text(
        "SELECT id, account_id, id AS conversation_id FROM conversations WHERE id = ANY(CAST(:ids AS uuid[]))"
    ),
}
AT_ONCE = 500  # of many, in one transaction
IDS = ("id", "accountId", "targetId")
COUNTS = ("messages", "conversations", "attachments")


class Outcome(StrEnum):
    """What came of a receipt."""

    ERASED = "erased"  # it was there again, and is gone
    GONE = "gone"  # there was nothing left to erase
    UNFINISHED = "unfinished"  # of a conversation that was still going, and may have stayed
    FOREIGN = "foreign"  # what it names belongs to another account than it says
    FAILED = "failed"  # the database was too busy; apply it again


@dataclass(frozen=True)
class Receipt:
    """A receipt as it was exported."""

    kind: ErasureKind
    target: uuid.UUID
    account: uuid.UUID
    conversation: uuid.UUID | None
    row: Mapping[str, Any]

    @property
    def many(self) -> list[uuid.UUID]:
        """What a receipt of many names."""
        return list(self.row["target_ids"] or ())

    @property
    def is_applied(self) -> bool:
        """An account whose deletion has begun is beyond help; a conversation may have been spared."""
        return self.row["completed_at"] is not None or self.kind is ErasureKind.ACCOUNT


def read_receipts(lines: Iterable[str]) -> Iterator[Receipt]:
    """Receipts from JSON lines, as `crontalk erasure export` writes them; blank lines are passed by.

    Raises:
        InvalidInput: a line that is none; says which.

    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _read(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            raise InvalidInput(f"Line {number} is no receipt of an erasure.") from None


def apply_erasures(
    context: Context, receipts: Iterable[Receipt], tell: Callable[[Counter[Outcome]], None] | None = None
) -> Counter[Outcome]:
    """Deletes again what the receipts name, in their order; `tell` hears how far it is after each batch.

    Raises:
        Unavailable: the database is away. What was applied stays so; apply them all again.

    """
    left, came = iter(receipts), Counter[Outcome]()
    while batch := list(islice(left, BATCH)):
        with context.transaction() as session:
            owners = _owners(session, batch)
            rows = [dict(receipt.row) for receipt in batch]
            session.execute(insert(Erasure).on_conflict_do_nothing(), rows)
        for receipt in batch:
            owner = owners.get((receipt.kind, receipt.target))
            came[_apply(context, receipt, owner)] += 1
        if tell is not None:
            tell(came)
    return came


def _apply(context: Context, receipt: Receipt, owner: uuid.UUID | None) -> Outcome:
    if receipt.kind in MANY:
        return _patiently(lambda: _erase_many(context, receipt))
    if owner is None:
        return Outcome.GONE
    if not receipt.is_applied:
        return Outcome.UNFINISHED
    if owner != receipt.account:
        return Outcome.FOREIGN
    return _patiently(lambda: _erase(context, receipt))


def _patiently(erase: Callable[[], Outcome]) -> Outcome:
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        try:
            return erase()
        except NotFound:
            return Outcome.GONE
        except NotAuthorized:
            return Outcome.FOREIGN
        except Unavailable:
            continue
    return Outcome.FAILED


def _erase_many(context: Context, receipt: Receipt) -> Outcome:
    """Deletes again what is there of what a receipt of many names, some hundred at a time."""
    outcome, ids = Outcome.GONE, receipt.many
    for start in range(0, len(ids), AT_ONCE):
        with context.transaction(receipt.account, actor=receipt.row["actor"]) as session:
            despite_holds(session)
            there = session.execute(MANY[receipt.kind], {"ids": ids[start : start + AT_ONCE]}).all()
            ours = [row for row in there if row.account_id == receipt.account]
            if not ours:
                outcome = Outcome.FOREIGN if there and outcome is Outcome.GONE else outcome
                continue
            wanted = [row.id for row in ours]
            if receipt.kind is ErasureKind.MESSAGES:
                sweep(session, by_ids(wanted, {row.conversation_id for row in ours}))
            else:
                purge_conversations(session, wanted)
            outcome = Outcome.ERASED
    return outcome


def _erase(context: Context, receipt: Receipt) -> Outcome:
    actor, target = receipt.row["actor"], receipt.target
    if receipt.kind is ErasureKind.ACCOUNT:
        delete_account(context, target, actor=actor, held=True)
        return Outcome.ERASED
    with context.transaction(receipt.account, actor=actor) as session:
        despite_holds(session)
        match receipt.kind:
            case ErasureKind.MESSAGE:
                delete_message(session, _conversation_of(receipt), target)
            case ErasureKind.CONVERSATION:
                delete_conversation(session, target)
            case ErasureKind.CONTACT:
                delete_contact(session, target)
            case ErasureKind.TASK:
                delete_task(session, target)
            case ErasureKind.MEMORY:
                delete_memory(session, target)
    return Outcome.ERASED


def _conversation_of(receipt: Receipt) -> uuid.UUID:
    assert receipt.conversation is not None  # noqa: S101 (_read has looked)
    return receipt.conversation


def _owners(session: Session, batch: Iterable[Receipt]) -> dict[tuple[ErasureKind, uuid.UUID], uuid.UUID]:
    """The accounts of what is there of a batch."""
    wanted: dict[ErasureKind, list[uuid.UUID]] = {}
    for receipt in batch:
        wanted.setdefault(receipt.kind, []).append(receipt.target)
    return {
        (kind, row.id): row.account_id
        for kind, ids in wanted.items()
        if kind not in MANY
        for row in session.execute(THERE[kind], {"ids": ids})
    }


def _read(document: Mapping[str, Any]) -> Receipt:
    kind = ErasureKind(document["kind"])
    own, account, target = (uuid.UUID(document[name]) for name in IDS)
    conversation = uuid.UUID(document["conversationId"]) if document.get("conversationId") else None
    if (kind is ErasureKind.MESSAGE) != (conversation is not None) or (
        kind is ErasureKind.ACCOUNT and account != target
    ):
        raise ValueError
    counts = {name: int(document.get(name, 0)) for name in COUNTS}
    actor = document.get("actor")
    if any(not 0 <= count < 2**63 for count in counts.values()) or not isinstance(actor, str | None):
        raise ValueError
    many = document.get("targetIds")
    if document["createdAt"] is None or (kind in MANY) != (many is not None):
        raise ValueError
    row = {
        "id": own,
        "account_id": account,
        "kind": kind.value,
        "target_id": target,
        "conversation_id": conversation,
        "job_id": uuid.UUID(document["jobId"]) if document.get("jobId") else None,
        "target_ids": None if many is None else [uuid.UUID(one) for one in many],
        "actor": actor,
        "created_at": _instant(document["createdAt"]),
        "completed_at": _instant(document.get("completedAt")),
        **counts,
    }
    return Receipt(kind, target, account, conversation, row)


def _instant(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
