"""Messages: the one place that writes them, in the order of their conversation."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy import text as sql
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput, NotFound
from core.rows import MetaFilter, checked_text, has_meta, own
from models import MAX_TEXT_BYTES, Conversation, Message, MessageType, new_id

# The row lock that raises next_seq is the order; created_at never goes back, whatever the clock does.
NEXT_PLACE = sql(
    "UPDATE conversations SET next_seq = next_seq + 1, updated_at = now(),"
    " last_message_at = GREATEST(clock_timestamp(), last_message_at + interval '1 microsecond')"
    " WHERE id = :id RETURNING next_seq - 1 AS seq, last_message_at"
)

MAX_SEQ = 2**31 - 1


def append(
    session: Session,
    conversation_id: uuid.UUID,
    message_type: MessageType,
    text: str,
    *,
    run_id: uuid.UUID | None = None,
    step: str | None = None,
    account_id: uuid.UUID | None = None,
    meta: dict[str, Any] | None = None,
) -> Message:
    """Stores a message as the last of its conversation. With run and step, once.

    Raises:
        InvalidInput: empty, over 256 KiB, or not storable text.
        NotFound: the conversation is gone.

    """
    checked = checked_text(text, "The text", longest=MAX_TEXT_BYTES)
    if checked is None:
        raise InvalidInput("The text must not be empty.")
    place = session.execute(NEXT_PLACE, {"id": conversation_id}).one_or_none()
    if place is None:
        raise NotFound("There is no such conversation.")
    message = Message(
        id=new_id(),
        account_id=account_id or account_of(session),
        conversation_id=conversation_id,
        seq=place.seq,
        type=message_type,
        text=checked,
        meta=meta or {},
        run_id=run_id,
        step=step,
        created_at=place.last_message_at,
        updated_at=place.last_message_at,
    )
    session.add(message)
    session.flush()
    return message


def list_messages(
    session: Session, conversation_id: uuid.UUID | str, *, take: int = 100, after: int = 0
) -> list[Message]:
    """The messages of a conversation, oldest first, from the one after sequence number `after`."""
    conversation = own(session, Conversation, conversation_id)
    query = select(Message).where(Message.conversation_id == conversation.id, Message.seq > after)
    return list(session.scalars(query.order_by(Message.seq).limit(take)))


def page_messages(
    session: Session,
    conversation_id: uuid.UUID | str,
    *,
    take: int = 100,
    before: uuid.UUID | None = None,
    ascending: bool = True,
    meta: Sequence[MetaFilter] = (),
) -> list[Message]:
    """A page of a conversation in its order, or against it; `before` is the last id of the page before.

    When that message is gone, the page begins after those that are older than it by id.
    """
    conversation = own(session, Conversation, conversation_id)
    query = select(Message).where(Message.conversation_id == conversation.id, *has_meta(Message.meta, meta))
    if before is not None:
        place = _place_of(session, conversation.id, before, ascending=ascending)
        query = query.where(Message.seq > place if ascending else Message.seq < place)
    return list(session.scalars(query.order_by(Message.seq if ascending else Message.seq.desc()).limit(take)))


def _place_of(session: Session, conversation_id: uuid.UUID, cursor: uuid.UUID, *, ascending: bool) -> int:
    here = Message.conversation_id == conversation_id
    place = session.scalar(select(Message.seq).where(here, Message.id == cursor))
    if place is None and ascending:
        place = session.scalar(select(func.max(Message.seq)).where(here, Message.id < cursor))
        return place or 0
    if place is None:
        place = session.scalar(select(func.min(Message.seq)).where(here, Message.id > cursor))
        return place or MAX_SEQ
    return place
