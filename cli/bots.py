"""`crontalk bot …`: who answers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import AccountName, AsJson, HomeDir, Take
from cli.reach import reach
from cli.show import Document, facts, items, out, table

app = typer.Typer(help="Bots.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name.")],
    backstory: Annotated[str | None, typer.Option("--backstory", help="Who the bot is.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Such as offline, or gpt-5-mini/temperature=0.2 with an endpoint."),
    ] = None,
    description: Annotated[str | None, typer.Option("--description")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="What it knows: name or id.")] = None,
    skillset: Annotated[str | None, typer.Option("--skillset", help="What it can do: name or id.")] = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Make a bot."""
    from core.bots import create_bot
    from core.documents_objects import bot_document
    from core.fields import find_named
    from models import Dataset, Skillset

    with reach(home, account) as at, at.transaction() as session:
        bot = create_bot(
            session,
            name=name,
            backstory=backstory,
            model=model,
            description=description,
            dataset_id=find_named(session, Dataset, dataset).id if dataset else None,
            skillset_id=find_named(session, Skillset, skillset).id if skillset else None,
        )
        document = bot_document(bot)
    out(document, as_json, _facts(document))


@app.command("list")
def list_(
    take: Take = 100, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """The bots, newest first."""
    from core.bots import list_bots
    from core.documents_objects import bot_document

    with reach(home, account) as at, at.transaction() as session:
        documents = [bot_document(bot) for bot in list_bots(session, take=take)]
    rows = [
        (d["id"], d.get("name"), d.get("model", "(default)"), "yes" if d.get("default") else "")
        for d in documents
    ]
    out(items(documents), as_json, table(["id", "name", "model", "default"], rows, "No bots yet."))


@app.command()
def show(
    bot: Annotated[str, typer.Argument(metavar="BOT", help="Name or id.")],
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """One bot."""
    from core.bots import find_bot
    from core.documents_objects import bot_document

    with reach(home, account) as at, at.transaction() as session:
        document = bot_document(find_bot(session, bot))
    out(document, as_json, _facts(document))


def _facts(document: Document) -> Any:
    return facts(
        [
            ("bot", document["id"]),
            ("name", document.get("name")),
            ("model", document.get("model", "(default)")),
            ("backstory", document.get("backstory")),
            ("description", document.get("description")),
        ]
    )
