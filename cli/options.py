"""Options that many commands share."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.errors import InvalidInput

# The exit code when some of the input could not be read.
UNREAD = 9

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
HomeDir = Annotated[
    Path | None,
    typer.Option(
        "--home", envvar="CRONTALK_HOME", show_default="~/.crontalk", help="Where `up` keeps its data."
    ),
]
AccountName = Annotated[
    str | None,
    typer.Option("--account", help="Name or id of the account; otherwise the token's, or the only one."),
]
OwnPrompt = Annotated[
    str | None,
    typer.Option("--prompt", help="Say this instead of the task's prompt; '-' reads standard input."),
]
Take = Annotated[int, typer.Option("--take", "-n", min=1, max=1000, help="How many, newest first.")]


def said(text: str | None) -> str | None:
    """What an option says; a dash stands for standard input."""
    return sys.stdin.read() if text == "-" else text


def instant(words: str | None, option: str) -> datetime | None:
    """An ISO-8601 date or date-time; without an offset it is UTC."""
    if words is None:
        return None
    try:
        found = datetime.fromisoformat(words)
    except ValueError:
        raise InvalidInput(f"{option} takes a date or a date-time, such as 2026-11-01T00:00Z.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
