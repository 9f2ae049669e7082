"""`crontalk hold …`: what is kept whatever a rule or a deletion says."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import AccountName, AsJson, HomeDir, Take
from cli.reach import reach
from cli.show import Document, facts, items, moment, out, short, table

app = typer.Typer(
    help="Legal holds: nothing they are on is deleted or made anonymous.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NOUNS = (("conversation", "conversationId"), ("contact", "contactId"), ("task", "taskId"), ("bot", "botId"))


@app.command()
def place(
    conversation: Annotated[str | None, typer.Option("--conversation", help="On this conversation.")] = None,
    contact: Annotated[str | None, typer.Option("--contact", help="On the conversations with it.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="On this task's conversations.")] = None,
    bot: Annotated[str | None, typer.Option("--bot", help="On this bot's conversations.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="On everything of the account.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; it goes with the release.")] = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Hold a conversation, a contact, a task, a bot or everything, from now on."""
    from core.documents_retention import hold_document
    from core.holds import place_hold

    of = {"conversation_id": conversation, "contact_id": contact, "task_id": task, "bot_id": bot}
    with reach(home, account) as at, at.transaction() as session:
        document = hold_document(place_hold(session, everything=everything, reason=reason, **of))
    told = [("hold", document["id"]), ("on", _on(document)), ("since", moment(document["createdAt"]))]
    out(document, as_json, facts(told))


@app.command("list")
def list_(
    take: Take = 100, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """The holds, newest first."""
    from core.documents_retention import hold_document
    from core.holds import list_holds

    with reach(home, account) as at, at.transaction() as session:
        documents = [hold_document(hold) for hold in list_holds(session, take=take)]
    rows = [(d["id"], _on(d), short(d["createdAt"]), d.get("placedBy"), d.get("reason")) for d in documents]
    out(items(documents), as_json, table(["id", "on", "since (UTC)", "by", "reason"], rows, "No holds."))


@app.command()
def release(
    hold: Annotated[str, typer.Argument(metavar="HOLD", help="The hold's id.")],
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Take a hold away; what rules and deletions say holds again."""
    from core.holds import release_hold

    with reach(home, account) as at, at.transaction() as session:
        document: Document = {"id": str(release_hold(session, hold))}
    out(document, as_json, facts([("released", document["id"])]))


def _on(document: Document) -> str:
    return next((f"{noun} {document[key]}" for noun, key in NOUNS if key in document), "everything")
