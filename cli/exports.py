"""`crontalk export FILE …`: conversations as a file, with a manifest beside it; never half a file."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from cli.deletions import (
    After,
    Before,
    Bots,
    Contacts,
    Conversations,
    Everything,
    Ids,
    Source,
    Tasks,
    filter_of,
)
from cli.jobs import watched
from cli.options import AccountName, AsJson, HomeDir
from cli.reach import Reach, reach
from cli.show import Document, console, facts, out
from core.errors import Conflict, InvalidInput, RunFailed, Unavailable

MANIFEST = ".manifest.json"


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write; beside it a manifest.")],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="crontalk (unless told), openai, sharegpt, markdown or csv: docs/exports.md."
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option("--mode", help="redacted (unless told), tokenised, or original, which is audited."),
    ] = None,
    gzip: Annotated[bool, typer.Option("--gzip", help="Compressed.")] = False,
    bom: Annotated[bool, typer.Option("--bom", help="A CSV by which Excel knows UTF-8.")] = False,
    job: Annotated[
        str | None, typer.Option("--job", help="Fetch what this earlier export has written.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="In place of a file that is there.")] = False,
    conversation: Conversations = None,
    task: Tasks = None,
    bot: Bots = None,
    contact: Contacts = None,
    source: Source = None,
    status: Annotated[str | None, typer.Option("--status", help="active or archived.")] = None,
    before: Before = None,
    after: After = None,
    ids: Ids = None,
    everything: Everything = False,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Export conversations, redacted unless told. Exit code 7 when it failed; its job goes on without you."""
    _refuse_there(file, force=force)
    chosen = filter_of(conversation, task, bot, contact, source, before, after, ids, everything)
    wanted = {name: value for name, value in {**chosen, "status": status}.items() if value is not None}
    if job is not None and (wanted or format_ or mode or gzip or bom):
        raise InvalidInput("With --job the export is what it was asked for: say nothing else of it.")
    with reach(home, account) as at:
        made = job or _made(at, wanted, format_, mode, gzip=gzip, bom=bom, as_json=as_json)
        document = _completed(at, made, quiet=as_json)
        manifest = _fetch(at, document, file, force=force)
    out(manifest, as_json, _shown(manifest, file))


def _made(
    at: Reach,
    wanted: dict[str, Any],
    format_: str | None,
    mode: str | None,
    *,
    gzip: bool,
    bom: bool,
    as_json: bool,
) -> str:
    """The id of a new job, which is told at once: whoever stops watching can fetch its file later."""
    from core.exporters.jsonl import FORMAT
    from core.exporters.veil import Mode
    from core.exports import create_export_job
    from core.sight import SCOPE

    with at.transaction() as session:
        made = create_export_job(
            session,
            format_ or FORMAT,
            wanted,
            mode=mode or Mode.REDACTED,
            gzip=gzip,
            bom=bom,
            scopes={SCOPE},  # whoever has the database has the values; the audit says that it was looked
        )
    if not as_json:
        console(stderr=True).print(f"job {made.id}")
    return str(made.id)


def _completed(at: Reach, job: str, *, quiet: bool) -> Document:
    """The export's document once it is completed.

    Raises:
        RunFailed: it failed. Conflict: it was paused or cancelled, or is no export.

    """
    from core.documents_jobs import job_document
    from core.jobs import get_job
    from models import JobKind

    with at.transaction() as session:
        document = job_document(*get_job(session, job))
    if document["kind"] != JobKind.EXPORT:
        raise Conflict("Only an export has a file.")
    document = watched(at, job, quiet=quiet)
    if document["state"] == "failed":
        raise RunFailed(f"The export failed: {document['errorClass']}.")
    if document["state"] != "completed":
        raise Conflict(f"The export is {document['state']}; see `crontalk job show {document['id']}`.")
    return document


def _fetch(at: Reach, document: Document, file: Path, *, force: bool) -> Document:
    """Writes the file and its manifest; each is there as a whole or not at all."""
    from core.blobs import read_stored
    from core.documents_jobs import manifest_document
    from core.exports import result_of
    from core.files import open_file
    from core.sight import SCOPE

    with at.transaction() as session:
        job = result_of(session, document["id"])
        assert job.file_id is not None  # noqa: S101 (as result_of says)
        stored, manifest = open_file(session, job.file_id, {SCOPE}), manifest_document(job)
    with _written(file, force=force) as made:
        digest = hashlib.sha256()
        for piece in read_stored(at.context, stored):
            digest.update(piece)
            made.write(piece)
        if digest.hexdigest() != manifest["sha256"]:
            raise Conflict("The file is not what was exported: its content was replaced meanwhile.")
    with _written(_manifest_of(file), force=True) as made:
        made.write(json.dumps(manifest, indent=2).encode() + b"\n")
    return manifest


@contextmanager
def _written(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """A file that takes its place once it is complete, and is nowhere when it is not."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    except OSError as error:
        raise InvalidInput("Nothing can be written there.") from error
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as made:
            yield made
            made.flush()
            os.fsync(made.fileno())
        _put(draft, path, force=force)
    except FileExistsError:
        raise InvalidInput("There is such a file already; say --force to replace it.") from None
    except OSError as error:
        raise Unavailable("The file cannot be written.") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def _put(draft: Path, path: Path, *, force: bool) -> None:
    if not force:
        try:
            os.link(draft, path)  # refuses what has come there meanwhile
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if path.exists():
                raise FileExistsError from None
        else:
            return
    draft.replace(path)


def _refuse_there(file: Path, *, force: bool) -> None:
    if file.is_dir() or not file.name:
        raise InvalidInput("FILE is a directory; name a file in it.")
    if not force and (file.exists() or _manifest_of(file).exists()):
        raise InvalidInput("There is such a file already; say --force to replace it.")


def _manifest_of(file: Path) -> Path:
    return file.with_name(file.name + MANIFEST)


def _shown(manifest: Document, file: Path) -> Any:
    counts = manifest["counts"]
    return facts(
        [
            ("written", str(file)),
            ("manifest", str(_manifest_of(file))),
            ("format", manifest["format"]),
            ("mode", manifest["mode"]),
            ("conversations", counts.get("conversations", 0)),
            ("messages", manifest["messages"]),
            ("left out", manifest["leftOut"] or None),
            ("bytes", manifest["size"]),
            ("sha256", manifest["sha256"]),
            ("job", manifest["id"]),
        ]
    )
