"""Conversations: create, change, find, list, delete. The turns in them: core/talking.py."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, func
from sqlalchemy import text as sql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.bots import find_bot
from core.contacts import ensure_contact, update_contact, upsert_contact
from core.context import account_of, silence_after_commit
from core.conversation_fields import checked_fields, linked_fields
from core.database import violated
from core.drafts import Draft
from core.erasures import note_erasure
from core.errors import InvalidInput, NotFound
from core.holds import is_free, refuse_held
from core.messages import append_all
from core.meta import checked_meta, merged_meta
from core.rows import MetaFilter, OneOrMore, checked_text, own, own_ids, page
from core.runs import cancel_turns_of
from core.search import matching, within_time
from core.shield import Shield
from core.shields import shield_for
from core.talking import channels_of
from core.usage import count_usage
from core.vault import forget_some, forget_tokens
from models import (
    Bot,
    Contact,
    Conversation,
    ConversationStatus,
    ErasureKind,
    Task,
    new_id,
)

MOST_AT_CREATION = 1000
PROTECTED = frozenset({"name", "description", "meta"})
# The links by which a legal hold can be on it.
HOLDING = frozenset({"bot_id", "task_id", "contact_id"})
USAGE = sql(
    "SELECT (SELECT COALESCE(sum(input_tokens + output_tokens), 0) FROM runs"
    "  WHERE conversation_id = :id AND created_at >= :since AND created_at < :until) AS tokens,"
    " (SELECT count(*) FROM messages"
    "  WHERE conversation_id = :id AND created_at >= :since AND created_at < :until) AS messages"
)
# Messages of a conversation that one statement deletes, well within its time-out.
SLICE = 5000
DELETE_SOME = sql(
    "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE conversation_id = :id ORDER BY seq"
    " LIMIT :slice)"
)
ATTACHMENTS = sql("SELECT count(*) FROM attachments WHERE conversation_id = :id")
EVER = (datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC))


def create_conversation(
    session: Session,
    *,
    messages: Sequence[Draft] = (),
    contact: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Conversation:
    """A conversation with these messages in it, counted as used; fields: see core/conversation_fields.py.

    `bot_id` may be a bot's name. Without one it is the account's default bot, unless the conversation has a
    backstory or a model of its own. `contact` is made, or found by its fingerprint.

    Raises:
        InvalidInput, NotFound, NotAuthorized: a field, a link or the contact; nothing is stored.

    """
    conversation = Conversation(
        id=new_id(),
        account_id=account_of(session),
        **checked_fields(session, {"source": None, **fields}),
        **_links(session, fields, contact),
        meta=checked_meta(fields.get("meta")),
    )
    _store(session, conversation, PROTECTED, bot=True, new=True)
    if messages:
        append_all(session, conversation.id, messages)
        session.refresh(conversation)
    count_usage(session, conversation.account_id, conversations=1, messages=len(messages))
    return conversation


def update_conversation(
    session: Session,
    conversation_id: uuid.UUID | str,
    *,
    contact: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Conversation:
    """Changes the given fields, as `create_conversation` knows them; null clears, meta is merged.

    Raises:
        InvalidInput, NotFound, NotAuthorized: as `create_conversation`, or the conversation.
        Conflict: it would leave its bot, task or contact, and a legal hold is on it.

    """
    before = own(session, Conversation, conversation_id)
    values = checked_fields(session, fields) | _links(session, fields, contact)
    if any(getattr(before, name) not in {None, values[name]} for name in HOLDING & values.keys()):
        refuse_held(session, before.id)
    conversation = own(session, Conversation, conversation_id, lock=True)
    if "meta" in fields:
        values["meta"] = merged_meta(conversation.meta, fields["meta"])
    gone = [str(getattr(conversation, name) or "") for name in PROTECTED & values.keys()]
    with session.no_autoflush:  # nothing is written before it was looked at
        for name, value in values.items():
            setattr(conversation, name, value)
        conversation.updated_at, conversation.anonymised_seq = func.now(), None
        _store(session, conversation, PROTECTED & values.keys(), bot="bot_id" in fields)
    forget_tokens(session, conversation.id, gone)
    return conversation


def upsert_contact_of(session: Session, conversation_id: uuid.UUID | str, **fields: Any) -> Contact:
    """Links the contact with this fingerprint, changed to the given fields, or made.

    Without a fingerprint it is the contact that is linked already that changes, if there is one.

    Raises:
        InvalidInput: a field of the contact. NotFound, NotAuthorized: the conversation.
        Conflict: it is another contact, and a legal hold is on the conversation.

    """
    conversation = own(session, Conversation, conversation_id)
    given = {name: value for name, value in fields.items() if value is not None}
    if conversation.contact_id is not None and "fingerprint" not in given:
        return update_contact(session, conversation.contact_id, **given)
    contact = upsert_contact(session, **given)
    if conversation.contact_id not in {None, contact.id}:
        refuse_held(session, conversation.id)
    conversation = own(session, Conversation, conversation_id, lock=True)
    conversation.contact_id, conversation.updated_at = contact.id, func.now()
    conversation.anonymised_seq = None
    _store(session, conversation, frozenset(), bot=False)
    return contact


def list_conversations(
    session: Session,
    *,
    task_id: OneOrMore | None = None,
    bot_id: OneOrMore | None = None,
    contact_id: OneOrMore | None = None,
    source: str | None = None,
    status: str | None = None,
    search: str | None = None,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Conversation]:
    """The account's conversations, newest first or `ascending`; of some tasks, bots or contacts where asked.

    `search`: words of the name, the description or a message, as people type them for a search engine.

    Raises:
        InvalidInput: an unknown status, or a search that takes too long.
        NotFound, NotAuthorized: what is filtered by.

    """
    where: list[ColumnElement[bool]] = []
    if task_id is not None:
        where.append(Conversation.task_id.in_(own_ids(session, Task, task_id)))
    if bot_id is not None:
        where.append(Conversation.bot_id.in_(own_ids(session, Bot, bot_id)))
    if contact_id is not None:
        where.append(Conversation.contact_id.in_(own_ids(session, Contact, contact_id)))
    if source is not None:
        where.append(Conversation.source == checked_text(source, "The source", longest=1000, empty=True))
    if status is not None:
        if status not in set(ConversationStatus):
            raise InvalidInput(f"A conversation's status is one of {', '.join(ConversationStatus)}.")
        where.append(Conversation.status == status)
    with within_time(session, search):
        if search is not None:
            where.append(matching(session, search))
        return page(session, Conversation, *where, take=take, before=before, ascending=ascending, meta=meta)


def usage_of(
    session: Session,
    conversation_id: uuid.UUID | str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[int, int]:
    """The tokens its runs used and the messages it holds, of those begun or stored in `[since, until)`.

    Raises:
        NotFound, NotAuthorized.

    """
    conversation = own(session, Conversation, conversation_id)
    values = {"id": conversation.id, "since": since or EVER[0], "until": until or EVER[1]}
    row = session.execute(USAGE, values).one()
    return int(row.tokens), row.messages


def _links(
    session: Session, fields: Mapping[str, Any], contact: Mapping[str, Any] | None
) -> dict[str, uuid.UUID | None]:
    """The ids of what a conversation is linked to, as far as they are given."""
    links = linked_fields(session, fields)
    if fields.get("bot_id") is not None:
        links["bot_id"] = find_bot(session, fields["bot_id"]).id
    if contact is not None:
        if links.get("contact_id") is not None:
            raise InvalidInput("contact and contactId are two ways to say who it is: send one of them.")
        given = {name: value for name, value in contact.items() if value is not None}
        links["contact_id"] = ensure_contact(session, **given).id
    return links


def _store(
    session: Session, conversation: Conversation, said: AbstractSet[str], *, bot: bool, new: bool = False
) -> None:
    """`bot`: which one answers was told, if only by null; then it is the default one, unless the
    conversation speaks for itself. `said`: the fields that are written with what a caller says now.
    """
    if bot and conversation.bot_id is None and conversation.backstory is None and conversation.model is None:
        conversation.bot_id = find_bot(session, None).id
    shield = _protect(session, conversation, said, new=new)
    session.add(conversation)
    try:
        session.flush()
    except IntegrityError as error:
        if (violated(error) or "").startswith("fk_"):
            raise NotFound("What the conversation is linked to has just been deleted.") from error
        raise
    if shield is not None:
        shield.keep()


def _protect(
    session: Session, conversation: Conversation, said: AbstractSet[str], *, new: bool
) -> Shield | None:
    """Makes of these fields what may be stored, under the privacy the conversation will have."""
    if not any(getattr(conversation, name) for name in said):
        return None
    shield = shield_for(
        session,
        conversation.account_id,
        conversation.id,
        bot=conversation.bot_id,
        contact=conversation.contact_id,
        kept={} if new else None,
        privacy=bool(conversation.privacy),
        policy=conversation.privacy_policy,
    )
    if shield is None:
        return None
    honoured = frozenset() if new else shield.tokens()
    for name in said & {"name", "description"}:
        setattr(conversation, name, shield.label(getattr(conversation, name), honoured=honoured))
    if "meta" in said:
        conversation.meta = shield.tree(conversation.meta, honoured=honoured)
    return shield


def get_conversation(session: Session, conversation_id: uuid.UUID | str) -> Conversation:
    """The conversation.

    Raises:
        NotFound, NotAuthorized.

    """
    return own(session, Conversation, conversation_id)


def delete_conversation(session: Session, conversation_id: uuid.UUID | str) -> uuid.UUID:
    """Removes the conversation with its messages for good. A turn under way is cancelled.

    Its runs stay without their summaries, so that the task's history still counts them. However long it
    is, no statement takes long.

    Raises:
        NotFound, NotAuthorized. Conflict: a legal hold is on it.

    """
    if not is_free(session, conversation_id):
        refuse_held(session, own(session, Conversation, conversation_id).id)
    conversation = own(session, Conversation, conversation_id, lock=True)
    cancel_turns_of(session, conversation.id)
    silence_after_commit(session, channels_of(session, [conversation.id]))
    session.execute(
        sql("UPDATE runs SET summary = NULL WHERE conversation_id = :id"), {"id": conversation.id}
    )
    attachments = session.scalar(ATTACHMENTS, {"id": conversation.id}) or 0
    messages = 0
    while gone := delete_some(session, conversation.id):
        messages += gone
    while forget_some(session, conversation.id, SLICE) == SLICE:
        pass
    session.delete(conversation)
    session.flush()
    note_erasure(
        session,
        ErasureKind.CONVERSATION,
        conversation.id,
        messages=messages,
        conversations=1,
        attachments=attachments,
    )
    return conversation.id


def shorten_conversation(session: Session, conversation_id: uuid.UUID) -> int:
    """Removes a slice of a conversation that is going, which is locked; answers how many messages.

    Its receipt is begun, and complete once the conversation has gone.
    """
    cancel_turns_of(session, conversation_id)
    before = session.scalar(ATTACHMENTS, {"id": conversation_id}) or 0
    gone = delete_some(session, conversation_id)
    attached = before - (session.scalar(ATTACHMENTS, {"id": conversation_id}) or 0)
    note_erasure(
        session,
        ErasureKind.CONVERSATION,
        conversation_id,
        messages=gone,
        attachments=attached,
        complete=False,
    )
    return gone


def delete_some(session: Session, conversation_id: uuid.UUID) -> int:
    """Removes up to SLICE messages of a conversation; answers how many."""
    return int(session.execute(DELETE_SOME, {"id": conversation_id, "slice": SLICE}).rowcount)  # type: ignore[attr-defined]
