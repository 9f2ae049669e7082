"""Real processes on a database of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from cli.local.processes import wait_until
from core.context import Context, make_context
from core.schema import upgrade
from core.settings import Settings
from tests import servers as session_servers
from tests.api import a_secret
from tests.factories import A_KEY, an_account

CRONTALK = [sys.executable, "-P", "-m", "cli"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests are tried once more, and said to have been (`-r R`): a busy machine is late. Storms are not.

    What is lost one time in ten is lost.
    """
    for item in items:
        if "storm" in item.path.parts:
            item.add_marker(pytest.mark.flaky(reruns=0))


@dataclass
class Installation:
    """A database, a broker, and the processes a test starts on them."""

    database_url: str
    redis_url: str
    logs: Path
    settings: dict[str, str]
    context: Context
    started: list[subprocess.Popen] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "CRONTALK_HOME": str(self.logs / "home"),
            **self.settings,
            **more,
        }

    def start(self, *command: str, program: Sequence[str] = CRONTALK, **more: str) -> subprocess.Popen:
        """Starts `crontalk …`; its output goes to a log beside the others."""
        log = self.logs / f"{'-'.join(command).replace('/', '_')}-{len(self.started)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*program, *command], env=self.environment(**more), stdout=file, stderr=file, process_group=0
            )
        self.started.append(process)
        return process

    def crontalk(self, *command: str, **more: str) -> subprocess.CompletedProcess:
        """Runs a command to its end."""
        return subprocess.run(
            [*CRONTALK, *command],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def kill(self, process: subprocess.Popen) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop_all(self) -> None:
        for process in self.started:
            if process.poll() is None:
                self.kill(process)

    def all_logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.logs.glob("*.log")))


@contextlib.contextmanager
def an_installation(servers, worker_id: str, logs: Path, key: str | None = None) -> Iterator[Installation]:
    """An empty, migrated database of its own, and an empty broker; with a key, also for this process."""
    number = uuid.uuid4().hex[:8]
    database_url = session_servers.clone_database(servers.admin_url, f"acceptance_{number}", upgrade)
    redis_url = session_servers.redis_url_for(servers, worker_id)
    quick = {"CRONTALK_LEASE": "4", "CRONTALK_GRACE": "5", "CRONTALK_RETRY_BASE": "0.2"}
    home = {"home": logs / "home", "key": key}
    settings = Settings(database_url=database_url, redis_url=redis_url, lease=timedelta(seconds=4), **home)
    context = make_context(settings, "tests")
    made = Installation(database_url, redis_url, logs, quick, context)
    made.context.publisher._client().flushdb()
    yield made
    made.stop_all()
    context.publisher._client().flushdb()
    context.close()
    session_servers.drop_database(servers.admin_url, database_url)


@pytest.fixture
def installation(servers, worker_id, tmp_path) -> Iterator[Installation]:
    with an_installation(servers, worker_id, tmp_path) as made:
        yield made


@pytest.fixture
def account(installation) -> uuid.UUID:
    return an_account(installation.context)


@dataclass(frozen=True)
class Service:
    """A whole running service, which its callers know by an origin and a token."""

    installation: Installation
    account: uuid.UUID
    origin: str
    token: str


@pytest.fixture(scope="module")
def service(servers, worker_id, tmp_path_factory) -> Iterator[Service]:
    """An API, a worker and a scheduler for all tests of a module, ready to serve."""
    with an_installation(servers, worker_id, tmp_path_factory.mktemp("service"), A_KEY) as installation:
        port = free_port()
        installation.settings["CRONTALK_KEY"] = A_KEY
        installation.settings["CRONTALK_PUBLIC_URL"] = f"http://127.0.0.1:{port}"
        installation.start("api", "--port", str(port))
        installation.start("worker", "--queues", "chat")
        installation.start("scheduler")
        account = an_account(installation.context)
        made = Service(
            installation, account, f"http://127.0.0.1:{port}", a_secret(installation.context, account)
        )
        assert wait_until(lambda: answers(made), timedelta(seconds=120)), installation.all_logs()
        yield made


def answers(service: Service) -> bool:
    try:
        return httpx2.get(f"{service.origin}/health/ready", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def free_port() -> int:
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        return first.getsockname()[1]
