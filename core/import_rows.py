"""What an import is going to write: conversations and their messages with their places and times, and what
came of it. Pure.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from core.importers.records import Conversation, Message, Record, Reject

PIECE = 5000  # messages of a conversation that are written in one transaction
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Piece:
    """A record, or a part of a conversation too long for one transaction; `number` from 1 within it."""

    record: Record
    number: int = 1
    last: bool = True

    @property
    def messages(self) -> Sequence[Message]:
        return self.record.messages if isinstance(self.record, Conversation) else ()


def pieces_of(record: Record) -> Iterator[Piece]:
    """The pieces of a record, in order."""
    messages = record.messages if isinstance(record, Conversation) else ()
    if not isinstance(record, Conversation) or len(messages) <= PIECE:
        yield Piece(record)
        return
    cuts = range(0, len(messages), PIECE)
    for number, cut in enumerate(cuts, 1):
        part = replace(record, messages=messages[cut : cut + PIECE])
        yield Piece(part, number, last=number == len(cuts))


class Placed(NamedTuple):
    """A message with its place and its time in our conversation, and the row it came from."""

    message: Message
    seq: int
    at: datetime
    row: int


@dataclass(frozen=True)
class Part:
    """What one piece brought to a conversation: the places its messages took, and their keys' hashes."""

    members: bytes
    first_seq: int | None
    last_seq: int | None


@dataclass
class Talk:
    """A conversation that an import writes to; `head` tells of one that is made."""

    id: uuid.UUID
    key: bytes
    number: int  # of the last entry that is there
    next_seq: int = 1
    last_at: datetime | None = None
    head: Conversation | None = None
    contact: uuid.UUID | None = None
    bot: uuid.UUID | None = None
    task: uuid.UUID | None = None
    updated_at: datetime | None = None  # as its source tells, of one that goes on
    placed: list[Placed] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)

    def add(self, row: int, messages: Iterable[Message], members: Sequence[bytes], now: datetime) -> int:
        """Appends messages, each with the hash of its key; answers how many."""
        first = self.next_seq
        for message in messages:
            # Nothing was said in the future, whatever a clock somewhere said.
            told = min(message.created_at, now) if message.created_at else self._begun(now)
            self.last_at = _after(self.last_at, told)
            self.placed.append(Placed(message, self.next_seq, self.last_at, row))
            self.next_seq += 1
        count = self.next_seq - first
        places = (first, self.next_seq - 1) if count else (None, None)
        self.parts.append(Part(b"".join(members), *places))
        return count

    def _begun(self, now: datetime) -> datetime:
        """What a message without a time of its own is dated from."""
        if self.last_at is not None:
            return self.last_at
        return min((self.head.created_at if self.head else None) or now, now)

    @property
    def created_at(self) -> datetime | None:
        """When a conversation that is made began, as its source tells or its first message."""
        told = self.head.created_at if self.head else None
        return told or (self.placed[0].at if self.placed else None)


@dataclass
class Outcome:
    """What came of some pieces: numbers by name, the rejects, the rows that brought something new, and those
    of which a record could not be stored.
    """

    counts: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)
    wrote: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)

    def add(self, other: Outcome) -> None:
        self.counts.update(other.counts)
        self.rejects += other.rejects
        self.wrote |= other.wrote
        self.failed |= other.failed


def _after(last: datetime | None, at: datetime) -> datetime:
    """Times rise within a conversation, whatever its source says."""
    return at if last is None or at > last else last + MICROSECOND
