"""`crontalk conversation …`: look into one, speak in one, delete one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import AccountName, AsJson, HomeDir, Take
from cli.reach import reach
from cli.show import Document, facts, items, moment, out, short, table, transcript

app = typer.Typer(help="Conversations.", no_args_is_help=True, rich_markup_mode=None)

ConversationId = Annotated[str, typer.Argument(metavar="CONVERSATION", help="The conversation's id.")]


@app.command("list")
def list_(
    task: Annotated[str | None, typer.Option("--task", help="Only those of this task.")] = None,
    take: Take = 20,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """The conversations, newest first."""
    from core.conversations import list_conversations
    from core.documents import conversation_document

    with reach(home, account) as at, at.transaction() as session:
        found = list_conversations(session, task_id=task, take=take)
        documents = [conversation_document(one) for one in found]
    rows = [(d["id"], short(d["createdAt"]), d["source"], d.get("name")) for d in documents]
    columns = ["id", "created (UTC)", "source", "name"]
    out(items(documents), as_json, table(columns, rows, "No conversations yet."))


@app.command()
def create(
    bot: Annotated[str | None, typer.Option("--bot", help="Name or id; the default bot by default.")] = None,
    name: Annotated[str | None, typer.Option("--name")] = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Open an empty conversation with a bot."""
    from core.conversations import create_conversation
    from core.documents import conversation_document

    with reach(home, account) as at, at.transaction() as session:
        document = conversation_document(create_conversation(session, bot_id=bot, name=name, source="cli"))
    out(document, as_json, facts([("conversation", document["id"])]))


@app.command()
def show(
    conversation: ConversationId,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="With the values behind tokens; whoever looks is written down.")
    ] = False,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """One conversation with its task, its run and everything said; personal data is underlined."""
    from core.documents import conversation_document
    from core.messages import list_messages
    from core.rows import own
    from models import Conversation

    with reach(home, account) as at, at.transaction() as session:
        found = own(session, Conversation, conversation)
        said = list_messages(session, found.id, take=1000)
        if reveal:
            said = _revealed(session, found, said)
        document = conversation_document(found, said)
    out(document, as_json, _story(document))


@app.command()
def send(
    conversation: ConversationId,
    text: Annotated[str, typer.Argument(help="What to say.")],
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Store a message of the user; nobody answers."""
    from core.documents import message_document
    from core.talking import send as say

    with reach(home, account) as at, at.transaction() as session:
        document = message_document(say(session, conversation, text).message)
    out(document, as_json, facts([("message", document["id"])]))


@app.command()
def complete(
    conversation: ConversationId,
    text: Annotated[str | None, typer.Argument(help="What to say; without it the bot goes on.")] = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Say something and wait for the answer."""
    from cli.runs import run_with_messages
    from core.errors import RunFailed
    from core.runs import wait_for_run
    from core.talking import complete as ask

    with reach(home, account) as at:
        with at.transaction() as session:
            run = ask(session, conversation, text)
        ended = wait_for_run(at.context, at.account, run.id, at.context.settings.turn_time)
        document = run_with_messages(at, str(run.id))
    if ended.error_class:
        raise RunFailed(f"The turn ended as {ended.error_class}; see `crontalk run show {run.id}`.")
    replies = [m for m in document["messages"] if m.get("runId") == str(run.id) and m["type"] == "bot"]
    out({**replies[-1], "runId": str(run.id), "usage": document["usage"]}, as_json, transcript(replies))


@app.command()
def delete(
    conversation: ConversationId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Delete a conversation with its messages for good."""
    from core.conversations import delete_conversation

    with reach(home, account) as at, at.transaction() as session:
        document: Document = {"id": str(delete_conversation(session, conversation))}
    out(document, as_json, facts([("deleted", document["id"])]))


def _revealed(session: Any, conversation: Any, said: list[Any]) -> list[Any]:
    from core.sight import see_conversations, seen_messages

    see_conversations(session, [conversation])
    return seen_messages(session, said)


def _story(document: Document) -> Any:
    from rich.console import Group

    head = facts(
        [
            ("conversation", document["id"]),
            ("name", document.get("name")),
            ("task", document.get("taskId")),
            ("run", document.get("runId")),
            ("bot", document.get("botId")),
            ("source", document["source"]),
            ("created", moment(document["createdAt"])),
        ]
    )
    return Group(head, "", transcript(document["messages"]))
