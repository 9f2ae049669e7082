"""JSON that is nested as deep as a conversation is long, read without recursion."""

from __future__ import annotations

import json
import re
from typing import Any

from core.importers.cursor import DEEPEST
from core.importers.records import Unreadable

_TOKEN = re.compile(
    r'[ \t\r\n]*+(?:("[^"\\]*+(?:\\.[^"\\]*+)*+")|([{}\[\],:])|([^ \t\r\n,:\[\]{}"]++))', re.DOTALL
)


def parse_deep(text: str) -> Any:
    """The value of a JSON text, up to 20,000 levels of it.

    Raises:
        Unreadable.

    """
    reading = _Reading()
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise Unreadable("not_json")
        at = found.end()
        string, mark, plain = found.groups()
        if mark:
            reading.mark(mark)
        else:
            reading.value(_scalar(string or plain))
    return reading.result()


class _Reading:
    """A stack of open containers, each with the key that waits for its value."""

    def __init__(self) -> None:
        self._stack: list[tuple[Any, str | None]] = []
        self._holder: Any = None
        self._key: str | None = None
        self._top: list[Any] = []
        self._ready = True  # a value or a key may come; after one only a comma, a colon or an end

    def mark(self, mark: str) -> None:
        if mark in "{[":
            self._open({} if mark == "{" else [])
        elif mark in "}]":
            self._close(dict if mark == "}" else list)
        elif mark == ":":
            self._refuse_unless(self._key is not None and not self._ready)
            self._ready = True
        else:
            self._refuse_unless(self._holder is not None and not self._ready and self._key is None)
            self._ready = True

    def value(self, value: Any) -> None:
        self._refuse_unless(self._ready)
        self._ready = False
        if isinstance(self._holder, dict):
            if self._key is None:
                self._refuse_unless(isinstance(value, str))
                self._key = value
                return
            if self._key in self._holder:
                raise Unreadable("duplicate_key")
            self._holder[self._key] = value
            self._key = None
        elif isinstance(self._holder, list):
            self._holder.append(value)
        else:
            self._refuse_unless(not self._top)
            self._top.append(value)

    def result(self) -> Any:
        self._refuse_unless(len(self._top) == 1 and self._holder is None)
        return self._top[0]

    def _open(self, container: Any) -> None:
        self._refuse_unless(not isinstance(self._holder, dict) or self._key is not None)
        self.value(container)
        if len(self._stack) >= DEEPEST:
            raise Unreadable("too_deep")
        self._stack.append((self._holder, self._key))
        self._holder, self._key, self._ready = container, None, True

    def _close(self, kind: type) -> None:
        self._refuse_unless(isinstance(self._holder, kind) and self._key is None)
        self._refuse_unless(not self._ready or not self._holder)
        self._holder, self._key = self._stack.pop()
        self._ready = False

    @staticmethod
    def _refuse_unless(fine: bool) -> None:
        if not fine:
            raise Unreadable("not_json")


def _scalar(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except ValueError:
        raise Unreadable("not_json") from None
