"""`crontalk job …`: long work on many things, watched and ended."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from cli.options import AccountName, AsJson, HomeDir, Take
from cli.reach import Reach, reach
from cli.show import Document, console, facts, items, moment, out, short, table

app = typer.Typer(
    help="Jobs: annotations, backfills, deletions and exports.", no_args_is_help=True, rich_markup_mode=None
)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
LOOK = 0.25


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Option("--kind", help="annotate, backfill, delete or export.")] = None,
    take: Take = 20,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """The jobs, newest first."""
    from core.documents_jobs import job_document
    from core.jobs import list_jobs

    with reach(home, account) as at, at.transaction() as session:
        documents = [job_document(*pair) for pair in list_jobs(session, kind=kind, take=take)]
    rows = [
        (d["id"], d["kind"], d["state"], d.get("total"), d["done"], d["skipped"], d["failed"], d["left"],
         short(d["createdAt"])) for d in documents
    ]  # fmt: skip
    columns = ["id", "kind", "state", "total", "done", "skipped", "failed", "left", "asked (UTC)"]
    out(items(documents), as_json, table(columns, rows, "No jobs yet."))


@app.command()
def show(job: JobId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """One job: how far it is."""
    with reach(home, account) as at:
        document = _document(at, job)
    out(document, as_json, shown(document))


@app.command()
def watch(job: JobId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """Watch a job to its end; with --json, its last word."""
    with reach(home, account) as at:
        document = watched(at, job, quiet=as_json)
    out(document, as_json, shown(document))


@app.command()
def pause(job: JobId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """Begin nothing further; what is under way goes on."""
    from core.jobs import pause_job

    _change(pause_job, job, home, account, as_json)


@app.command()
def resume(job: JobId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """Go on where it stopped."""
    from core.jobs import resume_job

    _change(resume_job, job, home, account, as_json)


@app.command()
def confirm(
    job: JobId,
    confirmation: Annotated[str, typer.Argument(help="As the job shows it.")],
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Let a deletion begin that waits for its confirmation."""
    from core.delete_jobs import confirm_delete_job

    _change(lambda session, one: confirm_delete_job(session, one, confirmation), job, home, account, as_json)


@app.command()
def receipt(job: JobId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """What a deletion removed: counts, and a digest of the ids."""
    from core.delete_jobs import receipt_of
    from core.documents_jobs import receipt_document

    with reach(home, account) as at, at.transaction() as session:
        document = receipt_document(receipt_of(session, job))
    told = ("id", "what", "state", "messages", "conversations", "attachments", "ids", "sha256", "actor")
    out(document, as_json, facts([(name, document.get(name)) for name in told]))


@app.command()
def cancel(job: JobId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """End a job where it is; what is done stays done."""
    from core.jobs import cancel_job

    _change(cancel_job, job, home, account, as_json)


def watched(at: Reach, job: str, *, quiet: bool) -> Document:
    """The job's document once it has ended or was paused; its progress is shown meanwhile."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    document = _document(at, job)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
    )
    with Progress(*columns, console=console(stderr=True), transient=True, disable=quiet) as progress:
        bar = progress.add_task(document["kind"], total=document.get("total"), pace="")
        while "finishedAt" not in document and document["state"] != "paused":
            dealt = document["done"] + document["skipped"] + document["failed"]
            progress.update(bar, total=document.get("total"), completed=dealt, pace=_pace(document))
            time.sleep(LOOK)
            document = _document(at, job)
    return document


def shown(document: Document) -> Any:
    """A job as a person reads it."""
    return facts(
        [
            ("job", document["id"]),
            ("kind", document["kind"]),
            ("what", document.get("what")),
            ("state", document["state"]),
            ("confirmation", document.get("confirmation")),
            ("rate", document.get("rate")),
            ("format", document.get("format")),
            ("mode", document.get("mode")),
            ("file", document.get("fileId")),
            ("name", document.get("name")),
            ("bytes", document.get("size")),
            ("sha256", document.get("sha256")),
            ("error", document.get("errorClass")),
            ("task", document.get("taskId")),
            ("bot", document.get("botId")),
            ("conversation", document.get("conversationId")),
            ("total", document.get("total")),
            ("done", document["done"]),
            ("skipped", document["skipped"]),
            ("failed", document["failed"]),
            ("under way", document["underWay"]),
            ("left", document["left"]),
            ("pace", _pace(document) or None),
            ("began", moment(document.get("startedAt"))),
            ("ended", moment(document.get("finishedAt"))),
        ]
    )


def _pace(document: Document) -> str:
    pace, left = document.get("perSecond"), document.get("leftSeconds")
    told = "" if pace is None else f"{pace:g} a second"
    return told if left is None else f"{told}, {left} s left"


def _document(at: Reach, job: str) -> Document:
    from core.documents_jobs import job_document
    from core.jobs import get_job

    with at.transaction() as session:
        return job_document(*get_job(session, job))


def _change(verb: Any, job: str, home: Any, account: str | None, as_json: bool) -> None:
    from core.documents_jobs import job_document
    from core.jobs import get_job

    with reach(home, account) as at, at.transaction() as session:
        document = job_document(*get_job(session, verb(session, job).id))
    out(document, as_json, shown(document))
