"""The `crontalk` command: finds the subcommand, and turns errors into sentences and exit codes.

Exit codes: 0 done · 1 a bug, or a model that fails its test · 2 the words cannot be accepted · 3 there is no
such thing · 4 its state does not allow it · 5 not allowed · 6 a server is away · 7 the run failed · 8 the
doctor found something · 9 lines of the input could not be read · 130 interrupted.
"""

from __future__ import annotations

import io
import json
import sys

import typer

import cli.explain  # noqa: F401 (its commands belong to `task`)
from cli import (
    accounts,
    anonymising,
    bots,
    conversations,
    datasets,
    deletions,
    doctor,
    erasures,
    exports,
    holds,
    imports,
    jobs,
    memories,
    migrating,
    models,
    notify,
    privacy,
    processes,
    retention,
    runs,
    secrets,
    skillsets,
    tasks,
    up,
)
from core.errors import (
    Conflict,
    CrontalkError,
    InvalidInput,
    LimitReached,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    RunFailed,
    Unavailable,
)

EXIT_CODES: dict[type[CrontalkError], int] = {
    InvalidInput: 2,
    NotFound: 3,
    Conflict: 4,
    NotAuthenticated: 5,
    NotAuthorized: 5,
    LimitReached: 6,
    Unavailable: 6,
    RunFailed: 7,
}
CODES: dict[type[CrontalkError], str] = {
    InvalidInput: "BAD_REQUEST",
    NotFound: "NOT_FOUND",
    Conflict: "CONFLICT",
    NotAuthenticated: "NOT_AUTHENTICATED",
    NotAuthorized: "NOT_AUTHORIZED",
    LimitReached: "LIMITS_REACHED",
    Unavailable: "SERVICE_UNAVAILABLE",
    RunFailed: "RUN_FAILED",
}

UNREAD = "The command line cannot be accepted; standard error says why."

app = typer.Typer(
    name="crontalk",
    help="Runs conversations on a schedule: exactly once, at the right local time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.command()(up.up)
app.command()(up.demo)
app.command()(up.down)
app.command()(up.status)
app.command()(doctor.doctor)
tasks.app.add_typer(notify.app, name="notify")
app.add_typer(tasks.app, name="task")
app.add_typer(runs.app, name="run")
app.add_typer(conversations.app, name="conversation")
app.add_typer(bots.app, name="bot")
app.add_typer(datasets.app, name="dataset")
app.add_typer(skillsets.app, name="skillset")
app.add_typer(models.app, name="model")
app.add_typer(memories.app, name="memory")
app.add_typer(jobs.app, name="job")
app.add_typer(deletions.app, name="delete")
app.add_typer(anonymising.app, name="anonymise")
app.add_typer(retention.app, name="retention")
app.add_typer(holds.app, name="hold")
app.add_typer(secrets.app, name="secret")
app.add_typer(privacy.app, name="privacy")
app.add_typer(accounts.accounts, name="account")
app.add_typer(accounts.tokens, name="token")
app.add_typer(erasures.erasures, name="erasure")
app.add_typer(erasures.audits, name="audit")
app.command("import")(imports.import_)
app.command("export")(exports.export)
app.add_typer(migrating.app, name="migrate")
app.command()(processes.scheduler)
app.command()(processes.worker)
app.command()(processes.api)
app.command()(processes.flower)


def main() -> None:
    """The entry of the console script."""
    _print_anything()
    try:
        app()
    except CrontalkError as error:
        sys.exit(_tell(error))
    except SystemExit as ended:
        if ended.code == EXIT_CODES[InvalidInput] and "--json" in sys.argv:
            print(json.dumps({"message": UNREAD, "code": CODES[InvalidInput]}))
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def _print_anything() -> None:
    """What a terminal's encoding lacks is shown as a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _tell(error: CrontalkError) -> int:
    kind = next(kind for kind in type(error).__mro__ if kind in EXIT_CODES or kind is CrontalkError)
    if "--json" in sys.argv:
        print(json.dumps({"message": str(error), "code": CODES.get(kind, "INTERNAL_SERVER_ERROR")}))
    else:
        print(f"crontalk: {error}", file=sys.stderr)
    return EXIT_CODES.get(kind, 1)
