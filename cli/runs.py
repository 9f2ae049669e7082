"""`crontalk run …`: what ran, when, and what came of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.options import AccountName, AsJson, HomeDir, Take
from cli.reach import Reach, reach
from cli.show import Document, console, facts, items, moment, out, short, table, took, transcript
from core.errors import RunFailed

app = typer.Typer(help="Runs of tasks and turns.", no_args_is_help=True, rich_markup_mode=None)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
REFRESH = 1.0
LOOK = 0.1


@app.command("list")
def list_(
    task: Annotated[str | None, typer.Option("--task", help="Only runs of this task.")] = None,
    state: Annotated[list[str] | None, typer.Option("--state", help="Only runs in this state.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking, until Ctrl-C.")] = False,
    take: Take = 20,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """The runs, newest first."""
    with reach(home, account) as at:
        if watch and not as_json:
            _watch(at, task, state, take)
            return
        documents = _runs(at, task, state, take)
        names = {} if as_json else _names(at, documents)
    out(items(documents), as_json, runs_table(documents, names))


@app.command()
def show(run: RunId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """One run with its timeline and what was said."""
    with reach(home, account) as at:
        document = run_with_messages(at, run)
        flower = at.context.settings.flower_url
    out(document, as_json, story(document, flower))


@app.command()
def cancel(run: RunId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """End a run that waits or works."""
    from core.documents import run_document
    from core.runs import cancel_run

    with reach(home, account) as at, at.transaction() as session:
        document = run_document(cancel_run(session, run))
    out(document, as_json, facts([("run", document["id"]), ("state", document["state"])]))


def told_in_the_end(at: Reach, run_id: str, as_json: bool) -> None:
    """Shows a run once it has ended.

    Raises:
        RunFailed: it did not succeed.

    """
    from models.runs import OPEN, RunState

    while (document := run_with_messages(at, run_id))["state"] in OPEN:
        time.sleep(LOOK)
    out(document, as_json, story(document, at.context.settings.flower_url))
    if document["state"] != RunState.SUCCEEDED:
        raise RunFailed(f"The run ended as {document.get('errorClass', document['state'])}.")


def run_with_messages(at: Reach, run_id: str) -> Document:
    """The run's document with its steps and the messages of its conversation."""
    from core.documents import message_document, run_document
    from core.messages import list_messages
    from core.runs import get_run

    with at.transaction() as session:
        run, steps = get_run(session, run_id)
        document = run_document(run, steps)
        if run.conversation_id is not None:
            said = list_messages(session, run.conversation_id, take=1000)
            document["messages"] = [message_document(message) for message in said]
    return document


def runs_table(documents: list[Document], names: Mapping[str, str | None]) -> Any:
    """The runs, and the names of their tasks by id."""
    rows = [
        (
            document["id"],
            short(document.get("scheduledFor") or document["createdAt"]),
            document["state"],
            took(document),
            names.get(document.get("taskId", "")) or document["trigger"],
            _what_came_of(document),
        )
        for document in documents
    ]
    return table(["id", "due (UTC)", "state", "took", "task", "what came of it"], rows, "No runs yet.")


def _what_came_of(document: Document) -> str | None:
    covered = document.get("coversCount", 1)
    reason = document.get("reason")
    if reason and covered > 1:
        return f"{reason}, {covered} occurrences"
    return document.get("errorClass") or reason or document.get("summary")


def story(document: Document, flower: str | None = None) -> Any:
    """A run as a person reads it: facts, timeline, transcript."""
    from rich.console import Group

    delivery = document.get("deliveryId")
    head = facts(
        [
            ("run", document["id"]),
            ("task", document.get("taskId")),
            ("conversation", document.get("conversationId")),
            ("backfill", document.get("backfillId")),
            ("state", document["state"]),
            ("error", document.get("errorClass")),
            ("code", document.get("errorCode")),
            ("reason", document.get("reason")),
            ("due", moment(document.get("scheduledFor"))),
            ("took", took(document)),
            ("tokens", document["usage"]["token"] or None),
            ("worker", document.get("worker")),
            ("in Flower", f"{flower}/task/{delivery}" if flower and delivery else None),
        ]
    )
    steps = [
        (
            step["step"],
            moment(step["startedAt"]),
            took(step),
            step.get("outcome", "running"),
            step.get("worker"),
        )
        for step in document.get("steps", [])
    ]
    timeline = table(["step", "began", "took", "outcome", "worker"], steps, "No attempt yet.")
    return Group(head, "", timeline, "", transcript(document.get("messages", [])))


def _runs(at: Reach, task: str | None, states: list[str] | None, take: int) -> list[Document]:
    from core.documents import run_document
    from core.runs import list_runs

    with at.transaction() as session:
        return [run_document(run) for run in list_runs(session, task_id=task, states=states or (), take=take)]


def _names(at: Reach, documents: list[Document]) -> dict[str, str | None]:
    from core.runs import names_of_tasks

    tasks = {uuid.UUID(document["taskId"]) for document in documents if "taskId" in document}
    with at.transaction() as session:
        return {str(task): name for task, name in names_of_tasks(session, list(tasks)).items()}


def _watch(at: Reach, task: str | None, states: list[str] | None, take: int) -> None:
    from rich.live import Live

    with Live(console=console(), screen=False, auto_refresh=False) as live:
        while True:
            documents = _runs(at, task, states, take)
            live.update(runs_table(documents, _names(at, documents)), refresh=True)
            time.sleep(REFRESH)
