"""Messages: the one place that writes them, in the order of their conversation."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy import text as sql
from sqlalchemy.orm import Session

from core.context import account_of, silence_after_commit
from core.drafts import Draft, checked_labels, checked_type, checked_words
from core.entities import Entity, read_entities
from core.errors import InvalidInput, NotFound
from core.meta import merged_meta
from core.rows import MetaFilter, as_id, has_meta, not_found, own
from core.usage import count_usage
from models import Conversation, Message, MessageType, new_ids

# The row lock that raises next_seq is the order; created_at never goes back, whatever the clock does.
NEXT_PLACE = sql(
    "UPDATE conversations SET next_seq = next_seq + :count, updated_at = now(),"
    " last_message_at = GREATEST(clock_timestamp(), last_message_at + :count * interval '1 microsecond')"
    " WHERE id = :id AND account_id = :account RETURNING next_seq - :count AS seq, last_message_at"
)
# What is made from the text before this commits is discarded (core/settlement.py).
PURGE = sql("UPDATE conversations SET purge_epoch = purge_epoch + 1, updated_at = now() WHERE id = :id")
FORGET_SUMMARY = sql("UPDATE runs SET summary = NULL WHERE id = :id AND summary IS NOT NULL")
TOLD_ON = sql("SELECT COALESCE(channel, CAST(id AS text)) FROM runs WHERE id = :id AND trigger = 'api'")

FIELDS = frozenset({"type", "text", "name", "description", "meta", "entities"})
MOST_AT_ONCE = 100
MAX_SEQ = 2**31 - 1
MICROSECOND = timedelta(microseconds=1)


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
    draft = Draft(message_type, checked_words(text), meta=meta or {})
    (message,) = append_all(
        session, conversation_id, [draft], run_id=run_id, step=step, account_id=account_id
    )
    return message


def append_all(
    session: Session,
    conversation_id: uuid.UUID,
    drafts: Sequence[Draft],
    *,
    run_id: uuid.UUID | None = None,
    step: str | None = None,
    account_id: uuid.UUID | None = None,
) -> list[Message]:
    """Stores messages as the last of their conversation, in this order, in two statements.

    Ids and times rise with the order as well.

    Raises:
        NotFound: the conversation is gone, or another account's.

    """
    account = account_id or account_of(session)
    count = len(drafts)
    place = session.execute(NEXT_PLACE, {"id": conversation_id, "account": account, "count": count})
    first = place.one_or_none()
    if first is None:
        raise not_found(Conversation)
    written = [
        {
            "id": message_id,
            "account_id": account,
            "conversation_id": conversation_id,
            "seq": first.seq + at,
            "type": draft.type,
            "name": draft.name,
            "description": draft.description,
            "text": draft.text,
            "meta": dict(draft.meta),
            "run_id": run_id,
            "step": step,
            "created_at": (instant := first.last_message_at - (count - 1 - at) * MICROSECOND),
            "updated_at": instant,
        }
        for at, (draft, message_id) in enumerate(zip(drafts, sorted(new_ids(count)), strict=True))
    ]
    # By the table: a unit of work costs half as much again.
    session.execute(insert(Message), written)
    return [Message(**row) for row in written]


def create_messages(
    session: Session, conversation_id: uuid.UUID | str, drafts: Sequence[Draft]
) -> list[Message]:
    """Stores what a caller has written, in order, all or nothing. No bot answers.

    Raises:
        NotFound, NotAuthorized: the conversation.

    """
    wanted = as_id(conversation_id, Conversation)
    try:
        messages = append_all(session, wanted, drafts)
    except NotFound:
        own(session, Conversation, wanted)  # tells another account's from none
        raise
    count_usage(session, account_of(session), messages=len(messages))
    return messages


def get_message(session: Session, conversation_id: uuid.UUID | str, message_id: uuid.UUID | str) -> Message:
    """A message of this conversation.

    Raises:
        NotFound, NotAuthorized: the conversation or the message. NotFound: it belongs to another one.

    """
    conversation = own(session, Conversation, conversation_id)
    message = own(session, Message, message_id)
    if message.conversation_id != conversation.id:
        raise not_found(Message)
    return message


def update_message(
    session: Session, conversation_id: uuid.UUID | str, message_id: uuid.UUID | str, **fields: Any
) -> tuple[Message, tuple[Entity, ...]]:
    """Changes the given fields, see FIELDS; meta is merged. Answers the known entities of its text.

    A turn under way goes on with what it has read. What a run's summary quotes of the old text goes.

    Raises:
        InvalidInput: a field that cannot be stored. NotFound, NotAuthorized: as `get_message`.

    """
    if unknown := fields.keys() - FIELDS:
        raise InvalidInput(f"A message has no field {min(unknown)}.")
    values: dict[str, Any] = dict(checked_labels(fields))
    if "type" in fields:
        values["type"] = checked_type(fields["type"])
    if "text" in fields:
        values["text"] = checked_words(fields["text"])
    message = get_message(session, conversation_id, message_id)
    if "text" in values:
        _forget_summary(session, message)
    message = own(session, Message, message.id, lock=True)
    entities = read_entities(fields.get("entities"), values.get("text", message.text))
    if "meta" in fields:
        values["meta"] = merged_meta(message.meta, fields["meta"])
    for name, value in values.items():
        setattr(message, name, value)
    message.updated_at = func.now()
    session.flush()
    return message, entities


def delete_message(
    session: Session, conversation_id: uuid.UUID | str, message_id: uuid.UUID | str
) -> uuid.UUID:
    """Removes a message for good; the others keep their ids and places.

    A reply that is being made from it is discarded, and asked for again without it.

    Raises:
        NotFound, NotAuthorized: as `get_message`.

    """
    message = get_message(session, conversation_id, message_id)
    session.execute(PURGE, {"id": message.conversation_id})
    _forget_summary(session, message)
    if session.scalar(delete(Message).where(Message.id == message.id).returning(Message.id)) is None:
        raise not_found(Message)
    return message.id


def _forget_summary(session: Session, message: Message) -> None:
    """The summary of a run is the beginning of its reply, which was told on a live channel as well.

    Before the message: the order of locks.
    """
    if message.run_id is not None and message.step != "prompt":
        session.execute(FORGET_SUMMARY, {"id": message.run_id})
        silence_after_commit(session, session.scalars(TOLD_ON, {"id": message.run_id}).all())


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
