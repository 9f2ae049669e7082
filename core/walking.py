"""The walk of a deletion through what it selects: where it stands, what comes next, how much at once.

Messages are walked in the order of (conversation, place), conversations and named ids in the order of their
ids, each over an index that is there anyway. However few of them go, no statement reads more than some
thousand rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from core.conversations import SLICE
from core.selection import Selection, What, conversations_from, messages_from, selected_of

SMALLEST, FIRST, LARGEST = 50, 500, 2000
MOST_READ = 10_000
LONG = 0.25  # seconds after which a batch was too large
PAGE = 500  # conversations
LAST_SEQ = 2**31 - 1


@dataclass(frozen=True)
class Place:
    """Where a walk stands: in which round, how many it found in it, and behind what."""

    round: int = 1
    found: int = 0
    at: uuid.UUID = field(default=uuid.UUID(int=0))
    seq: int = 0

    @classmethod
    def read(cls, cursor: str | None) -> Place:
        if cursor is None:
            return cls()
        round_, found, at, seq = cursor.split(":")
        return cls(int(round_), int(found), uuid.UUID(at), int(seq))

    def __str__(self) -> str:
        return f"{self.round}:{self.found}:{self.at}:{self.seq}"


@dataclass
class Pace:
    """How large the next batch may be: it follows how long the last ones took."""

    size: int = FIRST
    read: int = FIRST

    def judge(self, seconds: float) -> float:
        """Takes note of how long a batch took; answers for how long to leave the database alone."""
        if seconds > LONG:
            self.shrink()
            return min(1.0, seconds)
        if seconds < LONG / 2:
            self.size = min(LARGEST, self.size * 2)
        return 0.0

    def shrink(self) -> None:
        self.size = max(SMALLEST, self.size // 2)


@dataclass(frozen=True)
class Found:
    """What a walk came to: ids that go, with their conversations, and where it stands behind them."""

    ids: list[uuid.UUID]
    conversations: list[uuid.UUID]
    place: Place | None  # None: this was the end
    long: bool = False  # one conversation that may be too long to go in one piece


END = Found([], [], None)


@dataclass(frozen=True)
class Walk:
    """One look ahead, in the transaction that deletes what it finds."""

    session: Session
    account: uuid.UUID
    selection: Selection
    place: Place
    pace: Pace

    def find(self, most: int) -> Found:
        """What goes next, at most so many."""
        if self.selection.what is What.CONVERSATIONS:
            return self._conversations(most)
        if self.selection.ids is not None:
            return self._named(self.selection.ids, most)
        return self._messages(most)

    def _conversations(self, most: int) -> Found:
        """As many as go in one piece together."""
        begin = uuid.UUID(int=self.place.at.int + 1)
        rows = conversations_from(self.session, self.selection, self.account, begin, min(most, PAGE))
        if not rows:
            return END
        ids: list[uuid.UUID] = []
        places = 0
        for row in rows:
            places += row.next_seq
            if ids and places > SLICE:
                break
            ids.append(row.id)
        return Found(ids, ids, replace(self.place, at=ids[-1]), rows[0].next_seq > SLICE)

    def _named(self, ids: Sequence[str], most: int) -> Found:
        ahead = [one for one in ids if uuid.UUID(one) > self.place.at][:most]
        if not ahead:
            return END
        chunk = replace(self.selection, filter={**self.selection.filter, "ids": ahead})
        rows = selected_of(self.session, chunk, self.account, ahead)
        at = replace(self.place, at=uuid.UUID(ahead[-1]))
        return Found([row.id for row in rows], [row.conversation_id for row in rows], at)

    def _messages(self, most: int) -> Found:
        page = conversations_from(self.session, self.selection, self.account, self.place.at, PAGE)
        read = min(MOST_READ, max(most, self.pace.read))
        among = self._worth_reading(page, read)
        if not among:
            return END
        after = (self.place.at, self.place.seq)
        rows = messages_from(
            self.session, self.selection, among, account=self.account, after=after, most=read
        )
        goes = [row for row in rows if row.goes]
        # Where few go, more is read at once.
        self.pace.read = most if 2 * len(goes) >= len(rows) else 2 * read
        at: tuple[uuid.UUID, int] | None
        if len(goes) > most:
            goes = goes[:most]
            at = (goes[-1].conversation_id, goes[-1].seq)
        elif len(rows) == read:
            at = (rows[-1].conversation_id, rows[-1].seq)
        elif len(among) == len(page) < PAGE:
            at = None
        else:
            at = (among[-1], LAST_SEQ)
        following = replace(self.place, at=at[0], seq=at[1]) if at else None
        return Found([row.id for row in goes], [row.conversation_id for row in goes], following)

    def _worth_reading(self, page: Sequence[Row[Any]], read: int) -> list[uuid.UUID]:
        """The first of these conversations, until they may hold as many messages as are to be read."""
        among, places = [], 0
        for row in page:
            among.append(row.id)
            places += row.next_seq - (self.place.seq if row.id == self.place.at else 0)
            if places > read:
                break
        return among
