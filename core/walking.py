"""The walk of a deletion through what it selects: where it stands, what comes next, how much at once.

Messages are walked in the order of (conversation, place), conversations and named ids in the order of their
ids, each over an index that is there anyway. However few of them go, no statement reads more than some
thousand rows.
"""

from __future__ import annotations

import time
import uuid
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from core.conversations import SLICE
from core.rows import as_array
from core.selection import Bounds, Selection, What, conversations_from, part_of, stretch_of
from core.slices import Craft, Hold, Step
from core.sweeping import Chosen, between
from models import Job

SMALLEST, FIRST, LARGEST = 50, 500, 5000
MOST_READ = 10_000
LONG = 0.25  # seconds after which a batch was too large
LOOKING = 0.05  # seconds that one transaction looks where nothing goes
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
        if seconds < LONG / 3:  # twice as many are not too many then, even if the machine is a little busier
            self.size = min(LARGEST, self.size * 2)
        return 0.0

    def shrink(self) -> None:
        self.size = max(SMALLEST, self.size // 2)


class Paced(Craft):
    """A kind of job whose batches are as large as the database bears, each in one transaction."""

    def __init__(self, hold: Hold, pace: Pace) -> None:
        super().__init__(hold)
        self._pace = pace

    def step(self) -> Step:
        return self._hold.batch(self, self._batch)

    def judge(self, seconds: float | None) -> float:
        if seconds is None:
            self._pace.shrink()
            return 0.0
        return self._pace.judge(seconds)

    @abstractmethod
    def _batch(self, session: Session, job: Job) -> Step:
        """The next batch, with the job locked."""


@dataclass(frozen=True)
class Found:
    """What a walk came to: conversations that go, or messages, how many, and where it stands behind them."""

    place: Place | None = None  # None: this was the end
    count: int = 0
    ids: Sequence[uuid.UUID] = ()  # of conversations
    long: bool = False  # one conversation that may be too long to go in one piece
    chosen: Chosen | None = None  # messages


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
            return Found()
        ids: list[uuid.UUID] = []
        places = 0
        for row in rows:
            places += row.next_seq
            if ids and places > SLICE:
                break
            ids.append(row.id)
        return Found(replace(self.place, at=ids[-1]), len(ids), ids, long=rows[0].next_seq > SLICE)

    def _named(self, ids: Sequence[str], most: int) -> Found:
        begin = bisect_right(ids, str(self.place.at))  # both are written alike, and sorted
        ahead = ids[begin : begin + most]
        if not ahead:
            return Found()
        unnamed = {name: value for name, value in self.selection.filter.items() if name != "ids"}
        rest = replace(self.selection, filter=unnamed)
        among = as_array(ahead)
        part = part_of(self.session, rest, self.account, among)
        chosen = Chosen(
            "unnest(CAST(:among AS uuid[])) AS r (id)",
            f"m.id = r.id AND m.conversation_id = ANY(CAST(:places AS uuid[])) AND {rest.of_messages()}",
            rest.values(self.account) | {"among": among, "meant": as_array(ids[begin:])},
            part.conversations,
            f"m.id = ANY(CAST(:meant AS uuid[])) AND {rest.of_messages()}",
        )
        return Found(replace(self.place, at=uuid.UUID(ahead[-1])), part.goes, chosen=chosen)

    def _messages(self, most: int) -> Found:
        """What goes next; where nothing does, it goes on looking for a moment, which costs no commit."""
        end_at, place = time.monotonic() + LOOKING, self.place
        while True:
            found = self._stretch(place, most)
            if found.count or found.place is None or time.monotonic() >= end_at:
                return found
            place = found.place

    def _stretch(self, place: Place, most: int) -> Found:
        read = min(MOST_READ, max(most, self.pace.read))
        bounds = Bounds(place.at, place.seq, min(PAGE, read + 1), read, most)
        seen = stretch_of(self.session, self.selection, self.account, bounds)
        # Where few go, more is read at once.
        self.pace.read = most if seen.read and 2 * seen.matched >= seen.read else 2 * read
        following: Place | None
        if seen.kept < seen.read or seen.read == read:
            following = replace(place, at=seen.at, seq=seen.upto)
        elif seen.among == seen.paged < bounds.page:
            following = None
        else:
            following = replace(place, at=seen.last, seq=LAST_SEQ)
        return Found(following, seen.goes, chosen=self._between(seen) if seen.goes else None)

    def _between(self, seen: Row[Any]) -> Chosen:
        """What goes of the stretch, asked again behind the locks."""
        what = self.selection.of_messages()
        values = self.selection.values(self.account)
        return between(seen.conversations, seen.firsts, seen.lasts, where=what, values=values, counts=what)
