"""Empty databases of an ordinary role: on the bundled server, and on PostgreSQL 15 where there is one."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest

from cli.local.binaries import DEBIAN_ROOT, PostgresPrograms
from cli.local.servers import running_servers
from core.advancing import advance_backfills
from core.context import Context, make_context
from core.firing import fire
from core.schema import upgrade
from core.settings import Settings
from core.turns import carry_out
from core.work import Leases
from tests.factories import A_KEY, a_backfill, a_due_task, a_subscription, an_account, one
from tests.servers import OWNER, at_database, libpq

OLDEST = DEBIAN_ROOT / "15" / "bin"
SERVERS = ["bundled", *(["15"] if (OLDEST / "postgres").exists() else [])]


@pytest.fixture(scope="module", params=SERVERS)
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The superuser's address of each server."""
    if request.param == "bundled":
        yield request.getfixturevalue("admin_url")
        return
    with (
        tempfile.TemporaryDirectory(prefix="crontalk-tests-", ignore_cleanup_errors=True) as directory,
        patch("cli.local.postgres.find_postgres", lambda: PostgresPrograms(OLDEST, 15)),
        running_servers(Path(directory)) as servers,
    ):
        yield servers.admin_url


@contextmanager
def an_empty_database(server_url: str) -> Iterator[str]:
    name = f"migrated_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(libpq(server_url), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
        try:
            yield at_database(server_url, user=OWNER, database=name)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty(server_url: str) -> Iterator[str]:
    with an_empty_database(server_url) as url:
        yield url


@pytest.fixture(scope="module")
def two_accounts(server_url: str) -> Iterator[Context]:
    """A database in which two accounts have a row in every table."""
    with an_empty_database(server_url) as url:
        upgrade(url)
        context = make_context(Settings(database_url=url, key=A_KEY), "tests")
        leases = Leases(context)
        for name in ("Ada", "Grace"):
            account = an_account(context, name)
            task = a_due_task(context, account, description="What is new?")
            a_subscription(context, account, task.id)
            fire(context)
            run = one(context, "SELECT id FROM runs WHERE task_id = :id", id=task.id)
            assert carry_out(context, leases, run, worker="test") == "succeeded"
            a_backfill(context, task.account_id, task.id)
            assert advance_backfills(context) == 1
        yield context
        leases.close()
        context.close()
