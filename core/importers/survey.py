"""What an import of a file would bring: one reading of it, of which only numbers, codes and names are kept.

What is held does not grow with the file: keys are remembered up to a number, texts for the look at personal
data are a sample, and of the tasks and rejects the first are told.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

from core.errors import InvalidInput
from core.importers.reading import format_of, read
from core.importers.records import (
    Contact,
    Conversation,
    Limits,
    Message,
    Record,
    Reject,
    Task,
    Unknowns,
    Unreadable,
    digest,
)
from core.importers.source import Source
from core.privacy.detect import detect
from core.schedule.zones import find_zone

# Sixteen bytes of a key or digest cost about a hundred in a set: 40 MB at most.
MOST_KEYS = 400_000
SAMPLE = 2000
# A sampled text is looked at so far: a file of the largest texts must not fill the memory.
LOOKED_AT = 8192
FIRST_ROWS = 10
FIRST_TASKS = 100


@dataclass
class Rejected:
    """How often a code was met, and the first rows it was met at."""

    count: int = 0
    rows: list[int] = field(default_factory=list)

    def at(self, row: int) -> None:
        self.count += 1
        if len(self.rows) < FIRST_ROWS and row not in self.rows:
            self.rows.append(row)


@dataclass
class Duplicates:
    """Records that are there already: `same` again, or `more` under a key that was there, which adds to it.

    Where `complete` is false there were more keys than are remembered, and these are the least numbers.
    """

    same: int = 0
    more: int = 0
    complete: bool = True


@dataclass(frozen=True)
class Planned:
    """A task that an import would make, paused."""

    row: int
    schedule: str
    timezone: str | None
    expires_at: datetime | None


@dataclass
class Survey:
    """The numbers of a file. `rows` are those of our tables, and the most there can be."""

    format: str
    conversations: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    inactive: int = 0
    branched: int = 0  # conversations with a branch their source does not show
    untimed: int = 0
    first: datetime | None = None
    last: datetime | None = None
    tasks: int = 0
    planned: list[Planned] = field(default_factory=list)
    unknowns: Unknowns = field(default_factory=Unknowns)
    rejects: dict[str, Rejected] = field(default_factory=dict)
    duplicates: Duplicates = field(default_factory=Duplicates)
    largest_text: int = 0
    parted: int = 0  # messages that are a part of a text too large for one
    sampled: int = 0
    found: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)

    def per_thousand(self) -> dict[str, float]:
        """Personal data by kind, for every 1,000 messages, as the sample lets expect."""
        return {kind: round(count * 1000 / self.sampled, 1) for kind, count in self.found.most_common()}


def survey(
    source: Source | Path | str,
    format: str | None = None,  # noqa: A002 - the word everybody uses
    *,
    columns: Mapping[str, str] | None = None,
    timezone: str | None = None,
    limits: Limits | None = None,
    each: Callable[[Record], None] | None = None,
) -> Survey:
    """Reads a source to its end, as an import would, and stores nothing. `each` is shown every record.

    The same source gives the same survey each time.

    Raises:
        InvalidInput: as `read`, and for a time zone that is none.

    """
    if timezone is not None:
        find_zone(timezone)
    name = format or format_of(source, limits)
    if name is None:
        raise InvalidInput("The format of this file is not known; name it, if it is one of ours.")
    made = Survey(name)
    records = read(source, name, unknowns=made.unknowns, limits=limits, columns=columns, timezone=timezone)
    _Surveying(made).every(records if each is None else _shown(records, each))
    return made


def _shown(records: Iterable[Record], each: Callable[[Record], None]) -> Iterator[Record]:
    for record in records:
        each(record)
        yield record


class _Surveying:
    def __init__(self, made: Survey) -> None:
        self.made = made
        self.keys = _Keys()
        self.sample = _Sample()

    def every(self, records: Iterable[Record]) -> None:
        for record in records:
            try:
                self.one(record)
            except Unreadable as why:
                self.made.rejects.setdefault(str(why), Rejected()).at(record.row)
        self.made.sampled = len(self.sample.texts)
        for text in self.sample.texts:
            self.made.found.update(span.type for span in detect(text))

    def one(self, record: Record) -> None:
        if isinstance(record, Reject):
            self.made.rejects.setdefault(record.code, Rejected()).at(record.row)
        elif isinstance(record, Task):
            self.task(record)
        else:
            self.conversation(record)

    def is_new(self, record: Conversation | Task) -> tuple[bool, bool]:
        """Whether its key is new, and whether anything of it is."""
        kind = type(record).__name__
        content = self.keys.is_new(f"{kind} digest", digest(record))
        key = self.keys.is_new(f"{kind} key", record.key)
        told = self.made.duplicates
        told.complete = not self.keys.full
        told.same += not content
        told.more += content and not key
        return key, content

    def task(self, task: Task) -> None:
        key, _ = self.is_new(task)
        made = self.made
        made.tasks += 1
        made.rows["task"] += key
        if len(made.planned) < FIRST_TASKS:
            made.planned.append(Planned(task.row, task.schedule, task.timezone, task.expires_at))

    def conversation(self, conversation: Conversation) -> None:
        key, content = self.is_new(conversation)
        made = self.made
        made.conversations += key
        made.rows["conversation"] += key
        made.branched += any(not message.active for message in conversation.messages)
        for message in conversation.messages:
            self.message(message)
        if content:
            made.rows["message"] += len(conversation.messages)
            self.contact(conversation.contact)

    def contact(self, contact: Contact | None) -> None:
        if contact is not None:
            self.made.rows["contact"] += self.keys.is_new("contact", contact.key)

    def message(self, message: Message) -> None:
        made, text, at = self.made, message.text, message.created_at
        made.messages[message.type] += 1
        made.inactive += not message.active
        made.parted += "part" in message.meta
        if at is None:
            made.untimed += 1
        else:
            made.first = at if made.first is None or at < made.first else made.first
            made.last = at if made.last is None or at > made.last else made.last
        # A sign is four bytes at most, so most texts need not be encoded to know.
        if len(text) * 4 > made.largest_text:
            made.largest_text = max(made.largest_text, len(text.encode()))
        self.sample.offer(text)


class _Keys:
    """What was there already, by its hash. What comes when it is full is new, unless known."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.full = False

    def is_new(self, kind: str, key: str) -> bool:
        told = blake2b(f"{kind}\0{key}".encode(errors="surrogatepass"), digest_size=16).digest()
        if told in self.seen:
            return False
        if len(self.seen) < MOST_KEYS:
            self.seen.add(told)
        else:
            self.full = True
        return True


class _Sample:
    """So many texts of all, each as likely as the other, and the same ones each time."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.offered = 0
        self.chance = random.Random(0)

    def offer(self, text: str) -> None:
        self.offered += 1
        if len(self.texts) < SAMPLE:
            self.texts.append(text[:LOOKED_AT])
        elif (at := int(self.chance.random() * self.offered)) < SAMPLE:
            self.texts[at] = text[:LOOKED_AT]
