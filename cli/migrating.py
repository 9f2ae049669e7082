"""`crontalk migrate` brings the schema up to date; `crontalk migrate chatbotkit` moves an account here."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import processes
from cli.imports import errors_of, tell_end
from cli.jobs import job_of, shown, watched
from cli.options import AccountName, AsJson, HomeDir, instant
from cli.reach import reach
from cli.show import console, out
from core.errors import InvalidInput

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def migrate(context: typer.Context, home: HomeDir = None, as_json: AsJson = False) -> None:
    """Bring the database's schema up to date; with a sub-command, move an account here."""
    if context.invoked_subcommand is None:
        processes.migrate(home, as_json)
        return
    for name, option in (("home", "--home"), ("as_json", "--json")):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":  # it would be forgotten there
            raise InvalidInput(f"Say {option} behind {context.invoked_subcommand}.")


@app.command()
def chatbotkit(
    base_url: Annotated[
        str, typer.Option("--base-url", help="Where the server's API is.")
    ] = "https://api.chatbotkit.com",
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="CRONTALK_MIGRATE_TOKEN",
            show_envvar=True,
            help="Opens that server; '-' reads standard input, and without it you are asked.",
        ),
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", help="Some of bots,contacts,tasks,conversations.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="No conversations that have not changed since this date.")
    ] = None,
    privacy: Annotated[
        bool, typer.Option("--privacy", help="What is said is redacted, whatever its bot has.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Watch it to its end.")] = True,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Pull bots, contacts, tasks and conversations from a server that speaks ChatBotKit's API.

    Say it again for what is new since: nothing comes twice. Exit code 9 when something could not be kept.
    """
    from core.migration_jobs import create_migration_job

    secret, kinds = _secret(token), [kind.strip() for kind in (only or "").split(",") if kind.strip()]
    with reach(home, account) as at:
        with at.transaction() as session:
            job = create_migration_job(
                session,
                base_url=base_url,
                token=secret,
                only=kinds,
                since=instant(since, "--since"),
                privacy=privacy,
            )
            made = str(job.id)
        if not as_json:
            console(stderr=True).print(f"job {made}")
        document = watched(at, made, quiet=as_json) if wait else job_of(at, made)
        rejected = errors_of(at, made) if wait and not as_json else []
    out(document, as_json, shown(document))
    if wait:
        tell_end(document, rejected)


def _secret(given: str | None) -> str:
    """The token, from where no shell keeps it unless it was told to."""
    if given == "-":
        return sys.stdin.readline().strip()
    if given:
        return given
    if not (console(stderr=True).is_terminal and sys.stdin.isatty()):
        raise InvalidInput("Name the token: CRONTALK_MIGRATE_TOKEN, or --token - to read standard input.")
    told: str = typer.prompt("Token of the server", hide_input=True, err=True)
    return told.strip()
