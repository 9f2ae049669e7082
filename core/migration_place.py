"""Where a migration stands, as its job's cursor says it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from core.migration_records import id_of

MOST_BEHIND = 5
KINDS = ("bots", "contacts", "tasks", "conversations")


@dataclass(frozen=True)
class Walked:
    """A list on the way through: the cursor of the next page, and what tells whether it goes round.

    `mark` is the digest of an earlier page, the first, second, fourth, eighth …: a list that comes to any of
    its pages again meets its mark, however long the way round is (Brent's way to find a cycle).
    """

    cursor: str = ""
    pages: int = 0
    mark: str = ""

    def goes_round(self, items: Sequence[Any]) -> bool:
        return bool(items) and self.mark == fingerprint(items)

    def turned(self, items: Sequence[Any], cursor: str) -> Walked:
        pages = self.pages + 1
        power = pages & (pages - 1) == 0
        return Walked(cursor, pages, fingerprint(items) if power else self.mark)


@dataclass(frozen=True)
class Open:
    """A conversation of which some messages have been read; `wrote`: something new of it was stored."""

    id: str
    said: Walked = Walked()
    pieces: int = 0
    wrote: bool = False
    again: bool = False  # from its beginning, since its place has vanished


@dataclass(frozen=True)
class Place:
    """How far a migration is: `row` things were dealt with, the next is found behind them.

    `dealt` are digests of the ids that were dealt with of the page at hand: whatever comes to stand elsewhere
    in it meanwhile is neither left out nor read twice. `behind` are ids before the one that the cursor names:
    where that one vanishes, a server may know nothing of what follows it. `tries` and `lost` count failures
    in a row.
    """

    kind: int = 0
    row: int = 0
    listed: Walked = Walked()
    dealt: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    open: Open | None = None
    tries: int = 0
    lost: int = 0

    @classmethod
    def read(cls, cursor: str | None) -> Place:
        if cursor is None:
            return cls()
        told = orjson.loads(cursor)
        going = told["open"]
        talk = Open(**{**going, "said": Walked(**going["said"])}) if going else None
        lists = {name: tuple(told[name]) for name in ("dealt", "behind")}
        return cls(**{**told, **lists, "listed": Walked(**told["listed"]), "open": talk})

    def __str__(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    def has_dealt(self, key: str) -> bool:
        return short(key) in self.dealt

    def next_kind(self) -> Place:
        return Place(self.kind + 1, self.row)

    def next_page(self, items: Sequence[Any], cursor: str, rows: int = 0) -> Place:
        before = [{"id": self.listed.cursor}, *items]
        ids = (*self.behind, *(key for item in before if (key := id_of(item)) and key != cursor))
        listed = self.listed.turned(items, cursor)
        return Place(self.kind, self.row + rows, listed, behind=ids[-MOST_BEHIND:], lost=self.lost)

    def step_back(self) -> Place:
        """To the one before the one that the cursor names."""
        return replace(self, listed=Walked(self.behind[-1]), behind=self.behind[:-1])

    def next_row(self, key: str, *, lost: bool = False) -> Place:
        """Behind the conversation at hand."""
        dealt = (*self.dealt, short(key))
        return replace(
            self, row=self.row + 1, dealt=dealt, open=None, tries=0, lost=self.lost + 1 if lost else 0
        )

    def within(self, talk: Open) -> Place:
        """In the middle of a conversation."""
        return replace(self, open=talk, tries=0)

    def again(self) -> Place:
        return replace(self, tries=self.tries + 1)


def short(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def fingerprint(items: Sequence[Any]) -> str:
    """The same for a page that holds the same."""
    return short("\0".join(id_of(item) or "" for item in items))
