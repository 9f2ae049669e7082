"""Cuts a stream of JSON into the raw bytes of its rows, at constant memory and in linear time.

Nothing is decoded here: strings are skipped and brackets counted, so that one broken row takes no other
along. A row is its bytes, or a code of `records.CODES` where it could not be kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator

CHUNK = 256 * 1024
DEEPEST = 20_000
END = -1
_BLANK = re.compile(rb"[ \t\r\n]*+")
_GAP = re.compile(rb"[ \t\r\n,]*+")
_SCALAR = re.compile(rb'[^ \t\r\n,"\[\]{}]*+')
_PLAIN = rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+'
_FLAT = _PLAIN + rb"(?:[\[{]" + _PLAIN + rb"[\]}]" + _PLAIN + rb")*+"
# Everything up to the next bracket that counts: strings whole, and containers within containers, which end
# what they begin. Before what has no end in the chunk it stops. No byte is looked at more than four times.
_INSIDE = re.compile(_FLAT + rb"(?:[\[{]" + _FLAT + rb"[\]}]" + _FLAT + rb")*+", re.DOTALL)
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
QUOTE, OPEN, CLOSE, COLON = b'"'[0], b"[{", b"]}", b":"[0]
BOM = b"\xef\xbb\xbf"


class Cursor:
    """A place in a stream of JSON. `read(n)` gives up to n bytes, none at the end."""

    def __init__(self, read: Callable[[int], bytes], limit: int) -> None:
        self._read, self._limit = read, limit
        self._chunk, self._at = read(CHUNK).removeprefix(BOM), 0

    def _more(self) -> bool:
        self._chunk, self._at = self._read(CHUNK), 0
        return bool(self._chunk)

    def peek(self, gap: re.Pattern[bytes] = _BLANK) -> int:
        """The next byte that is not blank, or END."""
        while True:
            found = gap.match(self._chunk, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._chunk):
                return self._chunk[self._at]
            if not self._more():
                return END

    def skip(self) -> None:
        self._at += 1

    def take(self, limit: int | None = None) -> bytes | str:
        """The value that begins here, or the code that says why it is not kept: it is passed either way."""
        most = self._limit if limit is None else limit
        kept: list[bytes] = []
        size, state = 0, _Value(self.peek())
        while True:
            start = self._at
            done, self._at = state.run(self._chunk, start)
            size += self._at - start
            if size <= most and not state.too_deep:
                kept.append(self._chunk[start : self._at])
            else:
                kept.clear()
            if done or not self._more():
                break
        if state.too_deep:
            return "too_deep"
        if size > most:
            return "too_large"
        return b"".join(kept) if done or state.scalar else "truncated"

    def enter(self, names: Container[str]) -> bool:
        """Into the array that one of these members of the object here holds; False: it has none."""
        self.skip()
        while self.peek(_GAP) == QUOTE:
            name = self.take(1024)
            if self.peek() != COLON:
                return False
            self.skip()
            if isinstance(name, bytes) and name[1:-1].decode(errors="replace") in names and self.peek() == 91:
                self.skip()
                return True
            if self.peek() in {END, *CLOSE}:
                return False
            self.take(0)
        return False

    def elements(self) -> Iterator[bytes | str]:
        """The elements of the array the cursor stands in, to its end."""
        while (byte := self.peek(_GAP)) not in {END, *CLOSE}:
            yield (raw := self.take())
            if raw == "truncated":
                return  # which the element has told already
        if byte == END:
            yield "truncated"
        elif byte == CLOSE[1]:
            yield "not_json"
        self.skip()

    def stray(self) -> bool:
        """Whether what comes next can begin no value."""
        return self.peek(_GAP) in {*CLOSE, COLON}

    def rest(self, *, inside: bool) -> str | None:
        """What is wrong behind the rows: there must be nothing more, but for the end of the object around."""
        while inside and (byte := self.peek(_GAP)) != CLOSE[1]:
            if byte == END:
                return "truncated"
            if byte == COLON or byte == CLOSE[0]:
                self.skip()
            else:
                self.take(0)
        if inside:
            self.skip()
        return None if self.peek() == END else "trailing"


class _Value:
    """One value, followed chunk by chunk."""

    def __init__(self, first: int) -> None:
        self.scalar = first != QUOTE and first not in OPEN
        self.depth = 0
        self.too_deep = False
        self._quoted = self._escaped = self._begun = False
        self._text = first == QUOTE

    def run(self, chunk: bytes, at: int) -> tuple[bool, int]:
        """Whether the value ends in this chunk, and where it or the chunk does."""
        if self.scalar:
            return self._scalar(chunk, at)
        if self._text and not self._begun:
            self._begun = self._quoted = True
            at += 1
        while at < len(chunk):
            if self._quoted:
                at = self._string(chunk, at)
                if self._text and self._ended():
                    return True, at
                continue
            if self.depth:  # else it stands at the value's own first bracket
                at = _after(_INSIDE, chunk, at)
            if at == len(chunk):
                break
            byte = chunk[at]
            at += 1
            if byte == QUOTE:
                self._quoted = True
                continue
            self.depth += 1 if byte in OPEN else -1
            if self.depth == 0:
                return True, at
            self.too_deep |= self.depth > DEEPEST
        return False, at

    def _ended(self) -> bool:
        return not self._quoted

    @staticmethod
    def _scalar(chunk: bytes, at: int) -> tuple[bool, int]:
        end = _after(_SCALAR, chunk, at)
        return end < len(chunk), end

    def _string(self, chunk: bytes, at: int) -> int:
        if self._escaped:
            self._escaped = False
            at += 1
        found = _STRING.match(chunk, at)
        if found:
            self._quoted = False
            return found.end()
        tail = len(chunk) - max(at, len(chunk.rstrip(b"\\")))
        self._escaped = tail % 2 == 1
        return len(chunk)


def _after(pattern: re.Pattern[bytes], chunk: bytes, at: int) -> int:
    found = pattern.match(chunk, at)
    return found.end() if found else at


def lines(readline: Callable[[int], bytes], limit: int) -> Iterator[bytes | str]:
    """The lines that are not blank; one that is too long is passed without being held."""
    first = True
    while line := readline(limit + 1):
        if first:
            line, first = line.removeprefix(BOM), False
        if len(line) > limit and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = readline(CHUNK)
            yield "too_large"
        elif line.strip():
            yield line
