"""`crontalk doctor`: are the promises kept, and if not, what to do."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson, HomeDir
from cli.reach import context_for
from cli.show import Document, console, out

if TYPE_CHECKING:
    from core.checkup import Finding

ILL = 8


def doctor(
    days: Annotated[
        int, typer.Option("--days", min=0, max=36500, help="How far back to look; 0 looks at every row.")
    ] = 7,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Check every promise against the rows, and say what to do about what is broken.

    Exit code 0 when all is well, 8 when something was found, 6 when the database is away.
    """
    from core.checkup import examine

    with context_for(home) as context:
        findings = examine(context, timedelta(days=days) if days else None)
    if as_json:
        out(_document(findings), as_json, "")
    else:
        _tell(findings, days)
    if findings:
        raise typer.Exit(ILL)


def _document(findings: list[Finding]) -> Document:
    return {"healthy": not findings, "items": [document_of(finding) for finding in findings]}


def document_of(finding: Finding) -> Document:
    """`since` is a moment in UTC, where it is known since when."""
    return {
        "name": finding.name,
        "message": finding.sentence,
        "advice": finding.advice,
        "since": finding.since.astimezone(UTC).isoformat() if finding.since else None,
        "count": finding.count,
        "ids": list(finding.sample),
    }


def tell(finding: Finding) -> None:
    """What is wrong, since when, and what to type next."""
    from rich.text import Text

    screen = console()
    since = f", since {finding.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if finding.since else ""
    screen.print(Text(f"{finding.name}: {finding.count}{since}", style="red"))
    screen.print(Text(f"  {finding.sentence}"))
    screen.print(Text(f"  {finding.advice}", style="dim"))
    for one in finding.sample:
        screen.print(Text(f"  {one}", style="dim"))


def _tell(findings: list[Finding], days: int) -> None:
    from rich.text import Text

    screen = console()
    if not findings:
        looked = f"the last {days} days" if days else "every row"
        screen.print(Text(f"All is well; every promise is kept in {looked}.", style="green"))
    for finding in findings:
        tell(finding)
