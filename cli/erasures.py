"""`crontalk erasure …` and `crontalk audit …`: receipts of deletions, and who was shown what is private."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TextIO

import typer

from cli.options import AccountName, AsJson, HomeDir, Take
from cli.reach import context_for, reach
from cli.show import facts, items, moment, out, print_json, short, table
from core.errors import InvalidInput, Unavailable

erasures = typer.Typer(help="Receipts of deletions.", no_args_is_help=True, rich_markup_mode=None)
audits = typer.Typer(help="Who was shown what is private.", no_args_is_help=True, rich_markup_mode=None)


@erasures.command("list")
def list_erasures(
    take: Take = 20, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """The account's receipts, newest first."""
    from core.documents_erasures import erasure_document
    from core.erasures import list_erasures as find

    with reach(home, account) as at, at.transaction() as session:
        documents = [erasure_document(one) for one in find(session, take=take)]
    rows = [
        (d["id"], moment(d["createdAt"]), d["kind"], d["messages"], d.get("actor"), d["targetId"])
        for d in documents
    ]
    columns = ["id", "deleted (UTC)", "kind", "messages", "by", "what"]
    out(items(documents), as_json, table(columns, rows, "Nothing was deleted yet."))


@erasures.command("export")
def export(
    since: Annotated[
        str | None, typer.Option("--since", help="Only those completed from here on: a date or date-time.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--out", help="A new file; standard output by default.")
    ] = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """The receipts of all accounts as JSON lines, oldest first: they belong beside the backups.

    With --json one document: of the receipts, or with --out of their number.
    """
    from core.documents_erasures import exported_erasure
    from core.erasures import erasures_since

    begin = None if since is None else _instant(since)
    count = 0
    with context_for(home) as context:
        found = (exported_erasure(erasure) for erasure in erasures_since(context, begin))
        if as_json and file is None:
            print_json(items(found))
            return
        with _writing(file) as sink:
            for count, document in enumerate(found, 1):  # noqa: B007 (how many)
                sink.write(json.dumps(document) + "\n")
    if as_json:
        print_json({"receipts": count})
    else:
        print(f"{count} receipts", file=sys.stderr)


@erasures.command("apply")
def apply(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `export` wrote; '-' is standard input.")],
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Delete again what a restored backup has brought back. Twice does no harm; anything may run meanwhile.

    Exit code 6 when something could not be deleted: apply it again.
    """
    from core.erasing import Outcome, apply_erasures, read_receipts

    with _reading(file) as lines:
        receipts = list(read_receipts(lines))  # a file that is cut off deletes nothing
    with context_for(home) as context:
        came = apply_erasures(context, receipts)
    counts = {outcome.value: came[outcome] for outcome in Outcome}
    out({"receipts": len(receipts), **counts}, as_json, facts([("receipts", len(receipts)), *counts.items()]))
    if came[Outcome.FAILED]:
        raise Unavailable("The database was too busy for some; apply it again.")


@audits.command("list")
def list_audit(
    take: Take = 20, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Who was shown what is private, newest first."""
    from core.audit import list_audit as find
    from core.documents_erasures import audit_document

    with reach(home, account) as at, at.transaction() as session:
        documents = [audit_document(one) for one in find(session, take=take)]
    rows = [
        (short(d["createdAt"]), d["action"], d.get("actor"), _counts(d["details"]), d.get("targetId"))
        for d in documents
    ]
    columns = ["when (UTC)", "what", "by", "of", "id"]
    out(items(documents), as_json, table(columns, rows, "Nobody was shown anything yet."))


def _counts(details: dict[str, object]) -> str:
    kinds = details.get("kinds")
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items()) if isinstance(kinds, dict) else ""


def _instant(words: str) -> datetime:
    """An ISO-8601 date or date-time; without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(words)
    except ValueError:
        raise InvalidInput("--since takes a date or a date-time, such as 2026-11-01T00:00Z.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@contextmanager
def _writing(file: Path | None) -> Iterator[TextIO]:
    if file is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        with file.open("x", encoding="ascii") as sink:
            yield sink
    except OSError:
        raise InvalidInput("The file is there already, or cannot be written.") from None


@contextmanager
def _reading(file: str) -> Iterator[TextIO]:
    if file == "-":
        yield sys.stdin
        return
    try:
        with Path(file).open(encoding="utf-8") as source:
            yield source
    except (OSError, UnicodeDecodeError):
        raise InvalidInput("The file cannot be read.") from None
