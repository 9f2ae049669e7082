"""A disk that is full: everybody waits and says so, nothing is lost or half done, and all of it goes on.

PostgreSQL's files lie on a small file system in memory, which takes root. First only new pages are refused,
an error of each statement; then its log cannot grow either, and PostgreSQL itself is down until there is
space.
"""

from __future__ import annotations

import json
import os
import random
import socket
import string
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from cli.local.home import Home
from cli.local.servers import bundled
from cli.local.supervisor import Supervisor
from core.context import make_context
from core.invariants import ALWAYS, violations
from core.schema import upgrade
from core.settings import Settings
from tests.acceptance.conftest import Installation
from tests.api import a_secret
from tests.factories import a_bot, a_task, an_account, execute, one, rows
from tests.servers import libpq

pytestmark = pytest.mark.acceptance

SIZE = "256m"
STEP = timedelta(seconds=2)
TASKS = 30
# Fills pages fast, and no compression makes it small.
PROMPT = "".join(random.Random(1).choices(string.ascii_letters, k=1800))
OPEN = "SELECT count(*) FROM runs WHERE state IN ('pending', 'running')"
TICKING = "SELECT count(*) FROM task_clocks WHERE next_run_at IS NOT NULL"
DONE = "SELECT count(*) FROM runs WHERE state = 'succeeded'"
# 400 MB of log.
NOISE = "SELECT pg_logical_emit_message(false, 'noise', repeat('x', 4000000)) FROM generate_series(1, 100)"


@dataclass
class Disk:
    """A small one, with PostgreSQL's files on it; `turn` starts the servers again when they are down."""

    path: Path
    home: Home
    supervisor: Supervisor
    admin_url: str
    installation: Installation
    url: str = ""
    secret: str = ""
    known: list[str] = field(default_factory=list)

    @property
    def fill_file(self) -> Path:
        return self.path / "fill"

    def fill(self) -> None:
        with self.fill_file.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    return

    def free(self) -> None:
        self.fill_file.unlink()

    def server_log(self) -> str:
        return (self.home.logs / "postgres.log").read_text(errors="replace")

    def make_a_task(self) -> tuple[int, str | None]:
        """(status, Retry-After) of a POST; status 0 while nobody answers."""
        body = json.dumps({"name": "Big", "description": PROMPT * 10}).encode()
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v1/task/create", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                self.known.append(json.load(answer)["id"])
                return answer.status, None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Retry-After"]
        except OSError:
            return 0, None


def mount(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "crontalk-full-disk", path],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(servers, redis_url, tmp_path) -> Iterator[Disk]:
    """A fresh PostgreSQL whose data are on a small disk; the broker is the session's."""
    home = Home.at(tmp_path / "home")
    mount(home.data)
    try:
        with home.lock():
            both = bundled(home, fsync=False, valkey=False)
            supervisor = Supervisor(both.specs, home.logs)
            try:
                assert supervisor.start()
                upgrade(both.database_url)
                settings = Settings(
                    database_url=both.database_url, redis_url=redis_url, lease=timedelta(seconds=4)
                )
                context = make_context(settings, "tests")
                quick = {"CRONTALK_LEASE": "4", "CRONTALK_RETRY_BASE": "0.2"}
                made = Installation(both.database_url, redis_url, tmp_path, quick, context)
                context.publisher._client().flushdb()
                yield Disk(home.data, home, supervisor, both.admin_url, made)
                made.stop_all()
                context.close()
            finally:
                supervisor.stop()
    finally:
        subprocess.run(["umount", "--lazy", home.data], check=False)


@pytest.fixture
def at_work(disk, eventually) -> Disk:
    """Tasks that fire every two seconds; a scheduler, a worker and an API that have all done something."""
    installation, context = disk.installation, disk.installation.context
    account = an_account(context)
    bot = a_bot(context, account)
    for _ in range(TASKS):
        a_task(context, account, bot_id=bot.id, description=PROMPT, schedule="@every 2s")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    disk.url, disk.secret = f"http://127.0.0.1:{port}", a_secret(context, account)
    installation.start("api", "--port", str(port))
    installation.start("worker", "--queues", "chat")
    installation.start("scheduler")
    eventually(lambda: disk.make_a_task()[0] == 200, 60)
    eventually(lambda: one(context, DONE) >= TASKS, 60)
    return disk


def nothing_is_lost_or_half_done(disk, eventually):
    """Lets the work come to its end, then compares the ledger with the grid of each task."""
    context = disk.installation.context
    execute(context, "UPDATE tasks SET state = 'paused', pause_reason = 'manual' WHERE schedule IS NOT NULL")
    eventually(
        lambda: one(context, "SELECT count(*) FROM task_clocks WHERE next_run_at IS NOT NULL") == 0, 20
    )
    eventually(lambda: one(context, OPEN) == 0, 60)
    ledger = rows(
        context,
        "SELECT task_id, scheduled_for AS last, COALESCE(covers_from, scheduled_for) AS first,"
        " COALESCE(covers_count, 1) AS count FROM runs ORDER BY task_id, scheduled_for",
    )
    for task in {row["task_id"] for row in ledger}:
        mine = [row for row in ledger if row["task_id"] == task]
        assert all(row["last"] - row["first"] == STEP * (row["count"] - 1) for row in mine)
        assert all(after["first"] - before["last"] == STEP for before, after in pairwise(mine))
    assert len({row["task_id"] for row in ledger}) == TASKS
    for task in disk.known:
        assert one(context, "SELECT count(*) FROM tasks WHERE id = CAST(:id AS uuid)", id=task) == 1
    with context.transaction() as session:
        assert violations(session, invariants=ALWAYS) == []


def test_a_full_disk_is_503_and_a_pause_for_everybody(at_work, eventually):
    installation, context = at_work.installation, at_work.installation.context
    with psycopg.connect(libpq(at_work.admin_url), autocommit=True) as admin:
        # A segment of 16 MB for the log, which exists once it is written to: it is pages that are refused.
        admin.execute("SELECT pg_switch_wal()")
        admin.execute("SELECT pg_logical_emit_message(true, 'noise', 'x')")
    at_work.fill()
    eventually(lambda: at_work.make_a_task()[0] == 503, 30)
    status, retry_after = at_work.make_a_task()
    assert (status, int(retry_after) >= 1) == (503, True)
    eventually(lambda: installation.all_logs().count("turn_failed") >= 3, 60)
    assert "could not extend file" in at_work.server_log()
    assert "PANIC" not in at_work.server_log()
    assert one(context, "SELECT count(*) FROM tasks") >= TASKS  # reading goes on
    at_work.free()
    done = one(context, DONE)
    eventually(lambda: at_work.make_a_task()[0] == 200, 30)
    eventually(lambda: one(context, DONE) >= done + TASKS, 60)
    assert [process.poll() for process in installation.started] == [None, None, None]
    nothing_is_lost_or_half_done(at_work, eventually)


def test_a_disk_too_full_for_postgresqls_own_log_takes_it_down_and_nothing_with_it(at_work, eventually):
    installation, context = at_work.installation, at_work.installation.context
    done = one(context, DONE)
    at_work.fill()
    with psycopg.connect(libpq(at_work.admin_url)) as admin, pytest.raises(psycopg.OperationalError):
        admin.execute(NOISE)
    assert "PANIC" in at_work.server_log()
    at_work.supervisor.turn()
    eventually(lambda: at_work.make_a_task()[0] == 503, 30)
    assert int(at_work.make_a_task()[1]) >= 1
    eventually(lambda: installation.all_logs().count("turn_failed") >= 2, 30)
    at_work.free()

    def back() -> bool:
        at_work.supervisor.turn()
        return at_work.make_a_task()[0] == 200

    eventually(back, 60)
    eventually(lambda: one(context, DONE) >= done + TASKS, 60)
    assert [process.poll() for process in installation.started] == [None, None, None]
    nothing_is_lost_or_half_done(at_work, eventually)
