"""Restoring what a model says: its tokens become values again, in a whole text or while it is still told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from core.privacy.altered import Found, Known


def restore_altered(text: str, values: Mapping[str, str]) -> str:
    """The text with the value of each known token, however a model has written it."""
    return _restored(text, 0, len(text), Known(values).find(text), values)


def _restored(text: str, begin: int, end: int, found: Sequence[Found], values: Mapping[str, str]) -> str:
    parts: list[str] = []
    for one in found:
        parts += (text[begin : one.begin], values[one.token])
        begin = one.end
    return "".join((*parts, text[begin:end]))


class Restorer:
    """Restores a text that comes in chunks: together they tell what `restore_altered` makes of the whole.

    Held back is only what more text could make a token of, and never more than the longest token. Tokens
    that are added to `values` meanwhile are known from the next chunk on.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._known = Known(values)
        self._size = len(values)
        self._before = ""  # the last character that was told, as it was given
        self._held = ""

    def feed(self, chunk: str) -> str:
        """What may be shown now."""
        return self._told(self._held + chunk, whole=False) if chunk else ""

    def finish(self) -> str:
        """The rest."""
        return self._told(self._held, whole=True)

    def _told(self, given: str, *, whole: bool) -> str:
        if len(self._values) != self._size:
            self._known, self._size = Known(self._values), len(self._values)
        text, begin = self._before + given, len(self._before)
        found, end = self._known.scan(text, begin, whole=whole)
        self._held = text[end:]
        self._before = text[end - 1 : end] if end else ""
        return _restored(text, begin, end, found, self._values)


class Placed(Protocol):
    """Something that stands at `[begin, end)` of a text."""

    @property
    def begin(self) -> int: ...
    @property
    def end(self) -> int: ...


_PLAIN = str.maketrans({"[": "(", "［": "(", "【": "(", "]": ")", "］": ")", "】": ")", ":": " ", "：": " "})


def escape_lookalikes(text: str, real_spans: Iterable[Placed], tokens: Iterable[str]) -> str:
    """The text with what merely looks like one of these tokens written so that it cannot be taken for one.

    `[email:a7x2b]` that a person typed becomes `(email a7x2b)`: nobody gets a value told by typing its
    token. The length stays, so that places in the text do.
    """
    real = sorted((span.begin, span.end) for span in real_spans)
    parts: list[str] = []
    done = at = 0
    for found in Known(tokens).find(text):
        while at < len(real) and real[at][1] <= found.begin:
            at += 1
        if at < len(real) and real[at][0] < found.end:
            continue
        parts += (text[done : found.begin], text[found.begin : found.end].translate(_PLAIN))
        done = found.end
    return "".join((*parts, text[done:]))
