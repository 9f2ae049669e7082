"""Crontalk's own JSONL, which an import gives back as it was.

The first line says what this is and its version, the last one how much it was, with the SHA-256 of every
byte before it: a file that was cut or changed is known as such. Between them each line is a conversation;
a large one goes on in the next lines, which have its key again and only `messages`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from core.exporters.writer import Totals, Wrote
from core.importers.records import MEBIBYTE, Attachment, Contact, Conversation, Message
from core.privacy.choosing import Entry

FORMAT = "crontalk"
VERSION = 2
# A line is held in memory by whoever reads it.
LINE = 4 * MEBIBYTE


def written(conversations: Iterable[Conversation], about: Mapping[str, Any] | None = None) -> Iterator[bytes]:
    """The lines of an export. `about` joins the first line: what was asked for, when, by which filter."""
    digest, rows, said = hashlib.sha256(), 0, 0
    first = head_line(about or {})
    digest.update(first)
    yield first
    for conversation in conversations:
        for line in conversation_lines(conversation):
            digest.update(line)
            yield line
        rows += 1
        said += len(conversation.messages)
    yield end_line(Totals(rows, said, digest.hexdigest()))


class OwnWriter:
    """Writes parts of conversations; it remembers nothing from one to the next."""

    digests = True

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        del state
        self.state: dict[str, Any] = {}

    def head(self, about: Mapping[str, Any]) -> bytes:
        return head_line(about)

    def part(self, conversation: Conversation, *, first: bool, last: bool) -> Wrote:
        del last
        if not first and not conversation.messages:
            return Wrote(b"")
        lines = b"".join(conversation_lines(conversation, continued=not first))
        return Wrote(lines, Counter(message.type for message in conversation.messages))

    def tail(self, totals: Totals) -> bytes:
        return end_line(totals)


def head_line(about: Mapping[str, Any]) -> bytes:
    return line_of({"format": FORMAT, "version": VERSION, **about})


def end_line(totals: Totals) -> bytes:
    told = {"conversations": totals.conversations, "messages": totals.messages, "sha256": totals.sha256}
    return line_of({"end": told})


def conversation_lines(conversation: Conversation, *, continued: bool = False) -> Iterator[bytes]:
    """The line of a conversation, or the lines of a large one. `continued`: it began in a line before."""
    more = {"key": conversation.key, "continued": True}
    head = more if continued else conversation_document(conversation)
    batch: list[bytes] = []
    size = 0
    for message in conversation.messages:
        document = dumped(message_document(message))
        if batch and size + len(document) > LINE:
            yield _joined(head, batch)
            head, batch, size = more, [], 0
        batch.append(document)
        size += len(document)
    yield _joined(head, batch)


def _joined(head: Mapping[str, Any], messages: Sequence[bytes]) -> bytes:
    """The line of a head and messages that are JSON already."""
    return b'%s,"messages":[%s]}\n' % (dumped(head)[:-1], b",".join(messages))


def conversation_document(conversation: Conversation) -> dict[str, Any]:
    """A conversation without its messages; what is not set is left out."""
    document = _set(
        {
            "key": conversation.key,
            "title": conversation.title,
            "description": conversation.description,
            "createdAt": _iso(conversation.created_at),
            "updatedAt": _iso(conversation.updated_at),
            "meta": conversation.meta,
            "contact": _contact(conversation.contact),
            "source": conversation.source,
            "status": conversation.status,
            "model": conversation.model,
            "backstory": conversation.backstory,
            "moderation": conversation.moderation or None,
            "privacy": conversation.privacy or None,
            "expiresAt": _iso(conversation.expires_at),
            "attachments": attachment_documents(conversation.attachments),
            "links": conversation.links,
        }
    )
    if conversation.policy is not None:  # an empty one is one
        document["privacyPolicy"] = conversation.policy
    return document


def message_document(message: Message) -> dict[str, Any]:
    """A message; what is not set is left out, as is `active` where it is true."""
    document: dict[str, Any] = {"key": message.key, "type": message.type, "text": message.text}
    if message.name is not None:
        document["name"] = message.name
    if message.description is not None:
        document["description"] = message.description
    if message.created_at is not None:
        document["createdAt"] = message.created_at.isoformat()
    if message.updated_at is not None:
        document["updatedAt"] = message.updated_at.isoformat()
    if message.parent_key is not None:
        document["parent"] = message.parent_key
    if message.meta:
        document["meta"] = message.meta
    if message.entities:
        document["entities"] = [_entity(one) for one in message.entities]
    if message.attachments:
        document["attachments"] = attachment_documents(message.attachments)
    return document if message.active else {**document, "active": False}


def attachment_documents(attachments: Sequence[Attachment]) -> list[dict[str, Any]] | None:
    """What is told of files: never their content."""
    return [_set({"name": one.name, "type": one.type, "size": one.size}) for one in attachments] or None


def line_of(document: Mapping[str, Any] | Sequence[Any]) -> bytes:
    return dumped(document) + b"\n"


def dumped(value: Any) -> bytes:
    """JSON of what PostgreSQL holds: numbers beyond 64 bits and the deepest metas too."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _entity(one: Entry) -> dict[str, Any]:
    return {
        "type": one.type,
        "begin": one.begin,
        "end": one.end,
        "score": one.score,
        "source": one.source,
        "operator": one.operator.value,
    }


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
