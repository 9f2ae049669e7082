"""The parts formats have in common: instants, roles, texts, tool calls, mentions of what is not fetched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from core.importers.records import Conversation, Message, Notes, Unreadable
from core.importers.rows import mended
from models import MAX_TEXT_BYTES

LONGEST_LABEL = 500
LARGEST_EXTRA = 16 * 1024
# Far below 9999, where calendars end; in milliseconds and microseconds these are still far apart.
_SECONDS, _MILLISECONDS, _MICROSECONDS = 1e11, 1e14, 1e17
_WORD = re.compile(r"[^\W_]")
_EARLY = datetime.min.replace(tzinfo=UTC)
_PLAIN_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,20})?")

ROLES: Mapping[str, str] = {
    "user": "user",
    "human": "user",
    "customer": "user",
    "prompter": "user",
    "assistant": "bot",
    "bot": "bot",
    "ai": "bot",
    "gpt": "bot",
    "chatgpt": "bot",
    "bing": "bot",
    "bard": "bot",
    "model": "bot",
    "system": "context",
    "developer": "context",
    "context": "context",
    "tool": "activity",
    "function": "activity",
    "observation": "activity",
    "function_call": "activity",
    "activity": "activity",
    "reasoning": "reasoning",
    "instruction": "instruction",
    "backstory": "backstory",
    "checkpoint": "checkpoint",
}


@dataclass
class Said:
    """One thing of what a message of the source says; it may say several: a thought, an answer, a call."""

    type: str
    text: str = field(repr=False)
    meta: dict[str, Any] = field(default_factory=dict, repr=False)
    name: str | None = field(default=None, repr=False)
    description: str | None = field(default=None, repr=False)


def instant(value: Any, notes: Notes) -> datetime | None:
    """An instant in UTC of epoch seconds, milliseconds, micro- or nanoseconds, or ISO 8601; else None.

    Zero is how programs say that they do not know. A time without an offset is UTC.
    """
    if value is None or value in ("", 0):
        return None
    if isinstance(value, str):
        found = _number(value) if _PLAIN_NUMBER.fullmatch(value.strip()) else _iso(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = _number(value)
    else:
        found = None
    if found is None:
        notes.unknown("time")
    return found


def _number(value: float | str) -> datetime | None:
    try:
        seconds = float(value)
        if seconds >= _MICROSECONDS:
            seconds /= 1e9
        elif seconds >= _MILLISECONDS:
            seconds /= 1e6
        elif seconds >= _SECONDS:
            seconds /= 1e3
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None


def _iso(value: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if 1970 <= found.year <= 9000 else None


def label(value: Any) -> str | None:
    """A short text, cut to what a name may be."""
    return value[:LONGEST_LABEL] if isinstance(value, str) and value.strip() else None


def identity(value: Any) -> str | None:
    """A key of the source's own: a text or a whole number; what is too long to be one is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_LABEL else None


def mapping(value: Any) -> Mapping[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> Sequence[Any]:
    """An array, or an empty one."""
    return value if isinstance(value, list) else ()


def said(value: Any) -> str:
    """A text, or nothing."""
    return value if isinstance(value, str) else ""


def plain_json(value: Any) -> str:
    """A value as text; a text is itself."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        raise Unreadable("too_deep") from None


def extra(value: Any) -> Any:
    """A value as meta keeps it beside the text: what is large stays in the text alone."""
    try:
        return value if len(orjson.dumps(value)) <= LARGEST_EXTRA else None
    except TypeError:
        return None


def checked_extra(value: Any) -> dict[str, Any]:
    """The source's own meta, as far as ours may hold it."""
    kept = extra(value) if isinstance(value, dict) else None
    return {key: inner for key, inner in (kept or {}).items() if _WORD.match(key)}


def by_time(messages: list[Message]) -> list[Message]:
    """In the order they were said, where each tells when; else as they stand."""
    if any(message.created_at is None for message in messages):
        return messages
    return sorted(messages, key=lambda message: message.created_at or _EARLY)


def call(name: Any, arguments: Any, **meta: Any) -> Said:
    """A tool that was called. Arguments that are JSON in a text are read."""
    called = label(name) or "tool"
    given = _read(arguments)
    text = f"{called}({plain_json(given) if given is not None else ''})"
    kept = extra(given)
    function = {"name": called, "arguments": kept if isinstance(kept, dict) else {}}
    return Said("activity", text, {"activity": {"type": "request", "function": function}, **meta})


def result(name: Any, value: Any, **meta: Any) -> Said:
    """What a tool answered."""
    called = label(name) or "tool"
    text = plain_json(value) if value not in (None, "", [], {}) else f"{called}: no answer"
    function = {"name": called, "arguments": {}, "result": extra(value)}
    return Said("activity", text, {"activity": {"type": "response", "function": function}, **meta})


def inner_json(text: str) -> Any:
    """The value of JSON that stands in a text, with what cannot be stored mended there as well.

    Raises:
        ValueError: it is none. Unreadable.

    """
    value = orjson.loads(text)
    return mended(value, Notes()) if "\\u0000" in text else value


def _read(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return inner_json(arguments)
    except ValueError:
        return arguments


def mention(kind: str, name: Any = None) -> str:
    """The words that stand for an attachment."""
    named = label(name)
    return f"[{kind}: {named}]" if named else f"[{kind}]"


def short(value: Any) -> dict[str, Any]:
    """The meta of what is set: texts are cut, what is no plain value is left out."""
    kept: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, str) and inner:
            kept[key] = inner[:LONGEST_LABEL]
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            kept[key] = inner
        elif inner is True:
            kept[key] = True
        elif isinstance(inner, list) and inner:
            kept[key] = [each[:LONGEST_LABEL] for each in inner[:100] if isinstance(each, str)]
    return {key: inner for key, inner in kept.items() if inner != []}


def messages_of(
    key: str,
    parts: Sequence[Said],
    created_at: datetime | None,
    updated_at: datetime | None = None,
    *,
    above: str | None = None,
    branch: str | None = None,
) -> Iterator[Message]:
    """The messages that one of the source becomes, below one another and `above`: each part its own.

    A text too long becomes several. The first has the source's key, the others the key and their place.
    """
    marks = {} if branch is None else {"branch": branch, "archived": True}
    place = 0
    for part in parts:
        if not part.text.strip():
            continue
        texts = pieces(part.text)
        for number, piece in enumerate(texts, 1):
            cut = {"part": f"{number}/{len(texts)}"} if len(texts) > 1 else {}
            own = key if place == 0 else f"{key}#{place}"
            yield Message(
                key=own,
                type=part.type,
                text=piece,
                created_at=created_at,
                updated_at=updated_at,
                name=part.name,
                description=part.description,
                meta={**part.meta, **cut, **marks},
                parent_key=above,
                active=branch is None,
            )
            above = own
            place += 1


def in_line(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Messages that follow one another: each has the one before for its parent. Equal keys are told apart."""
    told = list(messages)
    keys = distinct(message.key for message in told)
    above = [None, *keys]
    return tuple(
        replace(message, key=key, parent_key=parent)
        for message, key, parent in zip(told, keys, above, strict=False)
    )


def distinct(keys: Iterable[str]) -> list[str]:
    """The keys, the second of equal ones as `key~2`."""
    taken: set[str] = set()
    counts: dict[str, int] = {}
    made = []
    for key in keys:
        own = key
        while own in taken:
            counts[key] = counts.get(key, 1) + 1
            own = f"{key}~{counts[key]}"
        taken.add(own)
        made.append(own)
    return made


def spanned(conversation: Conversation) -> Conversation:
    """The conversation with the times its messages tell, where it has none of its own."""
    times = [message.created_at for message in conversation.messages if message.created_at]
    if not times or (conversation.created_at and conversation.updated_at):
        return conversation
    return replace(
        conversation,
        created_at=conversation.created_at or min(times),
        updated_at=conversation.updated_at or max(times),
    )


def pieces(text: str) -> list[str]:
    """A text in pieces that can be stored, cut between characters; together they are the text.

    A piece of blanks alone cannot be stored and goes with the one before it, unless that makes it too long.
    """
    if len(text) * 4 <= MAX_TEXT_BYTES or len(text.encode()) <= MAX_TEXT_BYTES:
        return [text]
    raw, found, at = text.encode(), [], 0
    while at < len(raw):
        end = min(at + MAX_TEXT_BYTES, len(raw))
        while end < len(raw) and raw[end] & 0xC0 == 0x80:
            end -= 1
        found.append(raw[at:end].decode())
        at = end
    return [piece for piece in found if piece.strip()]
