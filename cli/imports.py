"""`crontalk import FILE --dry-run`: what a chat history from elsewhere holds. Nothing is stored."""

from __future__ import annotations

import io
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import UNREAD, AsJson
from cli.show import Document, console, facts, moment, print_json, table
from core.errors import InvalidInput

if TYPE_CHECKING:
    from core.importers.survey import Survey

SHOWN_TASKS = 20


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export: plain, gzipped or in a zip.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what is in it.")] = False,
    format_: Annotated[
        str | None, typer.Option("--format", help="Read it as this; otherwise told from its beginning.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="MEANING=NAME", help="What a column is called; may be repeated."),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Of tasks whose file tells no time zone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what an import of chat histories would bring; needs no database and stores nothing.

    Of rows that cannot be read the number and the reason are told, and the exit code is then 9.
    """
    if not dry_run:
        raise InvalidInput("Nothing is imported yet; say --dry-run to be told what is in the file.")
    from core.importers import Source
    from core.importers.survey import survey

    columns = dict(_column(given) for given in column or [])
    with _opened(file, quiet=as_json) as read:
        told = survey(Source(read, file.name), format_, columns=columns, timezone=timezone)
    document = survey_document(told)
    if as_json:
        print_json(document)
    else:
        _show(document)
    if told.rejects:
        raise typer.Exit(UNREAD)


def survey_document(told: Survey) -> Document:
    """The survey as JSON, times in epoch milliseconds."""
    return {
        "format": told.format,
        "conversations": told.conversations,
        "messages": {"total": told.messages.total(), **dict(told.messages.most_common())},
        "from": _millis(told.first),
        "until": _millis(told.last),
        "untimed": told.untimed,
        "branches": {"conversations": told.branched, "messages": told.inactive},
        "tasks": {
            "total": told.tasks,
            "items": [
                {
                    "row": task.row,
                    "schedule": task.schedule,
                    "timezone": task.timezone,
                    "expiresAt": _millis(task.expires_at),
                    "paused": True,
                }
                for task in told.planned
            ],
        },
        "unknown": dict(told.unknowns.most_common()),
        "rejects": {
            code: {"count": met.count, "rows": met.rows} for code, met in sorted(told.rejects.items())
        },
        "duplicates": {
            "same": told.duplicates.same,
            "more": told.duplicates.more,
            "complete": told.duplicates.complete,
        },
        "personalData": {"sampled": told.sampled, "perThousand": told.per_thousand()},
        "largestText": told.largest_text,
        "parts": told.parted,
        "rows": {"total": told.rows.total(), **{name: count for name, count in told.rows.items() if count}},
    }


def _column(given: str) -> tuple[str, str]:
    meaning, sign, name = given.partition("=")
    if not sign or not meaning or not name:
        raise InvalidInput("A column is given as MEANING=NAME, such as --column text=Body.")
    return meaning, name


def _millis(instant: datetime | None) -> int | None:
    return None if instant is None else int(instant.timestamp() * 1000)


class _Watched(io.FileIO):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, seen: Callable[[int], object]) -> None:
        super().__init__(path)
        self._seen = seen

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            chunk = super().read(-1 if size is None else size) or b""
        except OSError as error:
            raise InvalidInput("The file cannot be read to its end.") from error
        self._seen(len(chunk))
        return chunk


@contextmanager
def _opened(path: Path, *, quiet: bool) -> Iterator[_Watched]:
    """The file, with a bar on the terminal that shows how far its reading is."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    try:
        about = path.stat()
    except OSError as error:
        raise InvalidInput("There is no such file to read.") from error
    if not stat.S_ISREG(about.st_mode):
        raise InvalidInput("Only an ordinary file can be read; save it as one.")
    screen = console(stderr=True)
    bar = Progress(
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=quiet or not screen.is_terminal,
    )
    reading = bar.add_task("", total=about.st_size)
    try:
        file = _Watched(path, lambda size: bar.advance(reading, size))
    except OSError as error:
        raise InvalidInput("The file cannot be opened.") from error
    with file, bar:
        yield file


def _show(told: Document) -> None:
    screen = console()
    messages, branches = told["messages"], told["branches"]
    by_type = ", ".join(f"{kind} {count}" for kind, count in messages.items() if kind != "total")
    same = told["duplicates"]
    rows = ", ".join(f"{name} {count}" for name, count in told["rows"].items() if name != "total")
    screen.print(
        facts(
            [
                ("format", told["format"]),
                ("conversations", told["conversations"]),
                ("messages", f"{messages['total']}{f' ({by_type})' if by_type else ''}"),
                ("from", moment(told["from"])),
                ("until", moment(told["until"])),
                ("without a time", told["untimed"] or None),
                ("on branches", _branches(branches)),
                ("tasks", f"{told['tasks']['total']}, all paused" if told["tasks"]["total"] else None),
                ("there twice", _duplicates(same)),
                ("largest text", f"{told['largestText']} bytes" if told["largestText"] else None),
                ("parts of texts", told["parts"] or None),
                ("rows to store", f"at most {told['rows']['total']}{f' ({rows})' if rows else ''}"),
            ]
        )
    )
    _show_lists(told)


def _branches(told: Document) -> str | None:
    return (
        f"{told['messages']} messages of {told['conversations']} conversations" if told["messages"] else None
    )


def _duplicates(told: Document) -> str | None:
    if not told["same"] and not told["more"] and told["complete"]:
        return None
    least = "" if told["complete"] else "at least "
    return f"{least}{told['same']} the same again, {told['more']} that add to one of the same key"


def _show_lists(told: Document) -> None:
    screen = console()
    tasks = told["tasks"]
    if tasks["items"]:
        shown = [
            (task["row"], task["schedule"], task["timezone"] or "UTC", moment(task["expiresAt"]))
            for task in tasks["items"][:SHOWN_TASKS]
        ]
        screen.print(
            "\nTasks, paused" + ("" if len(shown) == tasks["total"] else f": the first {len(shown)}")
        )
        screen.print(table(["row", "schedule", "zone", "expires"], shown, ""))
    found = told["personalData"]
    if found["perThousand"]:
        screen.print(f"\nPersonal data, from a look at {found['sampled']} texts")
        screen.print(table(["kind", "per 1,000 messages"], found["perThousand"].items(), ""))
    if told["unknown"]:
        screen.print("\nNot understood, or mended")
        screen.print(table(["kind", "times"], told["unknown"].items(), ""))
    if told["rejects"]:
        from core.importers import CODES

        screen.print("\nNot read")
        listed = [
            (code, met["count"], ", ".join(map(str, met["rows"])), CODES.get(code, ""))
            for code, met in told["rejects"].items()
        ]
        screen.print(table(["code", "times", "first rows", "because"], listed, ""))
