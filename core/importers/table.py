"""CSV: a row for each message, or for each question with its answer; a conversation's stand together."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence

from core.importers.parts import LONGEST_LABEL, ROLES, Said, in_line, instant, label, messages_of, spanned
from core.importers.records import MEBIBYTE, Conversation, Message, Notes, Reject, Unreadable, short_digest
from core.importers.rows import mended_text
from models import MessageType

FIELD = 4 * MEBIBYTE
MOST_MESSAGES = 2000
MOST_COLUMNS = 1000
# What a column may be called, by what it means. `columns` of the caller goes first.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "conversation": (
        "conversation_id",
        "conversation",
        "thread_id",
        "session_id",
        "chat_id",
        "ticket_id",
        "conversationid",
    ),
    "title": ("conversation_name", "title", "subject"),
    "message": ("message_id", "id", "uuid"),
    "role": ("role", "type", "sender", "author", "from", "speaker"),
    "text": ("text", "content", "message", "body", "value"),
    "question": ("question", "prompt", "query", "input", "user"),
    "answer": ("answer", "response", "completion", "output", "assistant"),
    "time": ("created_at", "timestamp", "createdat", "time", "date", "datetime"),
    "name": ("name", "author_name", "user_name"),
    "model": ("model",),
}
_SPOKEN = frozenset(MessageType)
_BLANKS = re.compile(r"[\s-]+")


def columns_of(header: Sequence[str], chosen: Mapping[str, str]) -> dict[str, int]:
    """Which column means what; without `text` or `question` it is no table of messages."""
    places: dict[str, int] = {}
    for at, name in enumerate(header):
        places.setdefault(_BLANKS.sub("_", name.strip().lower()), at)
    exact = {name: at for at, name in enumerate(header)}
    found = {}
    for meaning, names in COLUMNS.items():
        if meaning in chosen:
            if chosen[meaning] in exact:
                found[meaning] = exact[chosen[meaning]]
        else:
            known = [places[name] for name in names if name in places]
            if known:
                found[meaning] = known[0]
    if "text" in found:
        found.pop("question", None)
        found.pop("answer", None)
    return found


def delimiter_of(header: str) -> str:
    """What stands between the columns: the most frequent of those in use."""
    return max(",;\t|", key=header.count)


class _Lines:
    """The text of lines for the csv module, which survives one that cannot be read."""

    def __init__(self, lines: Iterator[bytes | str]) -> None:
        self._lines = lines

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if isinstance(line, str):
            raise Unreadable(line)
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise Unreadable("bad_utf8") from None


class _Group:
    """The rows of one conversation that follow one another."""

    def __init__(self, key: str, row: int) -> None:
        self.key, self.row = key, row
        self.title: str | None = None
        self.messages: list[Message] = []

    def made(self, after: int) -> Iterator[Conversation]:
        if self.row > after:
            whole = Conversation(self.key, self.title, messages=in_line(self.messages), row=self.row)
            yield spanned(whole)


def read_table(lines: Iterator[bytes | str], notes: Notes, after: int = 0) -> Iterator[Conversation | Reject]:
    """The conversations of a table; `row` is the last of a conversation's rows, the header not counted.

    Raises:
        Unreadable: `no_conversation`, when no column holds texts.

    """
    csv.field_size_limit(max(csv.field_size_limit(), FIELD))
    first = next(lines, b"")
    if isinstance(first, str):
        raise Unreadable(first)
    head = first.decode(errors="replace")
    delimiter = delimiter_of(head)
    try:
        header = next(csv.reader([head], delimiter=delimiter), [])
    except csv.Error:  # such as a carriage return by itself
        raise Unreadable("no_conversation") from None
    places = columns_of(header[:MOST_COLUMNS], notes.columns)
    if not places.keys() & {"text", "question"}:
        raise Unreadable("no_conversation")
    whole = short_digest("table", head)
    group: _Group | None = None
    for row, cells in _numbered(csv.reader(_Lines(lines), delimiter=delimiter)):
        try:
            told = _told(cells, places, len(header), notes)
            messages = _messages(told, row, notes)
        except Unreadable as why:
            if row > after:
                yield Reject(row, str(why))
            continue
        key = (told.get("conversation") or "")[:LONGEST_LABEL] or whole
        if group and (group.key != key or len(group.messages) >= MOST_MESSAGES):
            yield from group.made(after)
            group = None
        group = group or _Group(key, row)
        group.row, group.title = row, group.title or label(told.get("title"))
        group.messages += messages
    if group:
        yield from group.made(after)


def _told(cells: list[str] | str, places: Mapping[str, int], width: int, notes: Notes) -> dict[str, str]:
    """The cells by what they hold. A row with more of them than there are columns is not guessed at."""
    if isinstance(cells, str):
        raise Unreadable(cells)
    if any(cell.strip() for cell in cells[width:]):
        raise Unreadable("too_broad")
    return {name: mended_text(cells[at], notes) for name, at in places.items() if at < len(cells)}


def _numbered(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str] | str]]:
    row = 0
    while True:
        row += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except Unreadable as why:
            yield row, str(why)
            continue
        except csv.Error:
            yield row, "too_large"
            continue
        if any(cell.strip() for cell in cells):
            yield row, cells


def _messages(told: Mapping[str, str], row: int, notes: Notes) -> list[Message]:
    """A message without a key has one of its content; of what has no time either, its place decides."""
    created = instant(told.get("time"), notes)
    parts = []
    if "text" in told:
        parts = [Said(_type(told.get("role", ""), notes), told["text"])]
    elif "question" in told:
        parts = [Said("user", told["question"]), Said("bot", told.get("answer", ""))]
    if not any(part.text.strip() for part in parts):
        raise Unreadable("bad_message")
    for part in parts:
        part.name = label(told.get("name"))
        if told.get("model") and part.type == "bot":
            part.meta["model"] = told["model"][:LONGEST_LABEL]
    given = told.get("message", "").strip()[:LONGEST_LABEL]
    texts = [part.text for part in parts]
    own = given or short_digest("row", parts[0].type, *texts, str(created or row))
    return list(messages_of(own, parts, created))


def _type(role: str, notes: Notes) -> str:
    spoken = role.strip().lower()
    kind = spoken if spoken in _SPOKEN else ROLES.get(spoken)
    if kind is None:
        notes.unknown("role", spoken or "missing")
    return kind or "user"
