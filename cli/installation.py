"""One installation on one machine: its processes in order, its first account, and what the screen shows."""

from __future__ import annotations

import os
import socket
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cli.local.home import Home, Running
from cli.local.keyfile import keep_key
from cli.local.processes import wait_until
from cli.local.servers import bundled
from cli.local.specs import Event, Happening, ProcessSpec
from cli.local.supervisor import Supervisor
from cli.reach import with_key
from cli.screen import Screen
from core.errors import Unavailable

if TYPE_CHECKING:
    from core.context import Context
    from core.settings import Settings

LOOPBACK = "127.0.0.1"
LOOK = 0.3
LEAVING = timedelta(seconds=5)
THE_END = object()


@dataclass(frozen=True)
class Stage:
    """What a script finds when everything is up. `processes` answers with the pids of this moment."""

    context: Context
    account: uuid.UUID
    screen: Screen
    processes: Callable[[], Mapping[str, int]]


Script = Callable[[Stage], Iterator[None]]


class Installation:
    """Starts and stops everything; call `run` with the home's lock held.

    A `script` is told instead of the news: it goes on for one step at every look, and everything stops when
    it ends. `environment` is what the processes are told beyond our own.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        screen: Screen,
        *,
        port: int,
        workers: int = 1,
        flower: bool = False,
        demo: bool = False,
        environment: Mapping[str, str] | None = None,
        script: Script | None = None,
    ) -> None:
        self._home = home
        self._port = port
        self._demo = demo
        self._screen = screen
        self._extra = environment or {}
        self._script = script
        self._api_url = f"http://{LOOPBACK}:{port}"
        self._flower_url = f"http://{LOOPBACK}:{port + 1}" if flower else None
        for taken in [port, *([port + 1] if flower else [])]:
            _refuse_taken(taken)
        servers = bundled(home, postgres=not settings.database_url, valkey=not settings.redis_url)
        found = {
            "database_url": settings.database_url or servers.database_url,
            "redis_url": settings.redis_url or servers.redis_url,
            "flower_url": self._flower_url,
            "home": home.path,
        }
        self._settings = settings.model_copy(update=found)
        self._supervisor = Supervisor([*servers.specs, *self._processes(workers)], home.logs, self._tell)

    def run(self) -> bool:
        """Runs until SIGINT or SIGTERM or the script's end, then stops everything in reverse order.

        Answers whether the end was the script's own.

        Raises:
            Unavailable: a process ended before it was ready; everything is stopped then.

        """
        began, told = time.monotonic(), False
        with self._supervisor.signals():
            try:
                if self._supervisor.start():
                    self._write_running()
                    self._welcome(time.monotonic() - began)
                    told = self._watch()
            finally:
                self._screen.line("Stopping …")
                self._supervisor.stop()
                self._screen.line("Stopped. Nothing is left running; the data stay in the home.")
        return told

    def _processes(self, workers: int) -> list[ProcessSpec]:
        grace = self._settings.grace + timedelta(seconds=5)
        chat = [
            self._spec(f"worker-{number}", ["worker", "--queues", "chat"], grace=grace)
            for number in range(1, workers + 1)
        ]
        specs = [
            self._spec("scheduler", ["scheduler"], prepare=self._prepare_once()),
            *chat,
            self._spec(
                "annotator",
                ["worker", "--queues", "annotate,bulk", "--concurrency", "1"],
                grace=grace,
            ),
            self._spec("poll", ["worker", "--poll"], grace=grace),
            self._spec("api", ["api"], ready=lambda: _answers(f"{self._api_url}/health/ready")),
        ]
        if self._flower_url:
            flower = ["flower", "--port", str(self._port + 1)]
            specs.append(self._spec("flower", flower, ready=lambda: _listens(self._port + 1)))
        return specs

    def _spec(
        self,
        name: str,
        command: list[str],
        *,
        grace: timedelta = timedelta(seconds=10),
        prepare: Callable[[], None] | None = None,
        ready: Callable[[], bool] | None = None,
    ) -> ProcessSpec:
        # -P: whatever directory `up` is started in, its own `models` or `core` are not ours.
        argv = [sys.executable, "-P", "-m", "cli", *command]
        return ProcessSpec(
            name=name, argv=argv, env=self._environment(), grace=grace, prepare=prepare, ready=ready
        )

    def _environment(self) -> Mapping[str, str]:
        settings = self._settings
        wanted = {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "CRONTALK_HOME": str(settings.home),
            "CRONTALK_HOST": LOOPBACK,
            "CRONTALK_PORT": str(self._port),
            "CRONTALK_FLOWER_URL": settings.flower_url,
            # On one's own machine the chat page talks to the default bot without a token.
            "CRONTALK_ANONYMOUS": settings.anonymous or "first",
        }
        return {**os.environ, **self._extra, **{name: value for name, value in wanted.items() if value}}

    def _prepare_once(self) -> Callable[[], None]:
        """Runs before the first process of ours: the servers are up, the schema may not be."""
        done: list[bool] = []

        def prepare() -> None:
            if not done:
                self._prepare()
                done.append(True)

        return prepare

    def _prepare(self) -> None:
        from core.context import make_context
        from core.database import translated
        from core.logs import configure
        from core.schema import upgrade

        if self._settings.key is None:
            keep_key(self._home.path)
        configure("error", process="up")
        with translated():
            upgrade(self._settings.database_url or "")
        mine = with_key(self._settings).model_copy(update={"pool_size": 2})
        self._context: Context = make_context(mine, "up")
        self._screen.begin(self._context)
        self._account = self._first_account(self._context)
        if self._demo:
            from cli.demo import seed

            made = seed(self._context, self._account)
            self._screen.line(f"Demo: {made} tasks made." if made else "Demo: its tasks are there already.")

    def _first_account(self, context: Context) -> uuid.UUID:
        """The first account, made when there is none; its token is shown once and stored for the CLI."""
        from core.accounts import create_account, create_token, list_accounts

        with context.transaction() as session:
            accounts = list_accounts(session)
            if accounts:
                return accounts[0].id
            account = create_account(session, "first").id
            _, secret = create_token(session, account, "cli")
        _store_secret(self._home, secret)
        self._screen.token(secret, self._home.token_file)
        return account

    def _write_running(self) -> None:
        settings = self._settings
        self._home.write_running(
            Running(
                pid=os.getpid(),
                database_url=settings.database_url or "",
                redis_url=settings.redis_url or "",
                api_url=self._api_url,
                flower_url=self._flower_url,
                processes=self._supervisor.processes,
            )
        )

    def _welcome(self, seconds: float) -> None:
        from core.accounts import create_login_link

        with self._context.transaction() as session:
            code = create_login_link(session, self._account)
        self._screen.welcome(
            home=self._home.path,
            api=self._api_url,
            flower=self._flower_url,
            link=f"{self._api_url}/login/{code}",
            processes=self._supervisor.processes,
            seconds=seconds,
        )

    def _watch(self) -> bool:
        """Looks after the processes and shows what runs, or tells the script, until asked to stop."""
        looked = 0.0
        processes = self._supervisor.processes
        story = self._script(self._stage()) if self._script else self._news()
        while not self._supervisor.stopping:
            self._supervisor.turn()
            if self._supervisor.processes != processes:
                processes = self._supervisor.processes
                self._write_running()
            if time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                if next(story, THE_END) is THE_END:
                    return True
            time.sleep(0.05)
        return False

    def _stage(self) -> Stage:
        return Stage(self._context, self._account, self._screen, lambda: self._supervisor.processes)

    def _news(self) -> Iterator[None]:
        while True:
            self._screen.show_news(self._context, self._account, transcripts=self._demo)
            yield

    def _tell(self, event: Event) -> None:
        if event.happening is Happening.DIED:
            again = f"; starts again in {event.retry_in.total_seconds():.1f} s" if event.retry_in else ""
            self._screen.line(f"{event.name} (pid {event.pid}) ended with {event.code}{again}", style="red")
        elif event.happening is Happening.KILLED:
            self._screen.line(f"{event.name} did not stop in time and was killed", style="red")


def _refuse_taken(port: int) -> None:
    # The processes of an `up` that was killed a moment ago are still leaving.
    if not wait_until(lambda: _is_free(port), LEAVING):
        raise Unavailable(f"Port {port} is taken; choose another with --port.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 (our own address)  # nosec B310
            return bool(answer.status == 200)
    except OSError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _store_secret(home: Home, secret: str) -> None:
    """Mode 0600 from the first byte on."""
    home.token_file.unlink(missing_ok=True)
    descriptor = os.open(home.token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secret + "\n")
