"""What a person reads: facts, times and transcripts; and what a program reads: one JSON document."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

Document = dict[str, Any]
COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "running": "yellow",
    "pending": "cyan",
    "cancelled": "magenta",
    "skipped": "dim",
    "missed": "red dim",
    "active": "green",
    "completed": "green",
    "completed_with_errors": "yellow",
    "paused": "yellow",
}
# Without these two, several scripts and many emoji cannot be written.
JOINERS = "\u200c\u200d"
VOICES = {"user": "cyan", "bot": "green", "instruction": "magenta", "context": "magenta"}


def console(*, stderr: bool = False, width_of_pipe: int = 200) -> Console:
    """A pipe has no width: rows stay whole there, for grep and for people who scroll."""
    from rich.console import Console

    made = Console(highlight=False, stderr=stderr)
    return made if made.is_terminal else Console(highlight=False, width=width_of_pipe, stderr=stderr)


def print_json(document: Document | None) -> None:
    """One document. ASCII, so that no terminal or pipe can spoil it."""
    print(json.dumps(document, indent=2), flush=True)


def items(documents: Iterable[Document]) -> Document:
    return {"items": list(documents)}


def out(document: Document, as_json: bool, human: RenderableType) -> None:
    if as_json:
        print_json(document)
    else:
        console().print(human)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> RenderableType:
    """A table, or a sentence when there is nothing to show."""
    from rich.text import Text

    from cli.grid import Grid

    listed = [[cell(value) for value in row] for row in rows]
    return Grid(columns, listed) if listed else Text(empty, style="dim")


def facts(rows: Iterable[tuple[str, Any]]) -> Table:
    """Names and values, those without a value left out."""
    from rich.table import Table

    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in rows:
        if value not in (None, ""):
            made.add_row(name, cell(value))
    return made


def cell(value: Any) -> Text:
    from rich.text import Text

    text = "" if value is None else printable(str(value))
    return Text(text, style=COLOURS.get(text, ""))


def moment(value: int | None, zone: str | None = None) -> str:
    """Epoch milliseconds as local time of the zone (UTC by default), to the second."""
    if value is None:
        return ""
    from zoneinfo import ZoneInfo

    instant = datetime.fromtimestamp(value / 1000, ZoneInfo(zone) if zone else UTC)
    return instant.strftime("%Y-%m-%d %H:%M:%S %Z")


def short(value: int | None, zone: str | None = None) -> str:
    """A moment for a table: month, day and time."""
    return moment(value, zone)[5:19]


def took(document: Document) -> str:
    start, end = document.get("startedAt"), document.get("finishedAt")
    return f"{(end - start) / 1000:.2f} s" if start and end else ""


@contextmanager
def deleting(as_json: bool) -> Iterator[Callable[[str, int], None]]:
    """A line on standard error that says how far a deletion is; none for programs, or without a terminal."""
    from rich.status import Status

    screen = console(stderr=True)
    gone = 0
    if as_json or not screen.is_terminal:
        yield lambda _table, _rows: None
        return
    with Status("Deleting", console=screen) as status:

        def tell(table: str, rows: int) -> None:
            nonlocal gone
            gone += rows
            status.update(f"Deleting {table}: {gone} rows so far")

        yield tell


def transcript(messages: Sequence[Document]) -> RenderableType:
    """A conversation as it was spoken. Text is text: no markup of a message is interpreted."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2))
    made.add_column(justify="right", no_wrap=True)
    made.add_column(overflow="fold")
    for message in messages:
        voice = VOICES.get(message["type"], "dim")
        made.add_row(Text(message["type"], style=voice), _told(message))
    return made


def _told(message: Document) -> Text:
    """What a message says, with what stands for personal data underlined; its places are UTF-16 units."""
    from rich.text import Text

    known = message.get("entities")
    if not known:
        return Text(printable(message["text"]))
    from core.entities import Units

    units = Units(message["text"])
    return underlined(
        message["text"],
        [{name: units.place(one[name]) for name in ("begin", "end")} for one in known],
    )


def underlined(text: str, spans: Iterable[Document]) -> Text:
    """A text with spans of it, in code points, underlined."""
    from rich.text import Text

    # Sign by sign, so that places are where they were.
    made = Text(printable(text))
    for span in spans:
        made.stylize("underline", span["begin"], span["end"])
    return made


def printable(text: str) -> str:
    """Without control characters, which could drive the reader's terminal or turn its lines around."""
    return "".join(sign if _harmless(sign) else "·" for sign in text)


def _harmless(sign: str) -> bool:
    return (
        sign in "\n\t" or sign in JOINERS or unicodedata.category(sign) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    )
