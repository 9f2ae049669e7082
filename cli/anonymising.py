"""`crontalk anonymise …`: many messages or conversations stay, and tell of nobody any more."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.deletions import (
    After,
    Before,
    Bots,
    Contacts,
    Conversations,
    Everything,
    Ids,
    RateOption,
    Several,
    Source,
    Tasks,
    Wait,
    Yes,
    carry,
    filter_of,
)
from cli.options import AccountName, AsJson, HomeDir
from cli.reach import reach

app = typer.Typer(
    help="Make many messages or conversations anonymous for good.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

OnlySay = Annotated[bool, typer.Option("--dry-run", help="Only say what would be made anonymous.")]


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
    dry_run: OnlySay = False,
    yes: Yes = False,
    wait: Wait = False,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Make messages anonymous; they keep their ids and places. Exit code 7 when it failed."""
    given = filter_of(conversation, task, bot, contact, source, before, after, ids, everything)
    with reach(home, account) as at:
        carry(
            at, "messages", {**given, "type": type_ or None}, rate, dry_run, yes, wait, as_json, "anonymise"
        )


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
    dry_run: OnlySay = False,
    yes: Yes = False,
    wait: Wait = False,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Make conversations anonymous with all they hold. Exit code 7 when it failed."""
    given = filter_of(conversation, task, bot, contact, source, before, after, ids, everything)
    with reach(home, account) as at:
        carry(
            at, "conversations", {**given, "status": status}, rate, dry_run, yes, wait, as_json, "anonymise"
        )
