"""The commands that are processes: scheduler, worker, api, flower; and what goes before them, migrate."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson, HomeDir
from cli.reach import settings_for
from cli.show import facts, out, print_json
from core.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from types import FrameType

    from core.settings import Settings


def migrate(home: HomeDir = None, as_json: AsJson = False) -> None:
    """Bring the database's schema up to date."""
    from core.database import translated
    from core.schema import newest, upgrade

    url = settings_for(home).database_url
    if url is None:
        raise Unavailable("No database is configured.")
    with translated():
        upgrade(url)
    document = {"revision": newest()}
    out(document, as_json, facts([("schema", document["revision"])]))


def scheduler(home: HomeDir = None, as_json: AsJson = False) -> None:
    """Fire due tasks, reap lost runs, hint waiting ones. Any number may run."""
    from core.context import make_context
    from core.logs import configure
    from scheduler.loop import run

    settings = settings_for(home)
    configure(settings.log_level, process="scheduler")
    _introduce("scheduler", as_json)
    context = make_context(settings, "scheduler")
    try:
        run(context, _stop_on_signals())
    finally:
        context.close()


def worker(
    queues: Annotated[str, typer.Option("--queues", help="chat, or annotate,bulk.")] = "chat",
    concurrency: Annotated[int | None, typer.Option("--concurrency", "-c", min=1, max=2000)] = None,
    poll: Annotated[
        bool, typer.Option("--poll", help="Serve rows that nobody claims; needs no broker.")
    ] = False,
    run: Annotated[str | None, typer.Option("--run", hidden=True)] = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Carry out runs: a Celery worker, or the poll loop."""
    from core.logs import configure

    settings = settings_for(home)
    if run is not None:
        configure(settings.log_level, process="alone")
        _work_alone(settings, run)
        return
    configure(settings.log_level, process="poll" if poll else f"worker {queues}")
    _introduce("poll" if poll else "worker", as_json)
    if poll:
        from worker.poll import SLOTS
        from worker.poll import run as run_poll
        from worker.process import make_hands

        run_poll(make_hands(settings, "poll"), _stop_on_signals(), slots=concurrency or SLOTS)
        return
    from worker.main import serve

    serve(settings, [queue.strip() for queue in queues.split(",")], concurrency)


def _work_alone(settings: Settings, run_id: str) -> None:
    from core.rows import as_id
    from models import Run
    from worker.alone import run
    from worker.process import make_hands

    run(make_hands(settings, "alone"), as_id(run_id, Run), _stop_on_signals())


def api(
    host: Annotated[str | None, typer.Option("--host", help="127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535)] = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Serve HTTP."""
    from api.main import serve

    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings_for(home).model_copy(update=given)
    _introduce("api", as_json)
    serve(settings)


def flower(
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 5555,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Serve Flower, which shows the workers and their deliveries."""
    from worker.flower import serve

    settings = settings_for(home)
    if host not in {"127.0.0.1", "::1", "localhost"} and settings.flower_auth is None:
        raise InvalidInput(
            "Flower can shut workers down: beyond loopback set CRONTALK_FLOWER_AUTH=user:password."
        )
    _introduce("flower", as_json)
    serve(settings, host, port)


def _introduce(name: str, as_json: bool) -> None:
    """With --json, the one document of a command that stays: its logs go to standard error."""
    if as_json:
        print_json({"name": name, "pid": os.getpid()})


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    return stop
