"""The audit: who was shown what is private, and who placed holds. Ids, kinds and counts; never a value."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from core.context import account_of, actor_of
from core.rows import MetaFilter, page
from models import AuditEvent, new_id


class Action(StrEnum):
    """What is written down."""

    READ_MESSAGES = "message.read"
    READ_CONVERSATIONS = "conversation.read"
    REVEAL = "message.reveal"
    EXPORT = "conversation.export"
    PLACE_HOLD = "hold.place"
    RELEASE_HOLD = "hold.release"


def note_audit(
    session: Session, action: Action, target: uuid.UUID | None, details: Mapping[str, Any]
) -> None:
    """Writes down what this transaction shows to its actor, or does for it; `details` are ids and counts."""
    values = {
        "id": new_id(),
        "account_id": account_of(session),
        "actor": actor_of(session),
        "action": action,
        "target_id": target,
        "details": dict(details),
    }
    session.execute(insert(AuditEvent), values)


def list_audit(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[AuditEvent]:
    """What was shown of the account's private data, newest first or `ascending`."""
    return page(session, AuditEvent, take=take, before=before, ascending=ascending, meta=meta)
