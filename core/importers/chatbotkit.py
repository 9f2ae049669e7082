"""Conversations of ChatBotKit and of General Bots: what their APIs answer, saved to files.

ChatBotKit lists conversations and messages apart. Conversations may hold their `messages`, or lie in an
archive beside a file of messages for each, which is named after the conversation's id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from core.importers.parts import (
    ROLES,
    Said,
    by_time,
    checked_extra,
    identity,
    in_line,
    instant,
    label,
    listed,
    mapping,
    mention,
    messages_of,
    said,
    short,
    spanned,
)
from core.importers.records import Contact, Conversation, Message, Notes, Unreadable, short_digest
from models import MessageType

Beside = Callable[[str], Iterator[Mapping[str, Any]]]
TYPES = frozenset(MessageType)


def read_chatbotkit(
    row: Mapping[str, Any], notes: Notes, beside: Beside | None = None
) -> Iterator[Conversation]:
    """One conversation; a frame of a stream counts as what is in it.

    Raises:
        Unreadable: `no_conversation`.

    """
    if row.get("type") == "item" and isinstance(row.get("data"), dict):
        row = row["data"]
    key = identity(row.get("id"))
    if key is None or "text" in row:
        raise Unreadable("no_conversation")
    told: Iterator[Any] = iter(listed(row.get("messages")))
    if "messages" not in row and beside:
        told = beside(key)
    messages = [message for each in told for message in _messages(each, notes)]
    messages = by_time(messages)
    contact = identity(row.get("contactId"))
    kept = checked_extra(row.get("meta"))
    yield spanned(
        Conversation(
            key=key,
            title=label(row.get("name")),
            description=label(row.get("description")),
            created_at=instant(row.get("createdAt"), notes),
            updated_at=instant(row.get("updatedAt"), notes),
            meta={
                **kept,
                **short(
                    {
                        "task": row.get("taskId"),
                        "space": row.get("spaceId"),
                        "bot": row.get("botId"),
                        "model": row.get("model"),
                    }
                ),
            },
            messages=in_line(messages),
            contact=Contact(contact) if contact else None,
        )
    )


def _messages(message: Any, notes: Notes) -> Iterator[Message]:
    inner = mapping(message)
    if inner.get("type") == "item" and isinstance(inner.get("data"), dict):
        inner = inner["data"]
    kind, text = inner.get("type"), inner.get("text")
    if not isinstance(text, str):
        notes.reject("bad_message")
        return
    if not isinstance(kind, str) or kind not in TYPES:
        notes.unknown("role", kind)
        kind = "context"
    meta = checked_extra(inner.get("meta"))
    created = instant(inner.get("createdAt"), notes)
    key = identity(inner.get("id")) or short_digest("message", kind, text, str(created))
    part = Said(kind, text, meta, label(inner.get("name")), label(inner.get("description")))
    yield from messages_of(key, [part], created, instant(inner.get("updatedAt"), notes))


def read_generalbots(row: Mapping[str, Any], notes: Notes) -> Iterator[Conversation]:
    """One history, which does not say whose it is: its key is the conversation's, where it is told, or
    follows from its first message.

    Raises:
        Unreadable: `no_conversation`.

    """
    spoken = row.get("messages")
    if not isinstance(spoken, list):
        raise Unreadable("no_conversation")
    messages: list[Message] = []
    for at, message in enumerate(spoken):
        inner = mapping(message)
        text = inner.get("content")
        if not isinstance(text, str):
            notes.reject("bad_message")
            continue
        kind = ROLES.get(said(inner.get("sender")))
        if kind is None:
            notes.unknown("role", inner.get("sender"))
        files = [mention("file", mapping(file).get("name")) for file in listed(inner.get("attachments"))]
        parts = [Said(kind or "context", text)]
        if files:
            parts.append(Said("context", "\n".join(files), {"attachments": len(files)}))
        key = identity(inner.get("id")) or f"message-{at}"
        messages += messages_of(key, parts, instant(inner.get("timestamp"), notes))
    if row.get("has_more") is True:
        notes.unknown("history_goes_on")
    messages = by_time(messages)
    told = identity(row.get("conversation_id")) or identity(row.get("session_id"))
    first = (messages[0].key, messages[0].text) if messages else ()
    yield spanned(
        Conversation(
            key=told or short_digest("generalbots", *first),
            title=label(row.get("title")),
            created_at=instant(row.get("created_at"), notes),
            updated_at=instant(row.get("updated_at"), notes),
            meta=short({"bot": row.get("bot_id"), "incomplete": row.get("has_more") is True}),
            messages=in_line(messages),
        )
    )
