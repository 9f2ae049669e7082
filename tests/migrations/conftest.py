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
from tests.factories import A_KEY, a_backfill, a_due_task, a_subscription, an_account, execute, one
from tests.servers import OWNER, at_database, libpq

OLDEST = DEBIAN_ROOT / "15" / "bin"
# A row of every table that no verb above has written to, linked to wherever it may be.
BESIDE = (
    "INSERT INTO contacts (id, account_id, fingerprint) VALUES (gen_random_uuid(), :account, 'f')",
    "INSERT INTO datasets (id, account_id, store) VALUES (gen_random_uuid(), :account, 's')",
    "INSERT INTO skillsets (id, account_id) VALUES (gen_random_uuid(), :account)",
    (
        "INSERT INTO records (id, account_id, dataset_id, text)"
        " SELECT gen_random_uuid(), account_id, id, 'r' FROM datasets WHERE account_id = :account"
    ),
    (
        "INSERT INTO abilities (id, account_id, skillset_id, name, description, instruction)"
        " SELECT gen_random_uuid(), account_id, id, 'a', 'd', 'i' FROM skillsets WHERE account_id = :account"
    ),
    (
        "INSERT INTO session_tokens (id, account_id, conversation_id, token_sha256, expires_at)"
        " SELECT gen_random_uuid(), account_id, id, sha256(id::text::bytea), now() FROM conversations"
        " WHERE account_id = :account LIMIT 1"
    ),
    (
        "INSERT INTO annotations (message_id, account_id, conversation_id)"
        " SELECT id, account_id, conversation_id FROM messages WHERE account_id = :account LIMIT 1"
    ),
    (
        "INSERT INTO pii_tokens (conversation_id, token, account_id, value)"
        " SELECT id, 't', account_id, 'v' FROM conversations WHERE account_id = :account LIMIT 1"
    ),
    (
        "INSERT INTO api_tokens (id, account_id, contact_id, name, prefix, token_sha256)"
        " SELECT gen_random_uuid(), account_id, id, 't', 't', sha256(id::text::bytea) FROM contacts"
        " WHERE account_id = :account LIMIT 1"
    ),
    "INSERT INTO idempotency_keys (account_id, key_sha256, digest) VALUES (:account, 'k', 'd')",
    (
        "UPDATE bots SET dataset_id = (SELECT id FROM datasets WHERE account_id = :account),"
        " skillset_id = (SELECT id FROM skillsets WHERE account_id = :account) WHERE account_id = :account"
    ),
    (
        "UPDATE conversations SET dataset_id = (SELECT id FROM datasets WHERE account_id = :account),"
        " skillset_id = (SELECT id FROM skillsets WHERE account_id = :account),"
        " contact_id = (SELECT id FROM contacts WHERE account_id = :account) WHERE account_id = :account"
    ),
    (
        "UPDATE tasks SET contact_id = (SELECT id FROM contacts WHERE account_id = :account)"
        " WHERE account_id = :account"
    ),
    (
        "INSERT INTO ratings (id, account_id, bot_id, contact_id, conversation_id, message_id, value)"
        " SELECT gen_random_uuid(), m.account_id, c.bot_id, c.contact_id, c.id, m.id, 100 FROM messages m"
        " JOIN conversations c ON c.id = m.conversation_id WHERE m.account_id = :account LIMIT 1"
    ),
    (
        "UPDATE annotations SET job_id = (SELECT id FROM jobs WHERE account_id = :account LIMIT 1)"
        " WHERE account_id = :account"
    ),
    (
        "INSERT INTO retention_rules (id, account_id, delete_after, delete_days, next_run_at)"
        " VALUES (gen_random_uuid(), :account, '30d', 30, now())"
    ),
    "INSERT INTO legal_holds (id, account_id) VALUES (gen_random_uuid(), :account)",
    (
        "UPDATE jobs SET rule_id = (SELECT id FROM retention_rules WHERE account_id = :account)"
        " WHERE id = (SELECT id FROM jobs WHERE account_id = :account LIMIT 1)"
    ),
    (
        "INSERT INTO job_errors (job_id, number, account_id, row, code)"
        " SELECT id, 1, account_id, 1, 'not_json' FROM jobs WHERE account_id = :account LIMIT 1"
    ),
    (
        "INSERT INTO import_keys (account_id, kind, key, number, job_id, target_id, made)"
        " SELECT account_id, 'task', decode(repeat('00', 16), 'hex'), 1, id, id, true FROM jobs"
        " WHERE account_id = :account LIMIT 1"
    ),
)

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
            assert advance_backfills(context) >= 1
            for statement in BESIDE:
                execute(context, statement, account=account)
        yield context
        leases.close()
        context.close()
