"""Options that many commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

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
