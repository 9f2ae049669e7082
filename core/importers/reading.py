"""Reads a source from its beginning to its end, one row in memory at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any

from core.errors import InvalidInput
from core.importers import (
    automations,
    chatbotkit,
    chatgpt,
    claude,
    librechat,
    openwebui,
    own,
    table,
    training,
)
from core.importers.cursor import BOM, Cursor, lines
from core.importers.detecting import HEAD, detect_format
from core.importers.parts import distinct
from core.importers.records import Conversation, Limits, Notes, Record, Reject, Task, Unknowns, Unreadable
from core.importers.rows import parse, row_object
from core.importers.source import Damaged, Member, Opened, Source, members_of, opened

RowReader = Callable[[Mapping[str, Any], Notes], Iterator[Conversation | Task]]
_SERIES = re.compile(r"conversations(?:-(\d{1,9}))?\.json", re.IGNORECASE)
_LISTS = re.compile(r"conversations?([-_].*)?\.(json|jsonl|ndjson)", re.IGNORECASE)
# So many rows may be bad before the first good one without a doubt about the format.
MOST_REFUSED = 1000
_JSON = frozenset({".json", ".jsonl", ".ndjson"})
_LINES = frozenset({".jsonl", ".ndjson"})
# A row's reader meets what nobody foresaw in data from outside: that is one row, not the import.
_UNFORESEEN = (TypeError, KeyError, AttributeError, ValueError, IndexError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Format:
    """How a format's rows are read, and the member of an object around them that may hold them."""

    title: str
    read: RowReader | None = None
    around: str | None = None
    series: bool = False


FORMATS: Mapping[str, Format] = {
    "chatgpt": Format("ChatGPT export", chatgpt.read_row, "conversations", series=True),
    "claude": Format("Claude.ai export", claude.read_row, series=True),
    "openwebui": Format("Open WebUI chats", openwebui.read_row),
    "openwebui-automations": Format("Open WebUI automations", automations.read_row, "automations"),
    "librechat": Format("LibreChat conversation", librechat.read_row),
    "chatbotui": Format("ChatbotUI export", librechat.read_chatbotui, "history"),
    "sharegpt": Format("ShareGPT", training.read_sharegpt),
    "openai": Format("OpenAI fine-tuning JSONL", training.read_openai),
    "chatbotkit": Format("ChatBotKit conversations", chatbotkit.read_chatbotkit, "items"),
    "generalbots": Format("General Bots history", chatbotkit.read_generalbots),
    "csv": Format("CSV"),
    "crontab": Format("crontab"),
    "crontalk": Format("Crontalk export"),
}


def read(
    source: Source | Path | str,
    format: str | None = None,  # noqa: A002 - the word everybody uses
    *,
    unknowns: Unknowns | None = None,
    limits: Limits | None = None,
    columns: Mapping[str, str] | None = None,
    timezone: str | None = None,
    after: int = 0,
    weigh: Callable[[int], object] = int,
) -> Iterator[Record]:
    """The records of a source, in its order; rows up to `after` are passed without being read.

    `weigh` is told of the bytes of every row, before its records come. `unknowns` counts what was met and not
    understood. `columns` names the columns of a table or the members of ShareGPT, `timezone` the zone of
    tasks. The same source gives the same records at every reading.

    Raises:
        InvalidInput: nothing here can be read as this format, or the archive is made to harm. From a gzip
            that is made to harm it may come in the middle, after good rows.

    """
    if format is not None and format not in FORMATS:
        raise InvalidInput(f"The format must be one of {', '.join(FORMATS)}.")
    notes = Notes(Unknowns() if unknowns is None else unknowns, [], columns or {}, timezone, weigh)
    return _read(source, format, notes, limits or Limits(), after)


def format_of(source: Source | Path | str, limits: Limits | None = None) -> str | None:
    """The format of a source, told from its beginning; None when it is none we know.

    Raises:
        InvalidInput: as `read`.

    """
    bounds = limits or Limits()
    with opened(source) as file:
        return _detected(members_of(file, bounds))


def _detected(inside: Opened) -> str | None:
    names = [member.name for member in inside.members] if inside.archive else []
    series = [member for member in inside.members if _SERIES.fullmatch(member.base)]
    candidates = series or [each for each in inside.members if not inside.archive or _readable(each)]
    for member in candidates[:20]:
        found = detect_format(_head(member), member.name, names)
        if found:
            return found
    return None


def _readable(member: Member) -> bool:
    return member.suffix in _JSON | {".csv", ".tsv", ".txt"} and member.base not in {
        "user.json",
        "users.json",
    }


def _head(member: Member) -> bytes:
    head = b""
    with suppress(Damaged), member.open() as file:
        while len(head) < HEAD and (chunk := file.read1(HEAD - len(head))):
            head += chunk
    return head


def _read(
    source: Source | Path | str, name: str | None, notes: Notes, limits: Limits, after: int
) -> Iterator[Record]:
    with opened(source) as file:
        inside = members_of(file, limits)
        chosen = name or _detected(inside)
        if chosen is None:
            raise InvalidInput("The format of this file is not known; name it, if it is one of ours.")
        yield from _Reading(inside, chosen, notes, limits, after).records()


class _Reading:
    """One pass over a source. `row` runs on from member to member."""

    def __init__(self, inside: Opened, name: str, notes: Notes, limits: Limits, after: int) -> None:
        self.inside, self.name, self.format = inside, name, FORMATS[name]
        self.notes, self.limits, self.after = notes, limits, after
        self.row = 0
        # Something was read, now or by whoever came up to here, so the format is not the wrong one.
        self.good = after > 0
        self.refused: list[Reject] = []
        self.reader = self.format.read
        if name == "chatbotkit" and inside.archive:
            self.reader = partial(chatbotkit.read_chatbotkit, beside=self.beside)

    def records(self) -> Iterator[Record]:
        """Rejects wait until the first good row: a file without one is of another format, and is refused."""
        for record in self.every():
            if self.good:
                yield record
            elif isinstance(record, Reject):
                self.refused.append(record)
                self.good = len(self.refused) > MOST_REFUSED
                yield from self.refused if self.good else ()
            else:
                self.good = True
                yield from self.refused
                yield record
        if self.good:
            return
        if self.row == 0 and not self.refused:
            if self.name == own.FORMAT:
                return  # an export of nothing is one, to its end
            raise InvalidInput("There is nothing in it to import.")
        if all(reject.code in _OTHER_FORMAT for reject in self.refused):
            raise InvalidInput(f"This is no {self.format.title}: no row of it could be read as one.")
        yield from self.refused

    def every(self) -> Iterator[Record]:
        expected: int | None = None
        for member in self.members():
            number = _SERIES.fullmatch(member.base)
            if self.format.series and number and number[1]:
                if expected is not None and int(number[1]) > expected:
                    self.row += 1
                    yield Reject(self.row, "missing_shard")
                expected = int(number[1]) + 1
            try:
                yield from self.member(member)
            except Damaged:
                self.row += 1
                yield Reject(self.row, "damaged")

    def members(self) -> list[Member]:
        every = list(self.inside.members)
        if not self.inside.archive:
            return every
        if self.format.series:
            chosen = [member for member in every if _SERIES.fullmatch(member.base)]
        elif self.name == "chatbotkit":
            chosen = [member for member in every if _LISTS.fullmatch(member.base)]
        else:
            chosen = []
        if not chosen:
            chosen = [member for member in every if _readable(member) and self.is_ours(member)]
        if not self.after:  # else they were counted by whoever began
            self.notes.unknowns["other_file"] += len(every) - len(chosen)
        return chosen

    def is_ours(self, member: Member) -> bool:
        """Not a file of another format that we know; what nobody knows is read, and told of."""
        return detect_format(_head(member), member.name) in {self.name, None}

    def member(self, member: Member) -> Iterator[Record]:
        first, whole = self.row, len(self.inside.members) == 1
        if self.reader is not None:
            for raw in self.rows(member):
                self.row += 1
                if self.row > self.after:
                    self.notes.weigh(len(raw))
                    yield from self.one(raw)
            return
        with member.open() as file:
            try:
                for record in self.by_lines(file, self.after if whole else 0):
                    self.row = max(self.row, first + record.row)
                    if self.row > self.after:
                        yield replace(record, row=first + record.row)
            except Unreadable as why:
                self.row += 1
                yield Reject(self.row, str(why))

    def by_lines(self, file: BufferedReader, after: int) -> Iterator[Record]:
        told = self.weighed(lines(file.readline, self.limits.row))
        if self.name == "csv":
            return table.read_table(told, self.notes, after)
        if self.name == "crontab":
            return automations.read_crontab(told, self.notes, after)
        return own.read_export(told, self.notes, self.limits, after)

    def weighed(self, told: Iterator[bytes | str]) -> Iterator[bytes | str]:
        for line in told:
            self.notes.weigh(len(line))
            yield line

    def one(self, raw: bytes | str) -> Iterator[Record]:
        self.notes.rejects.clear()
        try:
            if self.reader is not None:
                for record in self.reader(_object(raw, self.notes, self.limits), self.notes):
                    yield _placed(record, self.row)
        except Unreadable as why:
            yield Reject(self.row, str(why))
        except _UNFORESEEN:
            yield Reject(self.row, "unreadable")
        for code in self.notes.rejects:
            yield Reject(self.row, code)

    def rows(self, member: Member) -> Iterator[bytes | str]:
        """The raw rows of a member: of an array, of lines, of an object around them, or the one it is."""
        with member.open() as file:
            start = file.read(1024).removeprefix(BOM).lstrip()
        by_lines = member.suffix in _LINES or (start[:1] != b"[" and self.is_lines(member))
        with member.open() as file:
            if by_lines:
                yield from lines(file.readline, self.limits.row)
                return
            cursor = Cursor(file.read1, self.limits.row)
            if start[:1] not in {b"[", b"{"}:
                yield "not_json"
                return
            if start[:1] == b"[":
                cursor.peek()
                cursor.skip()
                yield from _checked(cursor, inside=False)
                return
            if self.format.around:
                cursor.peek()
                if cursor.enter({self.format.around}):
                    yield from _checked(cursor, inside=True)
                    return
        with member.open() as file:
            cursor = Cursor(file.read1, self.limits.row)
            while cursor.peek() != -1:
                yield cursor.take()
                if cursor.stray():
                    yield "not_json"
                    return

    def is_lines(self, member: Member) -> bool:
        """Whether each line is a row: the first is one, or it is broken and the next two are."""
        with member.open() as file:
            told = lines(file.readline, self.limits.row)
            first, second, third = next(told, None), next(told, None), next(told, None)
        if second is None:
            return False
        if self.whole(first):
            return True
        return self.whole(second) and (third is None or self.whole(third))

    def whole(self, line: bytes | str | None) -> bool:
        if not isinstance(line, bytes):
            return False
        try:
            return isinstance(parse(line, Notes(), self.limits), dict)
        except Unreadable:
            return False

    def beside(self, key: str) -> Iterator[Mapping[str, Any]]:
        """The rows of the file in the archive that is named after a conversation."""
        size = 0
        for member in self.inside.members:
            if member.stem != key or _LISTS.fullmatch(member.base) or member.suffix not in _JSON:
                continue
            for raw in self.rows(member):
                size += len(raw)
                if isinstance(raw, str) or size > self.limits.row:
                    self.notes.reject(raw if isinstance(raw, str) else "too_large")
                    return
                yield row_object(raw, self.notes, self.limits)


_OTHER_FORMAT = frozenset({"no_conversation", "no_mapping", "not_an_object", "not_json", "bad_utf8"})


def _object(raw: bytes | str, notes: Notes, limits: Limits) -> dict[str, Any]:
    if isinstance(raw, str):
        raise Unreadable(raw)
    return row_object(raw, notes, limits)


def _checked(cursor: Cursor, *, inside: bool) -> Iterator[bytes | str]:
    ended = True
    for raw in cursor.elements():
        ended = raw != "truncated"
        yield raw
    wrong = cursor.rest(inside=inside) if ended else None
    if wrong:
        yield wrong


def _placed(record: Conversation | Task, row: int) -> Conversation | Task:
    """The record with its place; keys of messages that are not one of a kind are told apart."""
    if isinstance(record, Task):
        return replace(record, row=row)
    keys = [message.key for message in record.messages]
    if len(set(keys)) == len(keys):
        return replace(record, row=row)
    told = zip(distinct(keys), record.messages, strict=True)
    return replace(record, row=row, messages=tuple(replace(each, key=key) for key, each in told))
