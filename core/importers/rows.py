"""From the raw bytes of a row to its value: mended where a text was cut, refused where it is ambiguous."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from core.importers.deep import parse_deep
from core.importers.records import MEBIBYTE, Limits, Notes, Unreadable

# Halves of surrogate pairs, which cut emoji leave behind, and NUL: what PostgreSQL cannot store.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
MENDED = "\ufffd"


def parse(raw: bytes, notes: Notes, limits: Limits) -> Any:
    """The value of a row.

    NUL and halves of surrogate pairs become U+FFFD, and NaN becomes null; each is counted. Of two equal
    keys nobody can tell which counts, so there is no value.

    Raises:
        Unreadable.

    """
    if len(raw) > MEBIBYTE and sum(map(raw.count, (b",", b"[", b"{"))) > limits.values:
        raise Unreadable("too_many_values")
    try:
        value = orjson.loads(raw)  # which takes no half of a pair, and NUL only escaped
        if orjson.dumps(value).count(b'":') == raw.count(b'":'):
            return mended(value, notes) if b"\\u0000" in raw else value
    except (ValueError, TypeError):
        pass
    # Blanks before colons, escaped quotes, a key twice, no JSON, or fine to read and too deep to write.
    value = _loads(raw, notes)
    return mended(value, notes) if b"\\u" in raw or b"\0" in raw else value


def row_object(raw: bytes, notes: Notes, limits: Limits) -> dict[str, Any]:
    """A row as the object it must be.

    Raises:
        Unreadable.

    """
    value = parse(raw, notes, limits)
    if not isinstance(value, dict):
        raise Unreadable("not_an_object")
    return value


def mended(value: Any, notes: Notes) -> Any:
    """The same value, with every text and key storable; containers are changed in place."""
    top = [value]
    waiting: list[Any] = [top]
    while waiting:
        holder = waiting.pop()
        pairs = holder.items() if isinstance(holder, dict) else enumerate(holder)
        keys = [key for key in holder if _UNSTORABLE.search(key)] if isinstance(holder, dict) else ()
        for place, inner in pairs:
            if isinstance(inner, str):
                if _UNSTORABLE.search(inner):
                    holder[place] = mended_text(inner, notes)
            elif isinstance(inner, dict | list):
                waiting.append(inner)
        for key in keys:
            fresh = mended_text(key, notes)
            if fresh in holder:
                raise Unreadable("duplicate_key")
            holder[fresh] = holder.pop(key)
    return top[0]


def mended_text(text: str, notes: Notes) -> str:
    """A text with U+FFFD for what cannot be stored."""
    fresh, count = _UNSTORABLE.subn(MENDED, text)
    if count:
        notes.unknown("mended_text")
    return fresh


def _loads(raw: bytes, notes: Notes) -> Any:
    """The slow reading, which looks at every key and forgives what programs do write."""

    def constant(_: str) -> None:
        notes.unknown("not_a_number")

    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Unreadable("bad_utf8") from None
    try:
        return json.loads(text, strict=False, object_pairs_hook=_unique, parse_constant=constant)
    except RecursionError:
        return parse_deep(text)
    except ValueError:
        raise Unreadable("not_json") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Unreadable("duplicate_key")
    return value
