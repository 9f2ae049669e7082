"""`crontalk import FILE --dry-run`: what a chat history from elsewhere holds. Nothing is stored."""

from __future__ import annotations

from pathlib import Path

import typer

from cli.options import UNREAD
from cli.reading import opened
from cli.show import Document, console, facts, moment, print_json, table

SHOWN_TASKS = 20


def tell_survey(
    file: Path, format_: str | None, columns: dict[str, str], timezone: str | None, *, as_json: bool
) -> None:
    """Reads a file and tells what is in it; exit code 9 where rows could not be read."""
    from core.import_survey import survey_document
    from core.importers import Source
    from core.importers.survey import survey

    with opened(file, quiet=as_json) as read:
        told = survey(Source(read, file.name), format_, columns=columns, timezone=timezone)
    document = survey_document(told)
    if as_json:
        print_json(document)
    else:
        _show(document)
    if told.rejects:
        raise typer.Exit(UNREAD)


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
