"""A table that keeps every id whole: columns for which a line has no room go on a second line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

GAP = 2
# Columns that may be cut, and what they keep at least.
LOOSE = {"name": 16, "task": 16, "schedule": 11, "what came of it": 24}


@dataclass(frozen=True)
class Grid:
    """Rows of texts under the names of their columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        heads = [Text(name, style="bold") for name in self.columns]
        lines = [heads, *([_in_one_line(text) for text in row] for row in self.rows)]
        widths = [max(cell_len(text.plain) for text in column) for column in zip(*lines, strict=True)]
        first = _fitting(self.columns, widths, options.max_width)
        shown = _cut(self.columns[:first], widths[:first], options.max_width)
        for line in lines:
            yield _line(line[:first], shown, options.max_width)
            if any(text.plain for text in line[first:]):
                yield _line([Text(), *line[first:]], [0, *widths[first:]], options.max_width)


def _in_one_line(text: Text) -> Text:
    return Text(" ".join(text.plain.split()), style=text.style)


def _fitting(columns: Sequence[str], widths: Sequence[int], room: int) -> int:
    """How many columns the first line holds; it holds one in any case."""
    used = -GAP
    for number, (column, width) in enumerate(zip(columns, widths, strict=True)):
        used += GAP + min(width, LOOSE.get(column, width))
        if number and used > room:
            return number
    return len(columns)


def _cut(columns: Sequence[str], widths: Sequence[int], room: int) -> list[int]:
    """The widths with what is too much taken from the loose columns, the last first."""
    kept = list(widths)
    excess = sum(kept) + GAP * (len(kept) - 1) - room
    for number in reversed(range(len(kept))):
        taken = max(0, min(excess, kept[number] - LOOSE.get(columns[number], kept[number])))
        kept[number] -= taken
        excess -= taken
    return kept


def _line(texts: Sequence[Text], widths: Sequence[int], room: int) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for text, width in zip(texts, widths, strict=True):
        shown = text.copy()
        shown.truncate(width, overflow="ellipsis", pad=True)
        line.append_text(shown).append(" " * GAP)
    line.rstrip()
    line.truncate(room, overflow="ellipsis")
    return line
