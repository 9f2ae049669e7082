"""What a file may be called and say it is: pure. Names come from strangers and end up on people's disks."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote

from core.errors import InvalidInput

LONGEST_NAME = 255
UNKNOWN = "application/octet-stream"
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
# Controls of direction make `gpj.exe` of `exe.jpg`; separators of lines end a header.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_REFUSED = frozenset({"Cc", "Cs", "Zl", "Zp"})
# What a browser would run or draw when it is opened from here.
_ACTIVE = re.compile(r"html|xml|svg|script|mhtml|pdf|flash|multipart|message/")


@dataclass(frozen=True)
class Described:
    """What a caller says of a file before its bytes are there; the size is unknown for what is streamed."""

    name: str | None
    type: str
    size: int | None = None


def safe_name(name: str | None) -> str | None:
    """The last part of a path, without controls, at most 255 bytes with its ending kept; None for nothing."""
    if name is None:
        return None
    last = re.split(r"[/\\]", name[-4096:])[-1]
    kept = "".join(sign for sign in last if sign not in _BIDI and unicodedata.category(sign) not in _REFUSED)
    kept = unicodedata.normalize("NFC", kept).strip(" .")
    if len(kept.encode()) <= LONGEST_NAME:
        return kept or None
    stem, dot, ending = kept.rpartition(".")
    if not dot or len(ending.encode()) > 20:
        stem, dot, ending = kept, "", ""
    room = LONGEST_NAME - len((dot + ending).encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(" .") + dot + ending


def media_type(written: str | None) -> str:
    """A media type without its parameters, in lower case; nothing said means unknown bytes.

    Raises:
        InvalidInput: it is none (RFC 6838).

    """
    kind = (written or UNKNOWN).partition(";")[0].strip().lower()
    if not _TYPE.fullmatch(kind):
        raise InvalidInput("The file's type must be a media type, such as text/plain.")
    return kind


def served_type(kind: str) -> str:
    """The type to send content with: nothing that a browser might run, whatever else it is told."""
    return UNKNOWN if _ACTIVE.search(kind) else kind


def disposition(name: str | None) -> str:
    """The header that makes a download of it, under its own name (RFC 6266, RFC 8187)."""
    if not name:
        return "attachment"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
