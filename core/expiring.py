"""Expire: conversations go for good when their time has come."""

from __future__ import annotations

import time
import uuid

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import Context
from core.conversations import SLICE, delete_conversation, shorten_conversation
from core.errors import Unavailable
from core.holds import NOT_HELD, found_free, keep_holds

log = structlog.get_logger()

BATCH = 50
PATIENCE = 0.5  # seconds that the other duties of a scheduler wait

DUE = text(
    f"SELECT c.id, c.account_id FROM conversations c WHERE c.expires_at <= now() AND {NOT_HELD}"  # noqa: S608 (a constant)
    " ORDER BY c.expires_at LIMIT :batch"
)
# Whoever speaks in it or deletes it is passed by, and so is one whose end has moved or that is held.
TAKE = text(
    f"SELECT 1 FROM conversations c WHERE c.id = :id AND c.expires_at <= now() AND {NOT_HELD}"  # noqa: S608 (a constant)
    " FOR UPDATE OF c SKIP LOCKED"
)

IS_LONG = text("SELECT true FROM messages WHERE conversation_id = :id ORDER BY seq OFFSET :slice LIMIT 1")


def expire_conversations(context: Context) -> int:
    """Deletes conversations whose `expires_at` has passed, as `delete_conversation` does; answers how many.

    One with a legal hold stays until that is released.

    Up to a batch, each in its own transaction. Any number of schedulers may.
    """
    with context.transaction() as session:
        due = session.execute(DUE, {"batch": BATCH}).all()
    stop_at = time.monotonic() + PATIENCE
    expired = 0
    for row in due:
        expired += _expire(context, row.id, row.account_id)
        if time.monotonic() >= stop_at:
            break
    return expired


def _expire(context: Context, conversation_id: uuid.UUID, account: uuid.UUID) -> bool:
    """Whether it has gone; one that cannot go must keep neither the others nor the clocks."""
    try:
        with context.transaction(account) as session:
            return _delete(session, conversation_id)
    except Unavailable as error:
        log.warning(
            "conversation_expires_later", conversation=str(conversation_id), error=type(error).__name__
        )
    except Exception as error:  # noqa: BLE001 (as the docstring says)
        log.error("conversation_not_expired", conversation=str(conversation_id), error=type(error).__name__)
    return False


def _delete(session: Session, conversation_id: uuid.UUID) -> bool:
    keep_holds(session)
    if session.execute(TAKE, {"id": conversation_id}).one_or_none() is None:
        return False
    if session.scalar(IS_LONG, {"id": conversation_id, "slice": SLICE}):
        shorten_conversation(session, conversation_id)  # the rest goes in the next turns
        return False
    found_free(session, conversation_id)
    delete_conversation(session, conversation_id)
    return True
