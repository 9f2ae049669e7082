"""`crontalk import FILE`: chat histories and schedules from elsewhere, stored once by a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.jobs import job_of, shown, watched
from cli.options import UNREAD, AccountName, AsJson, HomeDir
from cli.reach import Reach, reach
from cli.reading import opened
from cli.show import Document, console, out, table
from cli.survey import tell_survey
from core.errors import Conflict, CrontalkError, InvalidInput, RunFailed

PIECE = 1024 * 1024
SHOWN_ERRORS = 20


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export: plain, gzipped or in a zip.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what is in it; needs no database.")
    ] = False,
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
    bot: Annotated[
        str | None,
        typer.Option("--bot", help="Whose conversations they become; the default bot's unless told."),
    ] = None,
    contact: Annotated[
        str | None,
        typer.Option("--contact", help="Whom they were with, where the file does not tell; an id."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--privacy", help="They have privacy, whatever the bot has.")
    ] = False,
    keep_file: Annotated[bool, typer.Option("--keep-file", help="Keep the uploaded file.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Watch it to its end.")] = True,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Import chat histories and schedules, once: what is here already is left alone. Tasks arrive paused.

    Of rows that cannot be read the number and the reason are told, and the exit code is then 9.
    """
    columns = dict(_column(given) for given in column or [])
    if dry_run:
        tell_survey(file, format_, columns, timezone, as_json=as_json)
        return
    options = {
        "format": format_,
        "columns": columns,
        "timezone": timezone,
        "bot_id": bot,
        "contact_id": contact,
        "privacy": private,
        "keep_file": keep_file,
    }
    with reach(home, account) as at:
        job = _made(at, file, options, quiet=as_json)
        if not as_json:
            console(stderr=True).print(f"job {job}")
        document = watched(at, job, quiet=as_json) if wait else job_of(at, job)
        rejected = errors_of(at, job) if wait and not as_json else []
    out(document, as_json, shown(document))
    if wait:
        tell_end(document, rejected)


def _made(at: Reach, file: Path, options: Document, *, quiet: bool) -> str:
    """Puts the file where workers read it, sealed, and asks for its import; answers the job's id."""
    from core.blobs import drop, open_writing
    from core.file_names import UNKNOWN, Described, safe_name
    from core.import_jobs import create_import_job, start_import_file

    with opened(file, quiet=quiet) as read:
        told = Described(safe_name(file.name), UNKNOWN, file.stat().st_size)
        with at.transaction() as session:
            blob = start_import_file(session, told)
            writing = open_writing(at.context, session, blob)
        try:
            while piece := read.read(PIECE):
                writing.add(piece)
            writing.finish()
        except BaseException:
            drop(at.context, writing)
            raise
    try:
        with at.transaction() as session:
            return str(create_import_job(session, str(blob.file_id), **options).id)
    except CrontalkError:
        from core.files import delete_file

        with at.transaction() as session:
            delete_file(session, str(blob.file_id))
        raise


def errors_of(at: Reach, job: str) -> list[tuple[int, str, str]]:
    """The first rows that a job could not deal with, and why."""
    from core.documents_jobs import error_document
    from core.import_jobs import list_errors

    with at.transaction() as session:
        documents = [error_document(one) for one in list_errors(session, job_id=job, take=SHOWN_ERRORS)]
    return [(one["row"], one["code"], one["message"]) for one in documents]


def tell_end(document: Document, rejected: list[tuple[int, str, str]]) -> None:
    """What was rejected, and the exit code of an import that has ended.

    Raises:
        RunFailed, Conflict: it failed, or did not end by itself.

    """
    if rejected:
        console(stderr=True).print(f"\nNot imported: {document['counts']['errors']}")
        console(stderr=True).print(table(["row", "code", "because"], rejected, ""))
    if document["state"] == "failed":
        raise RunFailed(document.get("refused") or f"The import failed: {document['errorClass']}.")
    if document["state"] == "completed_with_errors":
        raise typer.Exit(UNREAD)
    if document["state"] != "completed":
        raise Conflict(f"The import is {document['state']}; see `crontalk job show {document['id']}`.")


def _column(given: str) -> tuple[str, str]:
    meaning, sign, name = given.partition("=")
    if not sign or not meaning or not name:
        raise InvalidInput("A column is given as MEANING=NAME, such as --column text=Body.")
    return meaning, name
