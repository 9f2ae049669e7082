"""What a person types to find conversations: words, and filters written `key:value`. Pure.

    refund "late delivery" bot:Concierge after:2026-11-01 has:pii

Words mean what they mean to a search engine. A filter that is not known is an error, never left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from core.errors import InvalidInput
from core.schedule import read_instant
from models import ConversationStatus, MessageType

SEVERAL = ("task", "bot", "contact", "source", "type")  # any of the values
ONCE = ("status", "before", "after", "has")
KEYS = (*SEVERAL, *ONCE)
ALIASES = {"integration": "source"}  # what ChatBotKit's dashboard calls it
MOST = 20
LONGEST = 1000
# What a value may be among; any other key takes what it is given.
CHOICES: Mapping[str, frozenset[str]] = {
    "status": frozenset(ConversationStatus),
    "type": frozenset(MessageType),
    "has": frozenset({"pii"}),
}
_PART = re.compile(r'([A-Za-z]+):(?:"([^"]*)"|([^\s"]*))(?=\s|$)|-?"[^"]*"|\S+')
_PLAIN = re.compile(r'[^\s":]+')


@dataclass(frozen=True)
class Query:
    """What was asked for: words for the full text, and values by the name of their filter."""

    words: str = field(default="", repr=False)
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def text(self) -> str:
        """As a person would type it; read again it is the same."""
        parts = [written(key, value) for key, values in self.filters.items() for value in values]
        return " ".join([*parts, self.words] if self.words else parts)

    def having(self, key: str, value: str | None) -> Query:
        """The same with another value of one filter; with None without it."""
        others = {name: values for name, values in self.filters.items() if name != key}
        return Query(self.words, {**others, key: (value,)} if value is not None else others)

    def first(self, key: str) -> str | None:
        return next(iter(self.filters.get(key, ())), None)

    def instant(self, key: str) -> datetime | None:
        value = self.first(key)
        return None if value is None else read_instant(value, None)


def read_query(typed: str) -> Query:
    """Reads what was typed.

    Raises:
        InvalidInput: too long, a filter that is not known, without a value, or with one that is none.

    """
    if len(typed) > LONGEST:
        raise InvalidInput(f"A search has at most {LONGEST} characters.")
    words: list[str] = []
    filters: dict[str, tuple[str, ...]] = {}
    for part in _PART.finditer(typed):
        key = (part[1] or "").lower()
        key = ALIASES.get(key, key)
        value = part[2] if part[2] is not None else part[3]
        if not key or value.startswith("//"):  # a web address is words
            words.append(part[0])
            continue
        filters[key] = (*filters.get(key, ()), _checked(key, value, filters))
    if sum(map(len, filters.values())) > MOST:
        raise InvalidInput(f"A search takes up to {MOST} filters.")
    return Query(" ".join(words), filters)


def written(key: str, value: str) -> str:
    return f"{key}:{value}" if _PLAIN.fullmatch(value) else f'{key}:"{value}"'


def _checked(key: str, value: str, before: Mapping[str, tuple[str, ...]]) -> str:
    if key not in KEYS:
        raise InvalidInput(
            f"There is no such filter; there are {', '.join(f'{name}:' for name in KEYS)}."
            " To look for words with a colon, put them in quotes."
        )
    if not value:
        raise InvalidInput(f'{key}: needs a value, such as {key}:x or {key}:"two words".')
    if key in ONCE and key in before:
        raise InvalidInput(f"{key}: can be said once.")
    if key in CHOICES and value not in CHOICES[key]:
        raise InvalidInput(f"{key}: is one of {', '.join(sorted(CHOICES[key]))}.")
    if key in {"before", "after"}:
        read_instant(value, None)
    return value
