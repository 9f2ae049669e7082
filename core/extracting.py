"""The text of files: of any bytes, with the pages and headings it stands under.

Plain text, Markdown, CSV and JSON are read here. PDF, Word and HTML are read by a process of their own
(core/extraction.py), which has so much memory, time and output and no more, and neither network nor secrets:
what is made to burst bursts there, and is told as any other file that cannot be read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InvalidInput, Unavailable

TEXTS = frozenset({"text/plain", "text/markdown", "text/x-markdown"})
MARKDOWN = frozenset({"text/markdown", "text/x-markdown"})
TABLES = frozenset({"text/csv", "application/csv"})
OBJECTS = frozenset({"application/json"})
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
HTML = "text/html"
# By whom a type is read in the process of its own.
APART: Mapping[str, str] = {PDF: "pdf", DOCX: "docx", HTML: "html", "application/xhtml+xml": "html"}
KNOWN = TEXTS | TABLES | OBJECTS | APART.keys()
ENDINGS = {
    "txt": "text/plain",
    "text": "text/plain",
    "md": "text/markdown",
    "markdown": "text/markdown",
    "csv": "text/csv",
    "json": "application/json",
    "pdf": PDF,
    "docx": DOCX,
    "html": HTML,
    "htm": HTML,
    "xhtml": HTML,
}
MOST_BYTES = 50 * 2**20  # of a file that is read apart
PATIENCE = 60.0  # seconds that reading one may take
AT_ONCE = 2  # per process: each may take half a gigabyte
BEAT = 1.0
ROOT = Path(__file__).resolve().parent.parent
# What a process of our own needs of our surroundings; a secret is none of it.
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV")

# Why a file cannot be read, by the code that a job's report has.
REASONS: Mapping[str, str] = {
    "unsupported": "only text, Markdown, HTML, CSV, JSON, PDF and Word (docx) files can be read",
    "file_too_large": f"the file is larger than {MOST_BYTES // 2**20} MiB",
    "not_utf8": "the file is not UTF-8 text",
    "nul": "the file holds a NUL character, so it is no text",
    "file_damaged": "the file is damaged, or is not what its type says",
    "locked": "the file is locked with a password",
    "no_text": "no text was found in the file; pages that were scanned are pictures",
    "too_much_text": "the file holds more than 10 MiB of text",
    "too_costly": "the file takes more time or memory to read than one may",
    "file_not_csv": "the file is not CSV",
    "file_not_json": "the file is not JSON that can be stored",
    "too_many_records": "the file makes more than 10000 records",
    "content_damaged": "the content is not what was stored, or the key is not the one it was sealed with",
    "not_storable": "the file holds a record whose source or meta cannot be stored",
}

_slots = threading.BoundedSemaphore(AT_ONCE)


class Unreadable(InvalidInput):
    """A file that no text can be had of; `code` is one of REASONS."""

    def __init__(self, code: str) -> None:
        told = REASONS[code]
        super().__init__(f"{told[:1].upper()}{told[1:]}.")
        self.code = code


@dataclass(frozen=True)
class Part:
    """A piece of a file's text: a page of a PDF, or what stands under a heading."""

    text: str
    page: int | None = None
    heading: str | None = None


@dataclass(frozen=True)
class Extracted:
    """A file's text, in its order; `kind` is the media type it was read as."""

    kind: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All of it, for a model to read."""
        return "\n\n".join(_titled(part) for part in self.parts if part.text.strip())


def readable(kind: str | None, name: str | None) -> bool:
    """Whether text can be had of files of this media type, or of this name's ending."""
    return kind_of(kind, name) is not None


def kind_of(kind: str | None, name: str | None) -> str | None:
    """The type, or what the name's ending says of bytes that came without one we know; None: not readable."""
    if kind in KNOWN:
        return kind
    _, dot, ending = (name or "").rpartition(".")
    return ENDINGS.get(ending.lower()) if dot else None


def extract(
    content: bytes, kind: str | None, name: str | None, *, beat: Callable[[], None] | None = None
) -> Extracted:
    """The text of a file. No network is used, and a hostile file costs at most PATIENCE seconds.

    `beat` is called about once a second meanwhile; what it raises ends the reading.

    Raises:
        Unreadable: an InvalidInput whose sentence says why, and nothing of the file. Unavailable: too many
            files are being read by this process just now.

    """
    known = kind_of(kind, name)
    if known is None:
        raise Unreadable("unsupported")
    if known in APART:
        return Extracted(known, _read_apart(content, APART[known], beat))
    return Extracted(known, (Part(_plain(content)),))


def _plain(content: bytes) -> str:
    try:
        written = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("not_utf8") from None
    if "\x00" in written:
        raise Unreadable("nul")
    return written


def _read_apart(content: bytes, reader: str, beat: Callable[[], None] | None) -> tuple[Part, ...]:
    if len(content) > MOST_BYTES:
        raise Unreadable("file_too_large")
    until = time.monotonic() + PATIENCE
    while not _slots.acquire(timeout=BEAT):
        if time.monotonic() >= until:
            raise Unavailable("Too many files are being read just now; try again.")
        if beat is not None:
            beat()
    try:
        status, told = _run(content, reader, beat)
    finally:
        _slots.release()
    if status != 0:
        raise Unreadable("too_costly" if status < 0 or status == os.EX_TEMPFAIL else "file_damaged")
    return tuple(_parts(told))


def _run(content: bytes, reader: str, beat: Callable[[], None] | None) -> tuple[int, bytes]:
    """How the process ended, and what it told; below zero: killed."""
    process = subprocess.Popen(  # noqa: S603 (our own command)
        [sys.executable, "-B", "-P", "-m", "core.extraction", reader],
        cwd=ROOT,
        env={**{name: os.environ[name] for name in KEPT if name in os.environ}, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + PATIENCE
    given: bytes | None = content
    try:
        while True:
            try:
                told, _ = process.communicate(given, timeout=BEAT)
            except subprocess.TimeoutExpired:
                given = None  # it is on its way
                if time.monotonic() >= until:
                    return -1, b""
                if beat is not None:
                    beat()
            else:
                return process.returncode, told
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _parts(told: bytes) -> list[Part]:
    """The parts as the process wrote them, a line each; its last line says how it ended."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in told.splitlines()]
    if not lines or "end" not in lines[-1]:
        raise Unreadable("file_damaged")
    if lines[-1]["end"] != "read":
        raise Unreadable(lines[-1]["end"])
    return [Part(one["text"], one.get("page"), one.get("heading")) for one in lines[:-1]]


def _titled(part: Part) -> str:
    """A part as a model reads it: where it stands, then what it says."""
    if part.page is not None:
        return f"[page {part.page}]\n{part.text}"
    return f"{part.heading}\n{part.text}" if part.heading else part.text
