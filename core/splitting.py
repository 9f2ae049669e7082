"""A file's text cut into records: pure. Text by separators or headings, CSV by row, JSON by item.

A record says where it stands: the page, or the headings above it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from core.extracting import MARKDOWN, OBJECTS, TABLES, Extracted, Part, Unreadable, extract

MOST_RECORDS = 10_000
BYTES_A_TOKEN = 4
MAX_TOKENS = 1000
WORTHWHILE = 800  # bytes: shorter paragraphs of one section become a record together
PARAGRAPHS = ["\n\n"]
ATX = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*")
UNDERLINE = re.compile(r"(=+|-+)[ \t]*")
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
LONGEST_PLACE = 400


@dataclass(frozen=True)
class Piece:
    """A record to be. `place` is where in the file it stands, such as "page 3"."""

    text: str
    source: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    place: str | None = None


def split(
    content: bytes,
    kind: str,
    name: str | None,
    *,
    separators: str | None = None,
    max_tokens: float | None = None,
) -> list[Piece]:
    """The records of a file; see `extract` and `split_extracted`."""
    return split_extracted(extract(content, kind, name), separators=separators, max_tokens=max_tokens)


def split_extracted(
    extracted: Extracted, *, separators: str | None = None, max_tokens: float | None = None
) -> list[Piece]:
    """The records of a file, in its order; what is longer than `max_tokens` is cut between words.

    Plain text is cut at blank lines. Markdown, HTML, PDF and Word keep to their headings and pages, and short
    paragraphs under one heading become a record together. Separators that are given are all that counts.

    Raises:
        Unreadable: malformed, or more than 10,000 records.

    """
    longest = int(max_tokens or MAX_TOKENS) * BYTES_A_TOKEN
    found = []
    for piece in _pieces(extracted, separators, longest):
        for part in _cut(piece.text, longest):
            found.append(Piece(part, piece.source, piece.meta, piece.place))
            if len(found) > MOST_RECORDS:
                raise Unreadable("too_many_records")
    return found


def _pieces(extracted: Extracted, separators: str | None, longest: int) -> Iterator[Piece]:
    kind, parts = extracted.kind, extracted.parts
    if kind in TABLES:
        yield from _rows(parts[0].text)
    elif kind in OBJECTS:
        yield from _items(parts[0].text)
    elif kind == "text/plain" or separators:
        wanted = _separators(separators)
        for part in parts:
            yield from (Piece(one, place=_place(part)) for one in _parts(part.text, wanted))
    else:
        for part in _sections(parts[0].text) if kind in MARKDOWN else parts:
            yield from _together(part, min(WORTHWHILE, longest))


def _sections(written: str) -> Iterator[Part]:
    """Markdown by its headings, those above included; what is fenced as code has none."""
    path: list[tuple[int, str]] = []
    lines: list[str] = []
    fence = ""
    for line in [*_lined(written).split("\n"), None]:
        found = None
        if line is not None:
            opened = FENCE.match(line)
            if opened and not fence:
                fence = opened.group(1)
            elif fence and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            elif not fence:
                found = _heading(line, lines)
        if found is None and line is not None:
            lines.append(line)
            continue
        yield Part("\n".join(lines).strip(), heading=" > ".join(one for _, one in path) or None)
        if found is not None:
            path = [*(one for one in path if one[0] < found[0]), found]
            lines = []


def _heading(line: str, lines: list[str]) -> tuple[int, str] | None:
    """Its level and words; an underlined one is taken from the lines before."""
    hashed = ATX.fullmatch(line)
    if hashed and hashed.group(2):
        return len(hashed.group(1)), hashed.group(2)
    if (
        UNDERLINE.fullmatch(line)
        and lines
        and lines[-1].strip()
        and (len(lines) < 2 or not lines[-2].strip())
    ):
        return (1 if line.startswith("=") else 2), lines.pop().strip()
    return None


def _together(part: Part, worthwhile: int) -> Iterator[Piece]:
    """Paragraphs, as many together as are worth a record, each under its heading."""
    heading = f"{part.heading}\n\n" if part.heading else ""
    group: list[str] = []
    size = 0
    for paragraph in _paragraphs(part.text, worthwhile):
        length = len(paragraph.encode())
        if group and size + length > worthwhile:
            yield Piece(heading + "\n\n".join(group), place=_place(part))
            group, size = [], 0
        group.append(paragraph)
        size += length
    if group:
        yield Piece(heading + "\n\n".join(group), place=_place(part))


def _paragraphs(written: str, worthwhile: int) -> Iterator[str]:
    """Those between blank lines; a page that has none is cut between lines."""
    for paragraph in _parts(written, PARAGRAPHS):
        if len(paragraph.encode()) <= 2 * worthwhile:
            yield paragraph
            continue
        group: list[str] = []
        for line in paragraph.split("\n"):
            if group and len("\n".join([*group, line]).encode()) > worthwhile:
                yield "\n".join(group)
                group = []
            group.append(line)
        yield "\n".join(group)


def _place(part: Part) -> str | None:
    if part.page is not None:
        return f"page {part.page}"
    return part.heading[:LONGEST_PLACE] if part.heading else None


def _separators(written: str | None) -> list[str]:
    r"""Separators by commas; `\n` and `\t` may be written as such. None given: blank lines."""
    if not written:
        return PARAGRAPHS
    parts = [part.replace("\\n", "\n").replace("\\t", "\t") for part in written.split(",")]
    return [part for part in parts if part] or PARAGRAPHS


def _parts(written: str, separators: list[str]) -> Iterator[str]:
    lines = _lined(written)
    if separators == PARAGRAPHS:
        lines = re.sub(r"\n[ \t]+(?=\n)", "\n", lines)
    for part in re.split("|".join(re.escape(one) for one in separators), lines):
        if part.strip():
            yield part.strip()


def _lined(written: str) -> str:
    return written.replace("\r\n", "\n").replace("\r", "\n")


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
        raise Unreadable("file_not_csv") from None


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
        raise Unreadable("file_not_json") from None


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
