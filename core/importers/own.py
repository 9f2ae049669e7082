"""Crontalk's own JSONL (core/exporters/jsonl.py), read back without loss.

Version 1 knew less of a conversation; every line of it means in version 2 what it meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from core.importers.parts import identity, listed, mapping, pieces
from core.importers.records import (
    Attachment,
    Contact,
    Conversation,
    Limits,
    Message,
    Notes,
    Reject,
    Unreadable,
)
from core.importers.rows import mended, row_object
from core.privacy.choosing import Entry
from core.privacy.presets import Operator
from models import ConversationStatus, MessageType

FORMAT = "crontalk"
VERSIONS = frozenset({1, 2})
BAD = (KeyError, TypeError, ValueError, OverflowError)
_TYPES = frozenset(MessageType)


def read_export(
    lines: Iterator[bytes | str], notes: Notes, limits: Limits, after: int = 0
) -> Iterator[Conversation | Reject]:
    """The conversations of an export, and what is wrong with the file as a whole.

    Raises:
        Unreadable: `no_conversation`, when the first line is not that of an export we know.

    """
    first = next(lines, b"")
    about = row_object(first, notes, limits) if isinstance(first, bytes) else {}
    if about.get("format") != FORMAT or about.get("version") not in VERSIONS:
        raise Unreadable("no_conversation")
    digest = hashlib.sha256(first if isinstance(first, bytes) else b"")
    end: Mapping[str, Any] | None = None
    row = 0
    for row, line in enumerate(lines, 1):
        if end is not None:
            yield Reject(row, "trailing")
            return
        try:
            end = _end(line, notes, limits)
            if end is None and row > after:
                yield _conversation(_object(line, notes, limits), row, notes)
        except Unreadable as why:
            yield Reject(row, str(why))
        if end is None and isinstance(line, bytes):
            digest.update(line)
        while notes.rejects:
            yield Reject(row, notes.rejects.pop())
    if end is None:
        yield Reject(row + 1, "truncated")
    elif end.get("sha256") != digest.hexdigest():
        yield Reject(row, "digest_mismatch")


def read_items(items: Sequence[Any]) -> Iterator[Conversation | Reject]:
    """The conversations of a few documents in the shape of an export's lines; rows count from 1."""
    for row, item in enumerate(items, 1):
        notes = Notes()
        try:
            yield _conversation(mended(mapping(item), notes), row, notes)
        except Unreadable as why:
            yield Reject(row, str(why))
        yield from (Reject(row, code) for code in notes.rejects)


def _end(line: bytes | str, notes: Notes, limits: Limits) -> Mapping[str, Any] | None:
    if isinstance(line, str) or not line.startswith(b'{"end":'):
        return None
    end = row_object(line, notes, limits).get("end")
    return end if isinstance(end, dict) else None


def _object(line: bytes | str, notes: Notes, limits: Limits) -> dict[str, Any]:
    if isinstance(line, str):
        raise Unreadable(line)
    return row_object(line, notes, limits)


def _conversation(document: Mapping[str, Any], row: int, notes: Notes) -> Conversation:
    key = identity(document.get("key"))
    if key is None:
        raise Unreadable("no_conversation")
    messages: list[Message] = []
    for message in listed(document.get("messages")):
        try:
            messages += _parted(_message(mapping(message)), notes)
        except BAD:
            notes.reject("bad_message")
    try:
        return Conversation(
            key=key,
            title=_text(document, "title"),
            description=_text(document, "description"),
            created_at=_instant(document, "createdAt"),
            updated_at=_instant(document, "updatedAt"),
            meta=_meta(document),
            messages=tuple(messages),
            contact=_contact(document.get("contact")),
            row=row,
            **_settings(document),
        )
    except BAD:
        raise Unreadable("no_conversation") from None


def _settings(document: Mapping[str, Any]) -> dict[str, Any]:
    """What version 2 added: what a conversation says of itself, and where it came from."""
    status, policy, links = (document.get(name) for name in ("status", "privacyPolicy", "links"))
    if status is not None and status not in set(ConversationStatus):
        raise ValueError
    if policy is not None and not isinstance(policy, dict):
        raise TypeError
    return {
        **{name: _text(document, name) for name in ("source", "status", "model", "backstory")},
        "moderation": document.get("moderation") is True,
        "privacy": document.get("privacy") is True,
        "policy": policy,
        "expires_at": _instant(document, "expiresAt"),
        "attachments": _attachments(document),
        "links": {name: str(value) for name, value in mapping(links).items() if isinstance(value, str)},
    }


def _message(document: Mapping[str, Any]) -> Message:
    key, text, kind = identity(document["key"]), document["text"], document["type"]
    if key is None or not isinstance(text, str) or not text.strip() or kind not in _TYPES:
        raise ValueError
    if len(document) == 3:  # nothing more is told of it
        return Message(key, kind, text)
    return Message(
        key=key,
        type=kind,
        text=text,
        created_at=_instant(document, "createdAt"),
        updated_at=_instant(document, "updatedAt"),
        name=_text(document, "name"),
        description=_text(document, "description"),
        meta=_meta(document),
        parent_key=_text(document, "parent"),
        active=document.get("active") is not False,
        entities=tuple([_entity(mapping(one), text) for one in listed(document.get("entities"))]),
        attachments=_attachments(document) if "attachments" in document else (),
    )


def _parted(message: Message, notes: Notes) -> Sequence[Message]:
    """The message, or where its text is too long to store the several that together are it."""
    texts = pieces(message.text)
    if len(texts) == 1 and texts[0] == message.text:
        return (message,)
    if len(texts) > 1 and message.entities:
        notes.reject("too_long")
        return ()
    return [
        replace(
            message,
            key=message.key if number == 1 else f"{message.key}#{number - 1}",
            text=piece,
            meta={**message.meta, "part": f"{number}/{len(texts)}"} if len(texts) > 1 else message.meta,
        )
        for number, piece in enumerate(texts, 1)
    ]


def _entity(document: Mapping[str, Any], text: str) -> Entry:
    begin, end, score = document["begin"], document["end"], document["score"]
    if not (type(begin) is type(end) is int and 0 <= begin < end <= len(text)):
        raise ValueError
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise TypeError
    kind, source = _text(document, "type"), _text(document, "source")
    if kind is None or source is None:
        raise ValueError
    return Entry(kind, begin, end, float(score), source, Operator(document["operator"]))


def _attachments(document: Mapping[str, Any]) -> tuple[Attachment, ...]:
    found = []
    for one in listed(document.get("attachments")):
        told, size = mapping(one), mapping(one).get("size")
        if size is not None and type(size) is not int:
            raise TypeError
        found.append(Attachment(_text(told, "name"), _text(told, "type"), size))
    return tuple(found)


def _contact(document: Any) -> Contact | None:
    if document is None:
        return None
    key = identity(document["key"])
    if key is None:
        raise ValueError
    texts = {name: _text(document, name) for name in ("name", "email", "phone", "nick")}
    return Contact(key, **texts, meta=_meta(document))


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise TypeError
    return value


def _instant(document: Mapping[str, Any], name: str) -> datetime | None:
    value = _text(document, name)
    if value is None:
        return None
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError
    return found.astimezone(UTC)  # which some of the first and of the last year have no place in


def _meta(document: Mapping[str, Any]) -> dict[str, Any]:
    value = document.get("meta", {})
    if not isinstance(value, dict):
        raise TypeError
    return value
