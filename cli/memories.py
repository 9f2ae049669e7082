"""`crontalk memory …`: what bots are to remember."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import AccountName, AsJson, HomeDir, Take, said
from cli.reach import reach
from cli.show import Document, facts, items, out, short, table

app = typer.Typer(
    help="Memories: what bots keep from one conversation to the next.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

OfBot = Annotated[str | None, typer.Option("--bot", help="Of this bot: name or id.")]
OfContact = Annotated[str | None, typer.Option("--contact", help="Of this contact.")]


@app.command()
def add(
    text: Annotated[str, typer.Argument(help="Up to 2,000 characters; '-' reads standard input.")],
    bot: OfBot = None,
    contact: OfContact = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Have something remembered, of a contact, a bot or both."""
    from core.bots import find_bot
    from core.documents_memories import memory_document
    from core.memories import create_memory

    with reach(home, account) as at, at.transaction() as session:
        bot_id = find_bot(session, bot).id if bot else None
        document = memory_document(
            create_memory(session, text=(said(text) or "").strip(), bot_id=bot_id, contact_id=contact)
        )
    out(document, as_json, facts([("memory", document["id"]), ("text", document["text"])]))


@app.command("list")
def list_(
    search: Annotated[str | None, typer.Option("--search", help="Any of these words, best first.")] = None,
    bot: OfBot = None,
    contact: OfContact = None,
    take: Take = 100,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """The memories, newest first."""
    from core.bots import find_bot
    from core.documents_memories import memory_document
    from core.memories import list_memories, search_memories

    with reach(home, account) as at, at.transaction() as session:
        bot_id = find_bot(session, bot).id if bot else None
        if search is None:
            found = list_memories(session, bot_id=bot_id, contact_id=contact, take=take)
        else:
            found = search_memories(session, search, bot_id=bot_id, contact_id=contact)[:take]
        documents = [memory_document(memory) for memory in found]
    rows = [
        (d["id"], short(d["createdAt"]), d.get("botId"), d.get("contactId"), d["text"]) for d in documents
    ]
    out(
        items(documents),
        as_json,
        table(["id", "since (UTC)", "bot", "contact", "text"], rows, "No memories."),
    )


@app.command()
def delete(
    memory: Annotated[str, typer.Argument(metavar="MEMORY", help="The memory's id.")],
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Delete a memory for good."""
    from core.memories import delete_memory

    with reach(home, account) as at, at.transaction() as session:
        document: Document = {"id": str(delete_memory(session, memory))}
    out(document, as_json, facts([("deleted", document["id"])]))
