"""Real processes on a database of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from core.context import Context, make_context
from core.schema import upgrade
from core.settings import Settings
from tests import servers as session_servers
from tests.factories import an_account

CRONTALK = [sys.executable, "-P", "-m", "cli"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of several processes is tried once more, and said to have been (`-r R`): a busy machine is late.

    The storms are not: what is lost one time in ten is lost.
    """
    for item in items:
        if item.get_closest_marker("acceptance") and "storm" not in item.path.parts:
            item.add_marker(pytest.mark.flaky(reruns=1))


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


@pytest.fixture
def installation(servers, worker_id, tmp_path) -> Iterator[Installation]:
    """An empty, migrated database of its own, and an empty broker."""
    number = uuid.uuid4().hex[:8]
    database_url = session_servers.clone_database(servers.admin_url, f"acceptance_{number}", upgrade)
    redis_url = session_servers.redis_url_for(servers, worker_id)
    quick = {"CRONTALK_LEASE": "4", "CRONTALK_GRACE": "5", "CRONTALK_RETRY_BASE": "0.2"}
    settings = Settings(database_url=database_url, redis_url=redis_url, lease=timedelta(seconds=4))
    context = make_context(settings, "tests")
    made = Installation(database_url, redis_url, tmp_path, quick, context)
    made.context.publisher._client().flushdb()
    yield made
    made.stop_all()
    context.publisher._client().flushdb()
    context.close()
    session_servers.drop_database(servers.admin_url, database_url)


@pytest.fixture
def account(installation) -> uuid.UUID:
    return an_account(installation.context)
