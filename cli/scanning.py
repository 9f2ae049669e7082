"""`crontalk privacy scan`: JSON lines in, JSON lines out, and nothing is kept."""

from __future__ import annotations

import json
from typing import IO, Any

from core.privacy.operators import Redacted
from core.privacy.scanning import Scanner

# Bytes that are written at a time.
BUFFER = 1 << 16


class Unreadable(Exception):
    """A line that is no text to look at; the message says why, and nothing of what it holds."""


def scan(scanner: Scanner, lines: IO[bytes], out: IO[bytes], *, at_once: bool) -> int:
    """Answers every line with one of its own; the number of those that could not be read.

    `at_once`: each answer is written before the next line is read.
    """
    write, decode = _encoder(), json.JSONDecoder().decode
    held: list[str] = []
    size = bad = 0
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        try:
            told = _answer(scanner, decode, line, write)
        except Unreadable as error:
            told, bad = write({"line": number, "error": str(error)}), bad + 1
        held.append(told)
        size += len(told)
        if at_once or size >= BUFFER:
            _flush(held, out)
            size = 0
    _flush(held, out)
    return bad


def _answer(scanner: Scanner, decode: Any, line: bytes, write: Any) -> str:
    try:
        asked = decode(line.decode().rstrip())
    except ValueError:
        raise Unreadable("The line is not JSON.") from None
    if not isinstance(asked, dict) or not isinstance(text := asked.get("text"), str):
        raise Unreadable('The line is no object with a "text".')
    try:
        found = scanner.scanned(text)
    except Exception:  # noqa: BLE001 (no traceback: it could hold the text)
        raise Unreadable("The text could not be looked at.") from None
    answer: dict[str, Any] = {} if "id" not in asked else {"id": asked["id"]}
    answer["entities"] = entities_of(found, text)
    answer["redacted"] = found.text
    return str(write(answer))


def entities_of(found: Redacted, text: str) -> list[dict[str, Any]]:
    """What was found, by Presidio's names, in code points of the text as it was sent."""
    return [
        {
            "type": one.type,
            "begin": one.begin,
            "end": one.end,
            "text": text[one.begin : one.end],
            "score": one.score,
            "source": one.source,
            "operator": one.operator.value,
        }
        for one in found.taken
    ]


def _encoder() -> Any:
    return json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _flush(held: list[str], out: IO[bytes]) -> None:
    if held:
        held.append("")
        out.write("\n".join(held).encode())
        out.flush()
        held.clear()
