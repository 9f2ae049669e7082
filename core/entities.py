"""Entities: spans of a text that are somebody's personal data (contract section 2). Pure.

The wire counts UTF-16 code units, as JavaScript does, and we count code points: the two differ after every
character beyond U+FFFF, such as an emoji.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from core.errors import InvalidInput
from core.texts import checked_text

MOST = 1000
# The type of a span whose sender does not name one.
UNKNOWN = "unknown"
_WIDE = re.compile("[\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Entity:
    """A span `[begin, end)` of a text, in code points, and what kind of data it is."""

    type: str
    begin: int
    end: int


class Units:
    """Places of one text in both units."""

    def __init__(self, text: str) -> None:
        self._wide = [] if text.isascii() else [found.start() for found in _WIDE.finditer(text)]
        self._wide_units = [place + before for before, place in enumerate(self._wide)]
        self.length = len(text) + len(self._wide)

    def of(self, place: int) -> int:
        """The UTF-16 unit at which a code point begins."""
        return place + bisect_left(self._wide, place)

    def place(self, unit: int) -> int | None:
        """The code point that begins at a UTF-16 unit; None within a pair of surrogates."""
        before = bisect_left(self._wide_units, unit)
        if before and self._wide_units[before - 1] == unit - 1:
            return None
        return unit - before


def read_entities(given: Any, text: str) -> tuple[Entity, ...]:
    """The spans a caller knows of in a text, in the order they were sent. Null is none.

    Only `begin`, `end` and `type` are read; what else an entity holds follows from the text.

    Raises:
        InvalidInput: no list of spans within the text, or spans that overlap.

    """
    if given is None:
        return ()
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) > MOST:
        raise InvalidInput(f"The entities must be a list of at most {MOST}.")
    units = Units(text)
    entities = tuple(_entity(entity, units) for entity in given)
    spans = sorted((entity.begin, entity.end) for entity in entities)
    if any(end > begin for (_, end), (begin, _) in pairwise(spans)):
        raise InvalidInput("Entities must not overlap.")
    return entities


def _entity(given: Any, units: Units) -> Entity:
    if not isinstance(given, Mapping):
        raise InvalidInput("An entity must be an object.")
    begin, end = _offset(given.get("begin"), 0), _offset(given.get("end"), 1)
    if begin >= end or end > units.length:
        raise InvalidInput("An entity begins before it ends, and ends within the text.")
    first, last = units.place(begin), units.place(end)
    if first is None or last is None:
        raise InvalidInput("An entity must not cut a character in two; offsets are UTF-16 code units.")
    kind = checked_text(given.get("type"), "The type of an entity", longest=100)
    return Entity(kind or UNKNOWN, first, last)


def _offset(value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidInput("An entity has a begin from 0 and an end from 1, in whole UTF-16 code units.")
    return value
