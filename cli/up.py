"""`crontalk up`, `demo`, `down` and `status`: everything on one machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, HomeDir
from cli.show import Document, console, facts, out, table
from core.errors import Conflict, NotAuthorized, Unavailable

if TYPE_CHECKING:
    from cli.local.home import Home
    from core.reports import WorkHealth

Port = Annotated[
    int, typer.Option("--port", min=1, max=65534, help="The API's port; Flower takes the next one.")
]


def up(
    demo: Annotated[bool, typer.Option("--demo", help="Bring bots and tasks with short schedules.")] = False,
    home: HomeDir = None,
    port: Port = 8080,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Celery workers.")] = 1,
    no_flower: Annotated[bool, typer.Option("--no-flower", help="Leave Flower out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start everything here: PostgreSQL, Valkey, scheduler, workers, API and Flower. Ctrl-C stops it all.

    DATABASE_URL and REDIS_URL replace the bundled servers. Data stay in the home. With --json the document
    comes as soon as everything is up, and the rest is told on standard error.
    """
    from cli.installation import Installation
    from cli.local.home import Home
    from cli.screen import Screen
    from core.settings import read_settings

    settings = read_settings() if home is None else read_settings(home=home)
    place = Home.at(settings.home)
    with place.lock():
        Installation(
            place, settings, Screen(as_json), port=port, workers=workers, flower=not no_flower, demo=demo
        ).run()


def demo(
    chaos: Annotated[
        bool, typer.Option("--chaos", help="Kill processes in the middle of their work, and watch.")
    ] = False,
    home: Annotated[
        Path | None, typer.Option("--home", show_default="one that is thrown away at the end")
    ] = None,
    port: Port = 8080,
    as_json: AsJson = False,
) -> None:
    """Show what Crontalk does, with servers of its own and without a trace.

    With --chaos it ends by itself: exit code 0 when nothing was lost and nothing done twice.
    """
    from cli.chaos import ENVIRONMENT, WORKERS, story
    from cli.installation import Installation
    from cli.local.home import Home
    from cli.screen import Screen
    from core.settings import read_settings

    with _given_or_thrown_away(home, as_json) as directory:
        place = Home.at(directory)
        own = {"home": place.path, "database_url": None, "redis_url": None}
        settings = read_settings().model_copy(update=own)
        kind: dict[str, Any] = {"flower": True, "demo": True}
        if chaos:
            kind = {"workers": WORKERS, "environment": ENVIRONMENT, "script": story}
        with place.lock():
            to_the_end = Installation(place, settings, Screen(as_json), port=port, **kind).run()
        if chaos and not to_the_end:
            raise typer.Exit(130)


@contextmanager
def _given_or_thrown_away(home: Path | None, as_json: bool) -> Iterator[Path]:
    if home is not None:
        yield home
        return
    with TemporaryDirectory(prefix="crontalk-demo-") as directory:
        yield Path(directory)
    console(stderr=as_json).print("The home was a temporary one and is gone.", style="dim")


def down(home: HomeDir = None, as_json: AsJson = False) -> None:
    """Stop the `up` that runs on this home, and wait until it is gone."""
    from cli.local.processes import alive, wait_until

    place = _home(home)
    pid = place.holder()
    if pid is None:
        raise Conflict(f"Nothing runs on {place.path}.")
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError as error:
        raise NotAuthorized(f"The `up` with pid {pid} belongs to somebody else.") from error
    except ProcessLookupError:
        pass  # it ended meanwhile
    if not wait_until(lambda: not alive(pid), timedelta(seconds=60)):
        raise Unavailable(f"The `up` with pid {pid} did not stop within a minute.")
    document: Document = {"stopped": pid}
    out(document, as_json, facts([("stopped", pid)]))


def status(home: HomeDir = None, as_json: AsJson = False) -> None:
    """What runs where, and whether work is done.

    Exit code 0 when it is, 8 when something is in its way (what, and what to type, is told), 6 when nothing
    runs or the database is away.
    """
    from cli.doctor import ILL, document_of, tell
    from cli.reach import context_for
    from core.checkup import troubles
    from core.reports import work_health

    running = _home(home).read_running()
    with context_for(home) as context:
        found = troubles(context)
        health = None
        if not any(finding.name == "schema" for finding in found):
            with context.transaction() as session:
                health = work_health(session)
        hints = context.publisher.waiting("chat")
    healthy = not found and health is not None and health.healthy
    document: Document = {
        "healthy": healthy,
        "waiting": health.waiting if health else None,
        "oldestSeconds": round(health.oldest_seconds, 3) if health else None,
        "schedulerLagSeconds": round(health.scheduler_lag_seconds, 3) if health else None,
        "polled": health.polled if health else None,
        "hints": hints,
        "apiUrl": running.api_url if running else None,
        "flowerUrl": running.flower_url if running else None,
        "troubles": [document_of(finding) for finding in found],
        "items": [{"name": n, "pid": p} for n, p in running.processes.items()] if running else [],
    }
    if as_json:
        out(document, as_json, "")
    else:
        _show_status(document, health)
        for finding in found:
            tell(finding)
        if running:
            console().print(table(["process", "pid"], running.processes.items(), ""))
    if not healthy:
        raise typer.Exit(ILL)


def _show_status(document: Document, health: WorkHealth | None) -> None:
    waits = "WAITS: `crontalk doctor` looks at everything"
    shown = [
        ("work", "is done" if document["healthy"] else waits if health else "STOPS: the schema"),
        ("due runs waiting", document["waiting"]),
        ("oldest waits", f"{health.oldest_seconds:.1f} s" if health else None),
        ("scheduler lag", f"{health.scheduler_lag_seconds:.1f} s" if health else None),
        ("polled in 5 min", document["polled"] or None),
        ("hints queued", document["hints"] if document["hints"] is not None else "broker away"),
        ("API", document["apiUrl"]),
        ("Flower", document["flowerUrl"]),
    ]
    console().print(facts(shown))


def _home(home: Path | None) -> Home:
    from cli.local.home import Home
    from core.settings import read_settings

    return Home.seen(home if home is not None else read_settings().home)
