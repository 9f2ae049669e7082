"""A file's text cut into records: pure. Plain text and Markdown by separators, CSV by row, JSON by item."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from core.errors import InvalidInput

MOST_RECORDS = 10_000
BYTES_A_TOKEN = 4
MAX_TOKENS = 1000
PARAGRAPHS = ["\n\n"]
TEXTS = frozenset({"text/plain", "text/markdown", "text/x-markdown"})
TABLES = frozenset({"text/csv", "application/csv"})
OBJECTS = frozenset({"application/json"})
ENDINGS = {
    "txt": "text/plain",
    "md": "text/markdown",
    "markdown": "text/markdown",
    "csv": "text/csv",
    "json": "application/json",
}


@dataclass(frozen=True)
class Piece:
    """A record to be."""

    text: str
    source: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def split(
    content: bytes,
    kind: str,
    name: str | None,
    *,
    separators: str | None = None,
    max_tokens: float | None = None,
) -> list[Piece]:
    """The records of a file, in its order; what is longer than `max_tokens` is cut between words.

    Raises:
        InvalidInput: not a text file we can read, malformed, or more than 10,000 records.

    """
    kind = _kind(kind, name)
    try:
        written = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("The file is not UTF-8 text.") from None
    if "\x00" in written:
        raise InvalidInput("The file holds a NUL character, so it is no text.")
    if kind in TABLES:
        pieces = _rows(written)
    elif kind in OBJECTS:
        pieces = _items(written)
    else:
        pieces = (Piece(part) for part in _parts(written, _separators(separators)))
    longest = int(max_tokens or MAX_TOKENS) * BYTES_A_TOKEN
    found = []
    for piece in pieces:
        for part in _cut(piece.text, longest):
            found.append(Piece(part, piece.source, piece.meta))
            if len(found) > MOST_RECORDS:
                raise InvalidInput(f"The file makes more than {MOST_RECORDS} records.")
    return found


def _kind(kind: str, name: str | None) -> str:
    """The type, or what the name's ending says of bytes that came without one."""
    known = TEXTS | TABLES | OBJECTS
    if kind not in known:
        kind = ENDINGS.get((name or "").rpartition(".")[2].lower(), kind)
    if kind not in known:
        raise InvalidInput("Only text, Markdown, CSV and JSON files can be made into records.")
    return kind


def _separators(written: str | None) -> list[str]:
    r"""Separators by commas; `\n` and `\t` may be written as such. None given: blank lines."""
    if not written:
        return PARAGRAPHS
    parts = [part.replace("\\n", "\n").replace("\\t", "\t") for part in written.split(",")]
    return [part for part in parts if part] or PARAGRAPHS


def _parts(written: str, separators: list[str]) -> Iterator[str]:
    lines = written.replace("\r\n", "\n").replace("\r", "\n")
    if separators == PARAGRAPHS:
        lines = re.sub(r"\n[ \t]+(?=\n)", "\n", lines)
    for part in re.split("|".join(re.escape(one) for one in separators), lines):
        if part.strip():
            yield part.strip()


def _rows(written: str) -> Iterator[Piece]:
    """A row is a record: its `text` column with the others as meta, or all columns by name."""
    reader = csv.DictReader(io.StringIO(written, newline=""), restkey="", restval="")
    try:
        for row in reader:
            values = {key: value for key, value in row.items() if key and isinstance(value, str) and value}
            if not values:
                continue
            if "text" in values:
                text, source = values.pop("text"), values.pop("source", None)
                yield Piece(text, source, _storable(values))
            else:
                yield Piece("\n".join(f"{key}: {value}" for key, value in values.items()))
    except csv.Error:
        raise InvalidInput("The file is not CSV.") from None


def _items(written: str) -> Iterator[Piece]:
    """An array's items, or those of `records` or `items`: texts, or objects with text, source and meta."""
    try:
        value = json.loads(written, parse_constant=_refuse, parse_float=_float)
        if isinstance(value, dict):
            value = next(
                (value[key] for key in ("records", "items") if isinstance(value.get(key), list)), [value]
            )
        for item in value if isinstance(value, list) else [value]:
            piece = _item(item)
            piece.text.encode()
            if piece.text.strip():
                yield piece
    except (ValueError, RecursionError):
        raise InvalidInput("The file is not JSON that can be stored.") from None


def _item(item: Any) -> Piece:
    if isinstance(item, str):
        return Piece(item)
    if isinstance(item, dict) and isinstance(item.get("text"), str):
        source, meta = item.get("source"), item.get("meta")
        return Piece(
            item["text"],
            source if isinstance(source, str) and source else None,
            _storable(meta) if isinstance(meta, dict) else {},
        )
    return Piece(json.dumps(item, ensure_ascii=False, indent=1))


def _storable(meta: dict[str, Any]) -> dict[str, Any]:
    """Meta without the keys that meta does not keep (contract 1.4)."""
    return {key: value for key, value in meta.items() if re.match(r"[^\W_]", key)}


def _cut(written: str, longest: int) -> Iterator[str]:
    """Parts of at most so many bytes, between words where there is a space in the last half."""
    if not written.strip():
        return
    rest = written.encode()
    while len(rest) > longest:
        part = rest[:longest].decode(errors="ignore") or rest[:4].decode(errors="ignore")
        space = max(part.rfind(" "), part.rfind("\n"))
        if space > len(part) // 2:
            part = part[: space + 1]
        rest = rest[len(part.encode()) :]
        if part.strip():
            yield part.strip()
    if rest.strip():
        yield rest.decode().strip()


def _refuse(_: str) -> NoReturn:
    raise ValueError


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError
    return value
