"""`crontalk dataset …`: what bots know."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Annotated

import typer

from cli.options import AccountName, AsJson, HomeDir, Take, said
from cli.reach import Reach, reach
from cli.show import Document, facts, items, out, short, table

app = typer.Typer(help="Datasets: what bots know.", no_args_is_help=True, rich_markup_mode=None)

Named = Annotated[str, typer.Argument(metavar="DATASET", help="Name or id of the dataset.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name.")],
    language: Annotated[
        str | None, typer.Option("--language", help="What its words are stemmed by; english unless told.")
    ] = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Make a dataset."""
    from core.datasets import create_dataset
    from core.documents_knowledge import dataset_document

    config = {"language": language} if language is not None else {}
    with reach(home, account) as at, at.transaction() as session:
        document = dataset_document(create_dataset(session, name=name, config=config))
    out(document, as_json, facts([("dataset", document["id"]), ("name", document["name"])]))


@app.command("list")
def list_(
    take: Take = 100, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """The datasets, newest first."""
    from core.datasets import list_datasets
    from core.documents_knowledge import dataset_document

    with reach(home, account) as at, at.transaction() as session:
        documents = [dataset_document(dataset) for dataset in list_datasets(session, take=take)]
    rows = [(d["id"], d.get("name"), short(d["updatedAt"])) for d in documents]
    out(items(documents), as_json, table(["id", "name", "changed (UTC)"], rows, "No datasets yet."))


@app.command()
def add(
    dataset: Named,
    files: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, dir_okay=False, help="Files that are made into records by a job."),
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="One record; '-' reads standard input.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Where the text is from.")] = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Add a text, or files: text, Markdown, HTML, CSV, JSON, PDF and Word."""
    from core.datasets import create_record
    from core.errors import InvalidInput
    from core.fields import find_named
    from models import Dataset

    if not files and text is None:
        raise InvalidInput("Say a file or a --text.")
    told: list[tuple[str, str]] = []
    with reach(home, account) as at:
        with at.transaction() as session:
            found = find_named(session, Dataset, dataset).id
            if text is not None:
                record = create_record(session, found, text=said(text), source=source)
                told.append(("record", str(record.id)))
        told += [("job", _added(at, str(found), file)) for file in files or ()]
    document: Document = {"items": [{kind: name} for kind, name in told]}
    out(document, as_json, facts(told))


@app.command()
def search(
    dataset: Named,
    words: Annotated[str, typer.Argument(metavar="WORDS", help="What is asked for.")],
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """What a bot would find, best first."""
    from core.documents_knowledge import match_document
    from core.fields import find_named
    from core.searching import search_dataset
    from models import Dataset

    with reach(home, account) as at, at.transaction() as session:
        _, matches = search_dataset(session, find_named(session, Dataset, dataset).id, words)
        documents = [match_document(match) for match in matches]
    rows = [(d["score"], d.get("source"), " ".join(d["text"].split())[:120]) for d in documents]
    out(items(documents), as_json, table(["score", "source", "text"], rows, "Nothing fits."))


@app.command()
def delete(
    dataset: Named, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Delete a dataset with its records; bots lose their link to it."""
    from core.datasets import delete_dataset
    from core.fields import find_named
    from models import Dataset

    with reach(home, account) as at, at.transaction() as session:
        document: Document = {"id": str(delete_dataset(session, find_named(session, Dataset, dataset).id))}
    out(document, as_json, facts([("deleted", document["id"])]))


def _added(at: Reach, dataset: str, file: Path) -> str:
    """Stores the file, attaches it and asks for its records: the job's id."""
    from core.blobs import drop, open_writing
    from core.dataset_files import attach_file
    from core.file_names import Described, media_type, safe_name
    from core.files import create_file, start_file_content
    from core.sync_jobs import create_sync_job

    kind = media_type(mimetypes.guess_type(file.name)[0])
    with at.transaction() as session:
        stored = create_file(session, name=file.name)
        told = Described(safe_name(file.name), kind, file.stat().st_size)
        writing = open_writing(at.context, session, start_file_content(session, stored.id, told))
    try:
        with file.open("rb") as content:
            while piece := content.read(1024 * 1024):
                writing.add(piece)
        writing.finish()
    except BaseException:
        drop(at.context, writing)
        raise
    with at.transaction() as session:
        attach_file(session, dataset, stored.id)
        return str(create_sync_job(session, dataset, stored.id).id)
