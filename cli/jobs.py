"""`crontalk job …`: long work on many things, watched and ended."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from cli.options import AccountName, AsJson, HomeDir, Take
from cli.reach import Reach, reach
from cli.show import Document, console, facts, items, moment, out, short, table

app = typer.Typer(
    help="Jobs: imports, exports, deletions, annotations and backfills.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
LOOK = 0.25


@app.command("list")
def list_(
    kind: Annotated[
        str | None, typer.Option("--kind", help="import, export, delete, …; all unless told.")
    ] = None,
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
        document = job_of(at, job)
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


@app.command()
def undo(
    job: JobId,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Watch it to its end.")] = True,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Remove what an import has stored, and free its keys; what was said there since stays."""
    from core.undoing import undo_import

    with reach(home, account) as at:
        with at.transaction() as session:
            made = str(undo_import(session, job).id)
        document = watched(at, made, quiet=as_json) if wait else job_of(at, made)
    out(document, as_json, shown(document))


@app.command()
def errors(
    job: JobId,
    take: Take = 100,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """What a job could not deal with: rows and reasons, in their order, never what they held."""
    from core.documents_jobs import error_document
    from core.import_jobs import list_errors

    with reach(home, account) as at, at.transaction() as session:
        documents = [error_document(one) for one in list_errors(session, job_id=job, take=take)]
    rows = [(d["row"], d["code"], d["message"]) for d in documents]
    out(items(documents), as_json, table(["row", "code", "because"], rows, "It could deal with all."))


def watched(at: Reach, job: str, *, quiet: bool) -> Document:
    """The job's document once it has ended or was paused; its progress is shown meanwhile."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    document = job_of(at, job)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
    )
    with Progress(*columns, console=console(stderr=True), transient=True, disable=quiet) as progress:
        bar = progress.add_task(document["kind"], total=None, pace="")
        while "finishedAt" not in document and document["state"] != "paused":
            total, dealt = _far(document)
            progress.update(bar, total=total, completed=dealt, pace=_pace(document))
            time.sleep(LOOK)
            document = job_of(at, job)
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
            ("read as", document.get("found")),
            ("dry run", "nothing was stored" if document.get("dryRun") else None),
            ("undoes", document.get("importId")),
            ("brought", _brought(document)),
            ("rule", document.get("ruleId")),
            ("held back", document.get("held")),
            ("error", document.get("errorClass")),
            ("because", document.get("refused")),
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


def _brought(document: Document) -> str | None:
    """The numbers of an import or an export, by name."""
    return ", ".join(f"{count} {name}" for name, count in document.get("counts", {}).items()) or None


def _far(document: Document) -> tuple[int | None, int]:
    """How much there is and how far it is: of a file in KiB, of all else in what it counts."""
    if "sizeBytes" in document:
        return document["sizeBytes"] // 1024, document.get("readBytes", 0) // 1024
    return document.get("total"), document["done"] + document["skipped"] + document["failed"]


def _pace(document: Document) -> str:
    pace, left = document.get("perSecond"), document.get("leftSeconds")
    told = "" if pace is None else f"{pace:g} a second"
    return told if left is None else f"{told}, {left} s left"


def job_of(at: Reach, job: str) -> Document:
    """The job's document."""
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
