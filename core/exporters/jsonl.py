"""Crontalk's own JSONL, which an import gives back as it was.

The first line says what this is and its version, the last one how much it was, with the SHA-256 of every
byte before it: a file that was cut or changed is known as such. Between them each line is a conversation;
a large one goes on in the next lines, which have its key again and only `messages`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from core.importers.records import MEBIBYTE, Contact, Conversation, Message

FORMAT = "crontalk"
VERSION = 1
# A line is held in memory by whoever reads it.
LINE = 4 * MEBIBYTE


def written(conversations: Iterable[Conversation], about: Mapping[str, Any] | None = None) -> Iterator[bytes]:
    """The lines of an export. `about` joins the first line: what was asked for, when, by which filter."""
    digest, rows, said = hashlib.sha256(), 0, 0
    first = _line({"format": FORMAT, "version": VERSION, **(about or {})})
    digest.update(first)
    yield first
    for conversation in conversations:
        for line in conversation_lines(conversation):
            digest.update(line)
            yield line
        rows += 1
        said += len(conversation.messages)
    yield _line({"end": {"conversations": rows, "messages": said, "sha256": digest.hexdigest()}})


def conversation_lines(conversation: Conversation) -> Iterator[bytes]:
    """The line of a conversation, or the lines of a large one."""
    head = conversation_document(conversation)
    batch: list[dict[str, Any]] = []
    size = 0
    for message in conversation.messages:
        document = message_document(message)
        length = len(orjson.dumps(document))
        if batch and size + length > LINE:
            yield _line({**head, "messages": batch})
            head, batch, size = {"key": conversation.key, "continued": True}, [], 0
        batch.append(document)
        size += length
    yield _line({**head, "messages": batch})


def conversation_document(conversation: Conversation) -> dict[str, Any]:
    """A conversation without its messages; what is not set is left out."""
    return _set(
        {
            "key": conversation.key,
            "title": conversation.title,
            "description": conversation.description,
            "createdAt": _iso(conversation.created_at),
            "updatedAt": _iso(conversation.updated_at),
            "meta": conversation.meta,
            "contact": _contact(conversation.contact),
        }
    )


def message_document(message: Message) -> dict[str, Any]:
    """A message; what is not set is left out, as is `active` where it is true."""
    document = _set(
        {
            "key": message.key,
            "type": message.type,
            "text": message.text,
            "name": message.name,
            "description": message.description,
            "createdAt": _iso(message.created_at),
            "updatedAt": _iso(message.updated_at),
            "parent": message.parent_key,
            "meta": message.meta,
        }
    )
    return document if message.active else {**document, "active": False}


def _contact(contact: Contact | None) -> dict[str, Any] | None:
    if contact is None:
        return None
    return _set(
        {
            "key": contact.key,
            "name": contact.name,
            "email": contact.email,
            "phone": contact.phone,
            "nick": contact.nick,
            "meta": contact.meta,
        }
    )


def _set(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None and value != {}}


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


def _line(document: Mapping[str, Any] | Sequence[Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
