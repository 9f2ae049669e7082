"""`crontalk task backfill …`: run what lies in the past."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.options import AccountName, AsJson, HomeDir, OwnPrompt, Take, said
from cli.reach import reach
from cli.show import Document, facts, items, moment, out, short, table
from core.errors import InvalidInput


class _CreateUnlessTold(TyperGroup):
    """`backfill TASK --from …` means `backfill create TASK --from …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["create", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_CreateUnlessTold,
    help="Runs a task's past occurrences: `backfill TASK --from T --until T`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

BackfillId = Annotated[str, typer.Argument(metavar="BACKFILL", help="The backfill's id.")]


@app.command()
def create(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task's id.")],
    since: Annotated[
        str, typer.Option("--from", help="A date or date-time, in the task's zone; the range begins with it.")
    ],
    until: Annotated[str, typer.Option("--until", help="The range ends before this; it lies in the past.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would come to.")] = False,
    everything: Annotated[
        bool, typer.Option("--all/--missing", help="Every occurrence, or those that have not succeeded.")
    ] = False,
    at_once: Annotated[int, typer.Option("--at-once", help="Unfinished runs at a time.")] = 1,
    pace: Annotated[str | None, typer.Option("--pace", help="Runs a minute at most: 30/min.")] = None,
    prompt: OwnPrompt = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Run a task's occurrences of a past range, oldest first, each in a new conversation."""
    from core.backfills import create_backfill, plan_backfill
    from core.documents import plan_document

    limits: dict[str, Any] = {"at_once": at_once, "pace": _pace(pace), "prompt": said(prompt)}
    with reach(home, account) as at, at.transaction() as session:
        if dry_run:
            document = plan_document(plan_backfill(session, task, since, until, everything=everything))
        else:
            job, plan = create_backfill(session, task, since, until, everything=everything, **limits)
            document = plan_document(plan, job)
    out(document, as_json, _plan(document))


@app.command("list")
def list_(
    task: Annotated[str | None, typer.Option("--task", help="Only backfills of this task.")] = None,
    take: Take = 20,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """The backfills, newest first."""
    from core.backfills import list_backfills
    from core.documents import backfill_document

    with reach(home, account) as at, at.transaction() as session:
        documents = [backfill_document(*pair) for pair in list_backfills(session, task_id=task, take=take)]
    rows = [
        (one["id"], one["state"], one["total"], one["done"], one["skipped"], one["failed"], one["left"],
         short(one["createdAt"])) for one in documents
    ]  # fmt: skip
    columns = ["id", "state", "total", "done", "skipped", "failed", "left", "asked (UTC)"]
    out(items(documents), as_json, table(columns, rows, "No backfills yet."))


@app.command()
def show(
    backfill: BackfillId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """One backfill: how far it is, and its latest runs."""
    from rich.console import Group

    from cli.runs import runs_table
    from core.backfills import get_backfill
    from core.documents import backfill_document, run_document
    from core.runs import list_runs

    with reach(home, account) as at, at.transaction() as session:
        job, progress = get_backfill(session, backfill)
        document = backfill_document(job, progress)
        runs = list_runs(session, backfill_id=job.id, take=10)
        document["runs"] = [run_document(run) for run in runs]
    out(document, as_json, Group(_facts(document), "", runs_table(document["runs"], {})))


@app.command()
def pause(
    backfill: BackfillId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Begin no further run; those under way go on."""
    from core.backfills import pause_backfill

    _change(pause_backfill, backfill, home, account, as_json)


@app.command()
def resume(
    backfill: BackfillId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Go on where it stopped."""
    from core.backfills import resume_backfill

    _change(resume_backfill, backfill, home, account, as_json)


@app.command()
def cancel(
    backfill: BackfillId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """End a backfill with its runs that wait or work."""
    from core.backfills import cancel_backfill

    _change(cancel_backfill, backfill, home, account, as_json)


def _change(verb: Any, backfill: str, home: Any, account: str | None, as_json: bool) -> None:
    from core.backfills import get_backfill
    from core.documents import backfill_document

    with reach(home, account) as at, at.transaction() as session:
        document = backfill_document(*get_backfill(session, verb(session, backfill).id))
    out(document, as_json, _facts(document))


def _pace(text: str | None) -> int | None:
    if text is None:
        return None
    number = text.removesuffix("/min").strip()
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise InvalidInput("The pace is a number of runs a minute, such as 30/min.")
    return int(number)


def _plan(document: Document) -> Any:
    estimate = document.get("estimate", {})
    ledger = ", ".join(f"{count} {state}" for state, count in sorted(document["ledger"].items()))
    return facts(
        [
            ("backfill", document.get("id", "none: a dry run")),
            ("occurrences", document["total"]),
            ("will run", document["toRun"]),
            ("first", moment(document["first"])),
            ("last", moment(document["last"])),
            ("in the ledger", ledger or "nothing"),
            ("tokens, about", estimate.get("tokens")),
            ("cost, about", _money(estimate.get("cost"))),
        ]
    )


def _facts(document: Document) -> Any:
    left = document.get("leftSeconds")
    return facts(
        [
            ("backfill", document["id"]),
            ("task", document.get("taskId")),
            ("state", document["state"]),
            ("error", document.get("errorClass")),
            ("from", moment(document["from"], document.get("timezone"))),
            ("until", moment(document["until"], document.get("timezone"))),
            ("schedule", document["schedule"]),
            ("occurrences", document["total"]),
            ("done", document["done"]),
            ("skipped", document["skipped"]),
            ("failed", document["failed"]),
            ("under way", document["underWay"]),
            ("left", document["left"]),
            ("left, about", None if left is None else f"{left} s"),
            ("at once", document["atOnce"]),
            ("a minute", document.get("pace")),
            ("prompt", document.get("prompt")),
        ]
    )


def _money(millionths: int | None) -> str | None:
    return f"{millionths / 1_000_000:.4f}" if millionths else None
