"""Conversations: create, change, find, list, delete. The turns in them: core/talking.py."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
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
from core.errors import InvalidInput, NotFound
from core.messages import append_all
from core.meta import checked_meta, merged_meta
from core.rows import MetaFilter, OneOrMore, checked_text, own, own_ids, page
from core.runs import cancel_turns_of
from core.search import matching, within_time
from core.talking import channels_of
from core.usage import count_usage
from models import (
    Bot,
    Contact,
    Conversation,
    ConversationStatus,
    Task,
)

MOST_AT_CREATION = 1000
USAGE = sql(
    "SELECT (SELECT COALESCE(sum(input_tokens + output_tokens), 0) FROM runs"
    "  WHERE conversation_id = :id AND created_at >= :since AND created_at < :until) AS tokens,"
    " (SELECT count(*) FROM messages"
    "  WHERE conversation_id = :id AND created_at >= :since AND created_at < :until) AS messages"
)
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
        account_id=account_of(session),
        **checked_fields(session, {"source": None, **fields}),
        **_links(session, fields, contact),
        meta=checked_meta(fields.get("meta")),
    )
    _store(session, conversation, bot=True)
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

    """
    own(session, Conversation, conversation_id)
    values = checked_fields(session, fields) | _links(session, fields, contact)
    conversation = own(session, Conversation, conversation_id, lock=True)
    if "meta" in fields:
        values["meta"] = merged_meta(conversation.meta, fields["meta"])
    for name, value in values.items():
        setattr(conversation, name, value)
    conversation.updated_at = func.now()
    _store(session, conversation, bot="bot_id" in fields)
    return conversation


def upsert_contact_of(session: Session, conversation_id: uuid.UUID | str, **fields: Any) -> Contact:
    """Links the contact with this fingerprint, changed to the given fields, or made.

    Without a fingerprint it is the contact that is linked already that changes, if there is one.

    Raises:
        InvalidInput: a field of the contact. NotFound, NotAuthorized: the conversation.

    """
    conversation = own(session, Conversation, conversation_id)
    given = {name: value for name, value in fields.items() if value is not None}
    if conversation.contact_id is not None and "fingerprint" not in given:
        return update_contact(session, conversation.contact_id, **given)
    contact = upsert_contact(session, **given)
    conversation = own(session, Conversation, conversation_id, lock=True)
    conversation.contact_id, conversation.updated_at = contact.id, func.now()
    _store(session, conversation, bot=False)
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


def _store(session: Session, conversation: Conversation, *, bot: bool) -> None:
    """`bot`: which one answers was told, if only by null; then it is the default one, unless the
    conversation speaks for itself.
    """
    if bot and conversation.bot_id is None and conversation.backstory is None and conversation.model is None:
        conversation.bot_id = find_bot(session, None).id
    session.add(conversation)
    try:
        session.flush()
    except IntegrityError as error:
        if (violated(error) or "").startswith("fk_"):
            raise NotFound("What the conversation is linked to has just been deleted.") from error
        raise


def get_conversation(session: Session, conversation_id: uuid.UUID | str) -> Conversation:
    """The conversation.

    Raises:
        NotFound, NotAuthorized.

    """
    return own(session, Conversation, conversation_id)


def delete_conversation(session: Session, conversation_id: uuid.UUID | str) -> uuid.UUID:
    """Removes the conversation with its messages for good. A turn under way is cancelled.

    Its runs stay without their summaries, so that the task's history still counts them.
    """
    conversation = own(session, Conversation, conversation_id, lock=True)
    silence_after_commit(session, channels_of(session, [conversation.id]))
    cancel_turns_of(session, conversation.id)
    session.execute(
        sql("UPDATE runs SET summary = NULL WHERE conversation_id = :id"), {"id": conversation.id}
    )
    session.delete(conversation)
    session.flush()
    return conversation.id
