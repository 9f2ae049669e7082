"""`crontalk task why`, `history` and `preview`: what came of a task's occurrences, and what will."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import typer

from cli.options import AccountName, AsJson, HomeDir, Take
from cli.policies import read_instant
from cli.reach import reach
from cli.show import Document, facts, items, moment, out, table
from cli.tasks import TaskId, app
from core.errors import InvalidInput

MARKS = {
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("○", "magenta"),
    "skipped": ("·", "dim"),
    "missed": ("!", "red"),
    "waiting": ("…", "cyan"),
    "pending": ("…", "cyan"),
    "running": ("…", "yellow"),
}


@app.command()
def why(
    task: TaskId,
    at: Annotated[str, typer.Option("--at", help="The time in question, local to the task's zone.")],
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Why a task ran, or did not, at a time."""
    from core.documents import explanation_document
    from core.explain import why as explain
    from core.tasks import get_task

    with reach(home, account) as at_, at_.transaction() as session:
        zone = get_task(session, task)[0].timezone
        instant = read_instant(at, "--at", zone)
        if instant is None:
            raise InvalidInput("--at: a time is written as 2030-12-25T10:00 or 2030-12-25T10:00:00Z.")
        document = explanation_document(instant, explain(session, task, instant))
    out(document, as_json, _told(document, zone))


@app.command()
def history(
    task: TaskId, take: Take = 50, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """What came of a task's latest occurrences: outcomes, durations, lateness, tokens, cost."""
    from core.documents import history_document
    from core.explain import history as look_back

    with reach(home, account) as at, at.transaction() as session:
        document = history_document(look_back(session, task, take))
    out(document, as_json, _history(document))


@app.command()
def preview(
    task: TaskId,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000)] = 5,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """When a task will run next, in its zone and in UTC; changes of the clocks are marked."""
    from core.documents import milliseconds
    from core.explain import upcoming
    from core.tasks import get_task, preview_task

    documents: list[Document] = []
    with reach(home, account) as at, at.transaction() as session:
        zone = get_task(session, task)[0].timezone
        for one in upcoming(session, preview_task(session, task, count), zone):
            instant = milliseconds(one.at)
            documents.append({"at": instant, "local": moment(instant, zone), "utc": moment(instant)})
            if one.change:
                documents[-1]["clocks"] = one.change // timedelta(milliseconds=1)
    rows = [(document["local"], document["utc"], _clocks(document)) for document in documents]
    out(items(documents), as_json, table(["local", "UTC", ""], rows, "It will not run by itself."))


def _clocks(document: Document) -> str:
    change = timedelta(milliseconds=document.get("clocks", 0))
    if not change:
        return ""
    return f"the clocks have gone {'forward' if change > timedelta(0) else 'back'} by {abs(change)}"


def _told(document: Document, zone: str | None) -> Any:
    rows = [("at", moment(document["at"], zone)), ("in UTC", moment(document["at"]))]
    rows += [("", sentence) for sentence in document["sentences"]]
    for run in document["runs"]:
        rows += [("run", run["id"]), ("conversation", run.get("conversationId"))]
    return facts(rows)


def _history(document: Document) -> Any:
    from rich.text import Text

    strip = Text()
    for run in reversed(document["items"]):
        strip.append(*MARKS[run["state"]])
    rate, usage = document.get("successRate"), document["usage"]
    counts = ", ".join(f"{number} {state}" for state, number in document["counts"].items() if number)
    return facts(
        [
            ("oldest to newest", strip or "nothing yet"),
            ("outcomes", counts or None),
            ("success rate", None if rate is None else f"{rate:.1%}"),
            ("took (p50, p95)", _seconds(document.get("duration"))),
            ("began late by", _seconds(document.get("lateness"))),
            ("tokens", usage["token"]),
            ("model calls", usage["modelCalls"]),
            ("cost", usage["cost"] or None),
        ]
    )


def _seconds(pair: Document | None) -> str | None:
    return None if pair is None else f"{pair['p50'] / 1000:.2f} s, {pair['p95'] / 1000:.2f} s"
