"""Erasures: the receipts of deletions. What they are applied to after a restore: core/erasing.py.

A receipt is written in the transaction of the deletion and names ids, counts and times. A backup that is
restored brings back what was deleted after it was made; the receipts are exported beside the backups and
applied again (docs/operations/backup.md has the drill).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, undefer

from core.context import Context, account_of, actor_of
from core.rows import MetaFilter, as_array, own, page
from models import Erasure, ErasureKind, Job, new_id

EXPORTED = 50  # at once: each may name some thousand ids
NAMED = 1000  # ids that a receipt of many names, and a batch more

MANY = (
    "INSERT INTO erasures (id, account_id, kind, target_id, job_id, actor, completed_at, target_ids,"
    " messages, conversations, attachments) SELECT CAST(:receipt AS uuid), CAST(:account AS uuid),"
    " CAST(:kind AS text), CAST(:target AS uuid), CAST(:job AS uuid), CAST(:actor AS text), now(), "
)
ADD = (
    " ON CONFLICT (account_id, kind, target_id) DO UPDATE SET"
    " target_ids = erasures.target_ids || excluded.target_ids,"
    " messages = erasures.messages + excluded.messages,"
    " conversations = erasures.conversations + excluded.conversations,"
    " attachments = erasures.attachments + excluded.attachments, completed_at = excluded.completed_at"
)
NOTE_MANY = text(f"{MANY} CAST(:ids AS uuid[]), :messages, :conversations, :attachments{ADD}")
# A part of a statement, in which `every` has the ids of the messages that have just gone.
NOTE_EVERY = (
    f", noted AS ({MANY} array_agg(id), count(*), 0, CAST(:attachments AS bigint) FROM every"
    f" HAVING count(*) > 0{ADD})"
)


def note_erasure(
    session: Session,
    kind: ErasureKind,
    target: uuid.UUID,
    conversation: uuid.UUID | None = None,
    *,
    messages: int = 0,
    conversations: int = 0,
    attachments: int = 0,
    complete: bool = True,
) -> None:
    """Writes the receipt of a deletion that this transaction makes, or adds this slice of it to its receipt.

    A receipt that is complete stays as it is: what a restored backup has brought back is deleted again, and
    not counted again.
    """
    slice_ = insert(Erasure).values(
        id=new_id(),
        account_id=account_of(session),
        kind=kind,
        target_id=target,
        conversation_id=conversation,
        messages=messages,
        conversations=conversations,
        attachments=attachments,
        actor=actor_of(session),
        completed_at=func.now() if complete else None,
    )
    session.execute(
        slice_.on_conflict_do_update(
            index_elements=["account_id", "kind", "target_id"],
            set_={
                "messages": Erasure.messages + slice_.excluded.messages,
                "conversations": Erasure.conversations + slice_.excluded.conversations,
                "attachments": Erasure.attachments + slice_.excluded.attachments,
                "completed_at": slice_.excluded.completed_at,
            },
            where=Erasure.completed_at.is_(None),
        )
    )


def note_many(
    session: Session, job: Job, ids: Sequence[uuid.UUID], *, messages: int = 0, attachments: int = 0
) -> None:
    """Adds conversations that a deletion removes to its receipts, which name a thousand or so each."""
    values = many_values(session, ErasureKind.CONVERSATIONS, job)
    counts = {"messages": messages, "conversations": len(ids), "attachments": attachments}
    session.execute(NOTE_MANY, {**values, **counts, "ids": as_array(ids)})


def many_values(session: Session, kind: ErasureKind, job: Job, part: str | None = None) -> dict[str, Any]:
    """What a receipt of many says besides ids and counts: the one that this batch of the job belongs to.

    `part`: of what the job does not count, so that it has a receipt of its own.
    """
    return {
        "receipt": new_id(),
        "account": job.account_id,
        "kind": kind,
        "target": uuid.uuid5(job.id, part or str(job.done // NAMED)),
        "job": job.id,
        "actor": actor_of(session),
    }


def get_erasure(session: Session, erasure_id: uuid.UUID | str) -> Erasure:
    """The receipt.

    Raises:
        NotFound, NotAuthorized.

    """
    return own(session, Erasure, erasure_id)


def list_erasures(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Erasure]:
    """The account's receipts, newest first or `ascending`."""
    return page(session, Erasure, take=take, before=before, ascending=ascending, meta=meta)


def erasures_since(context: Context, since: datetime | None = None) -> Iterator[Erasure]:
    """Every account's receipts, oldest first: what belongs beside the backups.

    `since`: those that were completed from then on, and all that are not complete. Read page by page, so
    that whoever writes them down slowly holds no transaction open.
    """
    query = select(Erasure).options(undefer(Erasure.target_ids)).order_by(Erasure.id).limit(EXPORTED)
    if since is not None:
        query = query.where(or_(Erasure.completed_at.is_(None), Erasure.completed_at >= since))
    last = uuid.UUID(int=0)
    while True:
        with context.transaction() as session:
            found = list(session.scalars(query.where(Erasure.id > last)))
        yield from found
        if len(found) < EXPORTED:
            return
        last = found[-1].id
