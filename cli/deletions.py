"""`crontalk delete …`: many messages or conversations at once, at a rate, after a look at what goes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.jobs import shown, watched
from cli.options import AccountName, AsJson, HomeDir, instant
from cli.reach import Reach, reach
from cli.show import Document, console, facts, moment, out
from core.errors import Conflict, InvalidInput, RunFailed

app = typer.Typer(
    help="Delete many messages or conversations for good.", no_args_is_help=True, rich_markup_mode=None
)

Several = list[str] | None
Conversations = Annotated[Several, typer.Option("--conversation", help="Of this conversation; repeatable.")]
Tasks = Annotated[Several, typer.Option("--task", help="Of this task's conversations; repeatable.")]
Bots = Annotated[Several, typer.Option("--bot", help="Of this bot's conversations; repeatable.")]
Contacts = Annotated[Several, typer.Option("--contact", help="Of conversations with it; repeatable.")]
Source = Annotated[str | None, typer.Option("--source", help="Of conversations from there, such as api.")]
Before = Annotated[str | None, typer.Option("--before", help="Made before: a date or date-time.")]
After = Annotated[str | None, typer.Option("--after", help="Made then or later: a date or date-time.")]
Ids = Annotated[Several, typer.Option("--id", help="This one; repeatable.")]
Everything = Annotated[bool, typer.Option("--all", help="All of the account, and nothing else then.")]
RateOption = Annotated[
    str | None, typer.Option("--rate", help="Such as 200/s or 9000/m; the account's unless told.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]
Yes = Annotated[bool, typer.Option("--yes", help="Really, without being asked: it cannot be undone.")]
Wait = Annotated[bool, typer.Option("--wait", help="Watch it to its end.")]


@app.command()
def messages(
    conversation: Conversations = None,
    task: Tasks = None,
    bot: Bots = None,
    contact: Contacts = None,
    source: Source = None,
    type_: Annotated[Several, typer.Option("--type", help="user, bot, …; repeatable.")] = None,
    before: Before = None,
    after: After = None,
    ids: Ids = None,
    everything: Everything = False,
    rate: RateOption = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = False,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Delete messages; the others keep their ids and places. Exit code 7 when it failed."""
    given = filter_of(conversation, task, bot, contact, source, before, after, ids, everything)
    with reach(home, account) as at:
        carry(at, "messages", {**given, "type": type_ or None}, rate, dry_run, yes, wait, as_json)


@app.command()
def conversations(
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
    rate: RateOption = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = False,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Delete conversations with all they hold. Exit code 7 when it failed."""
    given = filter_of(conversation, task, bot, contact, source, before, after, ids, everything)
    with reach(home, account) as at:
        carry(at, "conversations", {**given, "status": status}, rate, dry_run, yes, wait, as_json)


def filter_of(
    conversation: Several,
    task: Several,
    bot: Several,
    contact: Several,
    source: str | None,
    before: str | None,
    after: str | None,
    ids: Several,
    everything: bool,
) -> dict[str, Any]:
    """A filter as the verbs name it, of what the options said."""
    return {
        "conversation_id": conversation or None,
        "task_id": task or None,
        "bot_id": bot or None,
        "contact_id": contact or None,
        "source": source,
        "before": instant(before, "--before"),
        "after": instant(after, "--after"),
        "ids": ids or None,
        "all": True if everything else None,
    }


def carry(
    at: Reach,
    what: str,
    selected: dict[str, Any],
    rate: str | None,
    dry_run: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
    kind: str = "delete",
) -> None:
    """Looks, asks, and has it deleted, or made anonymous; says how it ended where that is waited for."""
    from core.delete_jobs import create_delete_job, preview_deletion
    from core.documents_jobs import made_document, preview_document
    from models import JobKind

    work = JobKind(kind)
    with at.transaction() as session:
        preview = preview_document(preview_deletion(session, what, selected, rate, work))
    if dry_run:
        out(preview, as_json, _previewed(preview))
        return
    if not yes:
        _ask(preview, as_json, work)
    with at.transaction() as session:
        made = create_delete_job(
            session, what, selected, rate=rate, confirm=preview["confirmation"], kind=work
        )
        document = made_document(*made)
    if not wait:
        out(document, as_json, facts([("job", document["id"]), (what, document["count"])]))
        return
    document = watched(at, document["id"], quiet=as_json)
    out(document, as_json, shown(document))
    if document["state"] == "failed":
        raise RunFailed(f"The job failed: {document['errorClass']}.")
    if not document["state"].startswith("completed"):
        raise Conflict(f"The job is {document['state']}.")


def _ask(preview: Document, as_json: bool, kind: str) -> None:
    """A person at a terminal may say yes; anybody else has to say so beforehand."""
    deletes = kind == "delete"
    done = "deleted" if deletes else "made anonymous"
    refusal = f"Nothing was {done}. It cannot be undone: say it again with --yes."
    if as_json or not console(stderr=True).is_terminal:
        raise InvalidInput(refusal)
    console(stderr=True).print(_previewed(preview))
    if not typer.confirm("Delete them for good?" if deletes else "Make them anonymous for good?", err=True):
        raise InvalidInput(refusal)


def _previewed(preview: Document) -> Any:
    return facts(
        [
            (preview["what"], preview["count"]),
            ("conversations", None if preview["what"] == "conversations" else preview["conversations"]),
            ("held back", preview["held"] or None),
            ("oldest", moment(preview.get("oldest"))),
            ("newest", moment(preview.get("newest"))),
            ("such as", ", ".join(preview["sample"][:3]) or None),
            ("rate", preview.get("rate", "no limit")),
        ]
    )
