"""`crontalk secret …`: what abilities show to other programs; nothing here shows it to anybody."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.options import AccountName, AsJson, HomeDir, Take
from cli.reach import reach
from cli.show import Document, facts, items, moment, out, short, table

app = typer.Typer(
    help="Secrets of abilities: written here, used by calls, never shown again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Named = Annotated[str, typer.Argument(metavar="SECRET", help="Name or id of the secret.")]


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    kind: Annotated[
        str | None,
        typer.Option("--type", help="plain, basic (user:password) or bearer; a new one is plain."),
    ] = None,
    description: Annotated[str | None, typer.Option("--description", help="What it opens.")] = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Store a secret, or another value of it; the value is read from standard input or asked for."""
    from core.documents_secrets import secret_document
    from core.secrets import set_secret

    value = _value()
    fields = {"description": description} if description is not None else {}
    with reach(home, account) as at, at.transaction() as session:
        document = secret_document(set_secret(session, name, value, type=kind, **fields))
    told = [("secret", document["id"]), ("type", document["type"]), ("since", moment(document["updatedAt"]))]
    out(document, as_json, facts(told))


@app.command("list")
def list_(
    take: Take = 100, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """The secrets without their values, newest first."""
    from core.documents_secrets import secret_document
    from core.secrets import list_secrets

    with reach(home, account) as at, at.transaction() as session:
        documents = [secret_document(secret) for secret in list_secrets(session, take=take)]
    rows = [
        (d["id"], d.get("name"), d["type"], short(d["updatedAt"]), _used(d), d.get("description"))
        for d in documents
    ]
    titles = ["id", "name", "type", "set (UTC)", "used (UTC)", "description"]
    out(items(documents), as_json, table(titles, rows, "No secrets."))


@app.command()
def delete(
    secret: Named,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Delete a secret for good; abilities that name it fail from now on."""
    from core.secrets import delete_secret, find_secret

    with reach(home, account) as at, at.transaction() as session:
        document: Document = {"id": str(delete_secret(session, find_secret(session, secret).id))}
    out(document, as_json, facts([("deleted", document["id"])]))


def _value() -> str:
    """Never an argument: those stand in the shell's history and in everybody's list of processes."""
    if sys.stdin.isatty():
        return str(typer.prompt("Value", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


def _used(document: Document) -> str | None:
    return short(document["lastUsedAt"]) if "lastUsedAt" in document else None
