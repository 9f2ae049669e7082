"""Conversing: the verbs of the General Bots dialect. Whoever talks is a contact, or the account itself.

A message is stored always; a turn answers it now, or after the one that is under way (core/following.py).
What is shown is what people said and what bots said to them: the types user and bot.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session

from core.accounts import Caller
from core.bots import find_bot
from core.context import account_of
from core.conversations import create_conversation
from core.drafts import checked_words
from core.entities import Entity
from core.errors import InvalidInput, NotAuthorized, NotFound
from core.fields import kept
from core.following import answering_turn
from core.messages import SHOWN, append
from core.meta import checked_meta
from core.rows import checked_text, own
from core.usage import count_usage
from models import (
    Attachment,
    Blob,
    BlobState,
    Bot,
    Conversation,
    ConversationStatus,
    Message,
    MessageType,
)

DEFAULT = "default"
SPOKEN = (MessageType.USER, MessageType.BOT)
MOST_MESSAGES = 100
MOST_CONVERSATIONS = 100
MOST_ATTACHMENTS = 20
SHOWN_OF_LAST = 2000  # characters of a last message that are read
REFERENCE = {"url": 8192, "filename": 1020, "mime_type": 200, "attachment_type": 40, "thumbnail_url": 8192}

LAST = text(
    "SELECT m.id FROM unnest(CAST(:ids AS uuid[])) AS c (id) CROSS JOIN LATERAL (SELECT id FROM messages"
    " WHERE conversation_id = c.id AND type IN ('user', 'bot') ORDER BY seq DESC LIMIT 1) AS m"
)


@dataclass(frozen=True)
class Reach:
    """Which of an account's conversations somebody reaches: all, a contact's own, or one alone."""

    contact_id: uuid.UUID | None = None
    conversation_id: uuid.UUID | None = None

    @classmethod
    def of(cls, caller: Caller) -> Reach:
        return cls(caller.contact_id, caller.conversation_id)

    def covers(self, conversation: Conversation) -> bool:
        if self.conversation_id is not None:
            return conversation.id == self.conversation_id
        return self.contact_id is None or conversation.contact_id == self.contact_id


@dataclass(frozen=True)
class Said:
    """A message as it was stored, and the run that answers it, perhaps others with it; None: nobody will."""

    message: Message
    run_id: uuid.UUID | None
    # Whether the run begins with this message; otherwise it waits, or was there before.
    begins: bool = False


@dataclass(frozen=True)
class Started:
    """A new conversation, and what was said first in it."""

    conversation: Conversation
    said: Said | None


@dataclass(frozen=True)
class History:
    """Messages, oldest first, and whether there are more beyond the end that was asked for."""

    messages: Sequence[Row[Any]]
    has_more: bool


@dataclass(frozen=True)
class Listed:
    """A conversation of a list, with its bot's name and its newest message, whose text may be cut."""

    conversation: Conversation
    bot_name: str | None = None
    last: Row[Any] | None = field(default=None, repr=False)

    @property
    def last_activity(self) -> datetime:
        return self.conversation.last_message_at or self.conversation.created_at


def user_of(caller: Caller) -> uuid.UUID:
    """Who talks, as limits and live channels know them: the contact, the guest of a session, the account."""
    return caller.contact_id or caller.conversation_id or caller.account_id


def reached(
    session: Session, reach: Reach, conversation_id: uuid.UUID | str, *, lock: bool = False
) -> Conversation:
    """The conversation, if it is one of those that are reached.

    Raises:
        NotFound: no such conversation, in any shape of an id.
        NotAuthorized: another account's, or somebody else's.

    """
    conversation = own(session, Conversation, conversation_id, lock=lock)
    if not reach.covers(conversation):
        raise NotAuthorized("This conversation is somebody else's.")
    return conversation


def bot_named(session: Session, bot: uuid.UUID | str | None) -> Bot:
    """The bot with this id or name; none, or `default` where no bot is called so: the default one.

    Raises:
        NotFound: there is none. NotAuthorized: another account's.
        InvalidInput: several have this name.

    """
    try:
        checked_text(bot if isinstance(bot, str) else None, "The bot", longest=1000, empty=True)
    except InvalidInput:
        raise NotFound("There is no such bot.") from None
    try:
        return find_bot(session, bot)
    except NotFound:
        if bot != DEFAULT:
            raise
    except InvalidInput:
        if bot is not None:
            raise
        raise NotFound("There is no default bot.") from None
    return bot_named(session, None)


def start(
    session: Session,
    reach: Reach,
    *,
    bot: uuid.UUID | str | None = None,
    text: str | None = None,
    source: str = "api",
    listened: str | None = None,
) -> Started:
    """A new conversation, always, with a bot; with a text, that is said in it.

    Raises:
        NotFound, NotAuthorized: the bot, or a caller who is in one conversation alone.
        InvalidInput: the text. PrivacyFailed: nothing may be stored.

    """
    if reach.conversation_id is not None:
        raise NotAuthorized("A session's token opens no other conversation.")
    chosen = bot_named(session, bot)
    words = None if text is None else checked_words(text)
    conversation = create_conversation(session, bot_id=chosen.id, contact_id=reach.contact_id, source=source)
    if words is None:
        return Started(conversation, None)
    return Started(conversation, _said(session, conversation, words, listened=listened))


def say(
    session: Session,
    reach: Reach,
    conversation_id: uuid.UUID | str,
    text: str,
    *,
    attachments: Sequence[Mapping[str, Any]] = (),
    entities: tuple[Entity, ...] = (),
    meta: Mapping[str, Any] | None = None,
    listened: str | None = None,
) -> Said:
    """Stores what a user says; a bot answers it, with whatever else waits. An archived conversation revives.

    `attachments` are references, or ids of attachments of the conversation (`checked_attachments`).
    `listened` as in core/talking.py: somebody waits for it on the live channel of the run.

    Raises:
        NotFound, NotAuthorized: the conversation, or an attachment. PrivacyFailed: nothing may be stored.
        InvalidInput: the text or an attachment.

    """
    conversation = reached(session, reach, conversation_id, lock=True)
    if conversation.status == ConversationStatus.ARCHIVED:
        conversation.status = ConversationStatus.ACTIVE
    brought = checked_attachments(attachments)
    words = checked_words(text if text.strip() or not brought else _names_of(brought))
    files = [_file(session, conversation.id, one["id"]) for one in brought if "id" in one]
    known = {str(attachment.id): blob for attachment, blob in files}
    told = [_described(one, known.get(one.get("id", ""))) for one in brought]
    said = _said(
        session,
        conversation,
        words,
        entities=entities,
        meta=checked_meta({**(meta or {}), **({"attachments": told} if told else {})}),
        listened=listened,
    )
    for attachment, _ in files:
        attachment.message_id = attachment.message_id or said.message.id
    return said


def _said(
    session: Session,
    conversation: Conversation,
    words: str,
    *,
    entities: tuple[Entity, ...] = (),
    meta: Mapping[str, Any] | None = None,
    listened: str | None = None,
) -> Said:
    run, begins = answering_turn(session, conversation, listened=listened)
    written = append(
        session,
        conversation.id,
        MessageType.USER,
        words,
        run_id=run if begins else None,
        step="prompt" if begins else None,
        entities=entities,
        meta=dict(meta or {}),
    )
    count_usage(session, conversation.account_id, messages=1)
    return Said(written.message, run, begins)


def history(
    session: Session,
    reach: Reach,
    conversation_id: uuid.UUID | str,
    *,
    limit: int = 50,
    before: datetime | None = None,
    after: datetime | None = None,
) -> History:
    """The newest messages, or the oldest after an instant; of two instants those between them.

    A page does not end between messages of one instant, as imports may have, so that the next one misses
    none; it is shorter then.

    Raises:
        NotFound, NotAuthorized: the conversation. InvalidInput: less than one message.

    """
    conversation = reached(session, reach, conversation_id)
    if limit < 1:
        raise InvalidInput("A page holds at least one message.")
    limit = min(limit, MOST_MESSAGES)
    query = SHOWN.where(Message.conversation_id == conversation.id, Message.type.in_(SPOKEN))
    if before is not None:
        query = query.where(Message.created_at < before)
    if after is not None:
        query = query.where(Message.created_at > after)
    order = Message.seq.desc() if after is None else Message.seq
    found = session.execute(query.order_by(order).limit(limit + 1)).all()
    page = _whole_instants(found, limit)
    return History(page if after is not None else page[::-1], len(found) > limit)


def _whole_instants(found: Sequence[Row[Any]], limit: int) -> Sequence[Row[Any]]:
    if len(found) <= limit:
        return found
    beyond = found[limit].created_at
    whole = [row for row in found[:limit] if row.created_at != beyond]
    return whole or found[:limit]


def list_conversations(
    session: Session,
    reach: Reach,
    *,
    bot: uuid.UUID | str | None = None,
    status: str | None = None,
    limit: int = 20,
    offset: int = 0,
) -> tuple[list[Listed], int]:
    """A page of the conversations that are reached, the latest active first, and how many there are in all.

    Raises:
        InvalidInput: an unknown status, or no page.

    """
    if limit < 1 or not 0 <= offset < 2**31:
        raise InvalidInput("A page holds at least one conversation and begins at 0 or later.")
    where = [Conversation.account_id == account_of(session)]
    if reach.conversation_id is not None:
        where.append(Conversation.id == reach.conversation_id)
    elif reach.contact_id is not None:
        where.append(Conversation.contact_id == reach.contact_id)
    if status is not None:
        where.append(Conversation.status == checked_status(status))
    if bot is not None:
        try:
            where.append(Conversation.bot_id == bot_named(session, bot).id)
        except (NotFound, NotAuthorized):
            return [], 0
    total = session.scalar(select(func.count()).select_from(Conversation).where(*where)) or 0
    activity = func.coalesce(Conversation.last_message_at, Conversation.created_at)
    # What is put in order is narrow; a row is read when it is shown. No index has the order: a message would
    # have to rewrite it with every other index of its conversation.
    order = (activity.desc(), Conversation.id)
    shown = select(Conversation.id).where(*where).order_by(*order)
    page = shown.limit(min(limit, MOST_CONVERSATIONS)).offset(offset).scalar_subquery()
    query = select(Conversation, Bot.name).join(Bot, Bot.id == Conversation.bot_id, isouter=True)
    found = session.execute(query.where(Conversation.id.in_(page)).order_by(*order)).all()
    last = _last_of(session, [conversation.id for conversation, _ in found])
    return [Listed(one, name, last.get(one.id)) for one, name in found], total


def _last_of(session: Session, conversation_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Row[Any]]:
    if not conversation_ids:
        return {}
    ids = session.scalars(LAST, {"ids": list(conversation_ids)}).all()
    rows = session.execute(SHOWN.where(Message.id.in_(ids)))
    return {row.conversation_id: row for row in rows}


def set_status(session: Session, reach: Reach, conversation_id: uuid.UUID | str, status: Any) -> Conversation:
    """Archives a conversation, or makes it active again; a second time changes nothing.

    Raises:
        NotFound, NotAuthorized: the conversation. InvalidInput: an unknown status.

    """
    conversation = reached(session, reach, conversation_id, lock=True)
    wanted = checked_status(status)
    if conversation.status != wanted:
        conversation.status, conversation.updated_at = wanted, func.now()
    session.flush()
    return conversation


def checked_status(status: Any) -> ConversationStatus:
    if not isinstance(status, str) or status not in set(ConversationStatus):
        raise InvalidInput(f"The status is one of {', '.join(ConversationStatus)}.")
    return ConversationStatus(status)


def checked_attachments(given: Any) -> list[dict[str, Any]]:
    """What is brought along with a message: `{id}` of an attachment of the conversation, or `{url}` of
    anything else, with what is said of it. What a URL leads to is not fetched.

    Raises:
        InvalidInput: neither, too many, or what cannot be stored.

    """
    return [_checked_attachment(one) for one in listed_attachments(given)]


def listed_attachments(given: Any) -> list[Any]:
    """The list of attachments of a message, none where none is given.

    Raises:
        InvalidInput: no list, or too many.

    """
    if given is None:
        return []
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise InvalidInput("attachments must be a list.")
    if len(given) > MOST_ATTACHMENTS:
        raise InvalidInput(f"A message has up to {MOST_ATTACHMENTS} attachments.")
    return list(given)


def _checked_attachment(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidInput("An attachment is an object.")
    told: dict[str, Any] = {}
    for name, longest in REFERENCE.items():
        value = checked_text(given.get(name), f"An attachment's {name}", longest=longest)
        if value is not None:
            told[name] = value
    size = given.get("size")
    if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**53:
        told["size"] = size
    if isinstance(given.get("id"), str | uuid.UUID):
        return {"id": str(given["id"])}
    for name in ("url", "thumbnail_url"):
        if name in told and not told[name].lower().startswith(("https://", "http://")):
            raise InvalidInput(f"An attachment's {name} is an http(s) address.")
    if "url" not in told:
        raise InvalidInput("An attachment has an id or a url.")
    return told


def _file(session: Session, conversation_id: uuid.UUID, wanted: str) -> tuple[Attachment, Blob]:
    """An attachment of the conversation whose content is there.

    Raises:
        NotFound, NotAuthorized.

    """
    attachment = kept(session, Attachment, wanted)
    stored = select(Blob).where(Blob.attachment_id == attachment.id, Blob.state == BlobState.STORED)
    blob = session.scalar(stored) if attachment.conversation_id == conversation_id else None
    if blob is None:
        raise NotFound("There is no such attachment.")
    return attachment, blob


def _described(one: Mapping[str, Any], blob: Blob | None) -> dict[str, Any]:
    if blob is None:
        return dict(one)
    named = {"filename": blob.name} if blob.name else {}
    return {"id": str(blob.attachment_id), "mime_type": blob.type, "size": blob.size, **named}


def _names_of(brought: Sequence[Mapping[str, Any]]) -> str:
    """What a message says that has attachments and no words."""
    names = [str(one.get("filename") or one.get("attachment_type") or "file") for one in brought]
    return "Attached: " + ", ".join(names)
