"""Messages: the one place that writes them, in the order of their conversation."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, delete, func, insert, select
from sqlalchemy import text as sql
from sqlalchemy.orm import Session

from core.annotations import enqueue_annotations
from core.context import account_of, news_after_commit, silence_after_commit
from core.drafts import Draft, checked_labels, checked_type, checked_words
from core.entities import Entity, read_entities
from core.erasures import note_erasure
from core.errors import InvalidInput, NotFound
from core.holds import refuse_held
from core.meta import merged_meta
from core.privacy.policy import Direction
from core.rows import MetaFilter, as_id, has_meta, not_found, own
from core.said import Said, given_alone, stored_said, texts_of, tokens_of
from core.shield import Shield
from core.shields import shield_of
from core.usage import count_usage
from core.vault import forget_tokens
from models import Conversation, ErasureKind, Message, MessageType, new_ids

# The row lock that raises next_seq is the order; created_at never goes back, whatever the clock does.
NEXT_PLACE = sql(
    "UPDATE conversations SET next_seq = next_seq + :count, updated_at = now(),"
    " last_message_at = GREATEST(clock_timestamp(), last_message_at + :count * interval '1 microsecond')"
    " WHERE id = :id AND account_id = :account RETURNING next_seq - :count AS seq, last_message_at,"
    " privacy OR privacy_policy IS NOT NULL"
    "  OR EXISTS (SELECT FROM accounts a WHERE a.id = account_id AND a.privacy_policy IS NOT NULL)"
    "  OR EXISTS (SELECT FROM bots b WHERE b.id = bot_id AND (b.privacy OR b.privacy_policy IS NOT NULL))"
    "  AS shielded"
)
# What is made from the text before this commits is discarded (core/settlement.py).
PURGE = sql("UPDATE conversations SET purge_epoch = purge_epoch + 1, updated_at = now() WHERE id = :id")
# Before a message: the order of locks. What a worker annotates or appends meanwhile waits, or is waited for.
LOCK = sql("SELECT 1 FROM conversations WHERE id = :id FOR NO KEY UPDATE")
NOT_ANONYMOUS = sql(
    "UPDATE conversations SET anonymised_seq = NULL WHERE id = :id AND anonymised_seq IS NOT NULL"
)
FORGET_SUMMARIES = sql("UPDATE runs SET summary = NULL WHERE id = ANY(:ids) AND summary IS NOT NULL")
# Where the runs of these messages have told them, and where a turn under way tells what it makes of them.
TOLD_ON = sql(
    "SELECT COALESCE(channel, CAST(id AS text)) FROM runs WHERE trigger = 'api' AND (id = ANY(:ids)"
    " OR (conversation_id = CAST(:conversation AS uuid) AND state IN ('pending', 'running')))"
)
# What a turn has summed up of the messages before it: made from each of them.
SUMMARIES_AFTER = (
    "SELECT * FROM messages WHERE conversation_id = :conversation AND seq > :seq"
    " AND type = 'checkpoint' AND run_id IS NOT NULL"
)
# What turns have remembered by abilities, from this place on (core/memories.py).
FORGET_MEMORIES = sql("DELETE FROM memories WHERE conversation_id = :conversation AND seq >= :seq")
REASONS = sql("SELECT reason FROM ratings WHERE message_id = ANY(:ids) AND reason IS NOT NULL")
ATTACHED = sql("SELECT count(*) FROM attachments WHERE message_id = ANY(:ids)")

# What is shown of a message.
SHOWN = select(
    Message.id,
    Message.conversation_id,
    Message.type,
    Message.text,
    Message.name,
    Message.description,
    Message.meta,
    Message.pii,
    Message.pii_state,
    Message.account_id,
    Message.run_id,
    Message.created_at,
    Message.updated_at,
)

FIELDS = frozenset({"type", "text", "name", "description", "meta", "entities"})
MOST_AT_ONCE = 100
MAX_SEQ = 2**31 - 1
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Written:
    """A message as it was stored, and what was found in the text that was handed in."""

    message: Message
    said: Said
    words: str = field(default="", repr=False)  # of an update: the text that the entities are places in


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
    entities: tuple[Entity, ...] = (),
    author: Direction = Direction.INBOUND,
) -> Written:
    """Stores a message as the last of its conversation. With run and step, once.

    Raises:
        InvalidInput: empty, over 256 KiB, or not storable text.
        NotFound: the conversation is gone.

    """
    draft = Draft(message_type, checked_words(text), meta=meta or {}, entities=entities)
    (written,) = append_all(
        session, conversation_id, [draft], run_id=run_id, step=step, account_id=account_id, author=author
    )
    return written


def append_all(
    session: Session,
    conversation_id: uuid.UUID,
    drafts: Sequence[Draft],
    *,
    run_id: uuid.UUID | None = None,
    step: str | None = None,
    account_id: uuid.UUID | None = None,
    author: Direction = Direction.INBOUND,
) -> list[Written]:
    """Stores messages as the last of their conversation, in this order, in two statements.

    Ids and times rise with the order as well. Where the conversation has privacy they are redacted first, and
    a worker looks at them again; `author` OUTBOUND: it is the bot who speaks, and knows tokens.

    Raises:
        NotFound: the conversation is gone, or another account's. PrivacyFailed: nothing may be stored.

    """
    account = account_id or account_of(session)
    count = len(drafts)
    place = session.execute(NEXT_PLACE, {"id": conversation_id, "account": account, "count": count})
    first = place.one_or_none()
    if first is None:
        raise not_found(Conversation)
    shield = shield_of(session, conversation_id) if first.shielded else None
    found = [_protected(draft, shield, author) for draft in drafts]
    rows = [
        {
            "id": message_id,
            "account_id": account,
            "conversation_id": conversation_id,
            "seq": first.seq + at,
            "type": safe.draft.type,
            "name": safe.draft.name,
            "description": safe.draft.description,
            "text": safe.said.text,
            "meta": dict(safe.draft.meta),
            "pii": safe.said.pii,
            "pii_types": safe.said.types,
            "pii_state": shield.state if shield else None,
            "pii_version": shield.version if shield else None,
            "run_id": run_id,
            "step": step,
            "created_at": (instant := first.last_message_at - (count - 1 - at) * MICROSECOND),
            "updated_at": instant,
        }
        for at, (safe, message_id) in enumerate(zip(found, new_ids(count), strict=True))
    ]
    # By the table: a unit of work costs half as much again.
    session.execute(insert(Message), rows)
    messages = [Message(**row) for row in rows]
    if shield:
        shield.keep()
        enqueue_annotations(session, messages)
    news_after_commit(session, account, conversation_id)
    return [Written(message, safe.said) for message, safe in zip(messages, found, strict=True)]


@dataclass(frozen=True)
class _Safe:
    draft: Draft
    said: Said


def _protected(draft: Draft, shield: Shield | None, author: Direction) -> _Safe:
    """A draft as it may be stored, and its text."""
    if shield is None:
        return _Safe(draft, given_alone(draft.text, draft.entities))
    honoured = shield.tokens() if author is Direction.OUTBOUND else frozenset()
    meta = draft.meta
    if draft.type == MessageType.ACTIVITY:  # the one that a model is shown the meta of
        meta = shield.unnamed(meta, honoured)
    said = shield.said(draft.text, given=draft.entities, author=author, honoured=honoured)
    safe = replace(
        draft,
        text=said.text,
        name=shield.label(draft.name, author, honoured),
        description=shield.label(draft.description, author, honoured),
        meta=shield.tree(meta, author, honoured),
    )
    return _Safe(safe, said)


def create_messages(
    session: Session, conversation_id: uuid.UUID | str, drafts: Sequence[Draft]
) -> list[Written]:
    """Stores what a caller has written, in order, all or nothing. No bot answers.

    Raises:
        NotFound, NotAuthorized: the conversation.

    """
    wanted = as_id(conversation_id, Conversation)
    try:
        written = append_all(session, wanted, drafts)
    except NotFound:
        own(session, Conversation, wanted)  # tells another account's from none
        raise
    count_usage(session, account_of(session), messages=len(written))
    return written


def looked_at(
    session: Session, conversation_id: uuid.UUID | str, texts: Sequence[tuple[str, Sequence[Entity]]]
) -> list[Said]:
    """What was made of texts that were stored in this conversation: said again, stored not again."""
    shield = shield_of(session, as_id(conversation_id, Conversation))
    if shield is None:
        return [given_alone(text, given) for text, given in texts]
    return [shield.said(text, given=given) for text, given in texts]


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
) -> Written:
    """Changes the given fields, see FIELDS; meta is merged. Answers what is known of its text.

    Only what changes is looked at again. Tokens that stood in the message go on meaning their values, as long
    as some text names them. A turn under way goes on with what it has read; what a run's summary quotes of
    the old text goes.

    Raises:
        InvalidInput: a field that cannot be stored. NotFound, NotAuthorized: as `get_message`.
        PrivacyFailed: nothing may be stored. Conflict: another text for one that a legal hold is on.

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
        refuse_held(session, message.conversation_id)
    message = _locked(session, conversation_id, message_id)
    if "text" in values:
        _forget_told(session, [message])
    message = own(session, Message, message.id, lock=True)
    given = read_entities(fields.get("entities"), values.get("text", message.text))
    if "meta" in fields:
        values["meta"] = merged_meta(message.meta, fields["meta"])
    gone = texts_of(message)
    words = values.get("text", message.text)
    said = _protect_update(session, message, values, given)
    for name, value in values.items():
        setattr(message, name, value)
    message.updated_at, message.anonymised_at = func.now(), None
    session.execute(NOT_ANONYMOUS, {"id": message.conversation_id})
    session.flush()
    forget_tokens(session, message.conversation_id, gone)
    return Written(message, said, words)


def _protect_update(
    session: Session, message: Message, values: dict[str, Any], given: tuple[Entity, ...]
) -> Said:
    """Makes of changed fields what may be stored; answers what is known of the text as it is then."""
    words = values.get("text", message.text)
    shield = shield_of(session, message.conversation_id)
    if shield is None:
        said = given_alone(words, given)
        if "text" in values or given:
            values.update(pii=said.pii, pii_types=said.types)
        if "text" in values:
            values.update(pii_state=None, pii_version=None, text_rev=message.text_rev + 1)
        return said
    honoured = tokens_of(message.text, message.pii) & shield.tokens()
    for name in ("name", "description"):
        if name in values:
            values[name] = shield.label(values[name], honoured=honoured)
    if "meta" in values:
        values["meta"] = shield.tree(values["meta"], honoured=shield.tokens())
    if "text" not in values and not given:
        shield.keep()
        return stored_said(message.text, message.pii)
    said = shield.said(words, given=given, honoured=honoured)
    values.update(
        text=said.text,
        pii=said.pii,
        pii_types=said.types,
        pii_state=shield.state,
        pii_version=shield.version,
        text_rev=message.text_rev + 1,
    )
    shield.keep()
    enqueue_annotations(session, [message], text_rev=message.text_rev + 1)
    return said


def delete_message(
    session: Session, conversation_id: uuid.UUID | str, message_id: uuid.UUID | str
) -> uuid.UUID:
    """Removes a message for good; the others keep their ids and places.

    A reply that is being made from it is discarded, and asked for again without it. What turns have summed
    up of it goes as well: their checkpoints after it, and their memories.

    Raises:
        NotFound, NotAuthorized: as `get_message`. Conflict: a legal hold is on it.

    """
    refuse_held(session, get_message(session, conversation_id, message_id).conversation_id)
    message = _locked(session, conversation_id, message_id)
    conversation = message.conversation_id
    session.execute(PURGE, {"id": conversation})
    made_of_it = select(Message).from_statement(sql(SUMMARIES_AFTER))
    gone = [message, *session.scalars(made_of_it, {"conversation": conversation, "seq": message.seq})]
    ids = [one.id for one in gone]
    attachments = session.scalar(ATTACHED, {"ids": ids}) or 0
    reasons = session.scalars(REASONS, {"ids": ids}).all()
    _forget_told(session, gone, conversation)
    session.execute(FORGET_MEMORIES, {"conversation": conversation, "seq": message.seq})
    session.execute(delete(Message).where(Message.id.in_(ids)))
    forget_tokens(session, conversation, [*reasons, *(said for one in gone for said in texts_of(one))])
    note_erasure(
        session,
        ErasureKind.MESSAGE,
        message.id,
        conversation,
        messages=len(gone),
        attachments=attachments,
    )
    return message.id


def _locked(session: Session, conversation_id: uuid.UUID | str, message_id: uuid.UUID | str) -> Message:
    """The message as it is once nobody else writes in its conversation."""
    message = get_message(session, conversation_id, message_id)
    wanted = message.id
    session.execute(LOCK, {"id": message.conversation_id})
    session.expire(message)
    return own(session, Message, wanted)


def _forget_told(
    session: Session, messages: Sequence[Message], conversation: uuid.UUID | None = None
) -> None:
    """Forgets what was told of messages elsewhere: runs' summaries, which begin like replies, and channels.

    With a conversation what its turns under way have told as well. Before the messages: the order of locks.
    """
    runs = [one.run_id for one in messages if one.run_id is not None and one.step != "prompt"]
    if runs:
        session.execute(FORGET_SUMMARIES, {"ids": runs})
    told = session.scalars(TOLD_ON, {"ids": runs, "conversation": conversation})
    silence_after_commit(session, told.all())


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
) -> Sequence[Row[Any]]:
    """A page of a conversation in its order, or against it; `before` is the last id of the page before.

    When that message is gone, the page begins after those that are older than it by id. Rows with the
    fields of SHOWN: entities cost twice as much.
    """
    conversation = own(session, Conversation, conversation_id)
    query = SHOWN.where(Message.conversation_id == conversation.id, *has_meta(Message.meta, meta))
    if before is not None:
        place = _place_of(session, conversation.id, before, ascending=ascending)
        query = query.where(Message.seq > place if ascending else Message.seq < place)
    return session.execute(query.order_by(Message.seq if ascending else Message.seq.desc()).limit(take)).all()


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
