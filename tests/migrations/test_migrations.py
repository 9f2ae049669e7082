"""The migrations: they make what the models say, they can be undone, and any number may run at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from core.errors import Unavailable
from core.schema import _refuse_old_server, check, downgrade, is_current, newest, upgrade
from tests.servers import libpq

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = """
SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
       a.attstattarget::text, pg_get_expr(d.adbin, d.adrelid), c.reloptions::text
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v', 'm')
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', '', ''
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', tablename, indexname, indexdef, '', '', '', '' FROM pg_indexes WHERE schemaname = 'public'
ORDER BY 1, 2, 3
"""


def schema_of(url: str) -> list[tuple]:
    with psycopg.connect(libpq(url)) as connection:
        return connection.execute(SCHEMA).fetchall()


def tables_of(url: str) -> set[str]:
    return {row[1] for row in schema_of(url) if row[0] == "column"}


def test_the_migrations_make_what_the_models_say(empty):
    upgrade(empty)
    check(empty)


def test_down_and_up_again_leaves_the_same_schema(empty):
    upgrade(empty)
    before = schema_of(empty)
    downgrade(empty, "base")
    assert tables_of(empty) <= {"alembic_version"}
    upgrade(empty)
    assert schema_of(empty) == before


def test_a_second_upgrade_changes_nothing(empty):
    upgrade(empty)
    before = schema_of(empty)
    upgrade(empty)
    assert schema_of(empty) == before


def test_any_number_may_migrate_an_empty_database_at_once(empty):
    code = f"from core.schema import upgrade; upgrade({empty!r})"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE) for _ in range(4)
    ]
    failures = [process.communicate(timeout=120)[1] for process in processes if process]
    assert [process.returncode for process in processes] == [0] * 4, failures
    check(empty)


def test_the_database_knows_where_it_stands(empty):
    from core.database import make_engine

    engine = make_engine(empty, pool_size=2, name="tests")
    assert not is_current(engine)
    upgrade(empty)
    assert is_current(engine)
    assert newest() is not None
    engine.dispose()


@pytest.mark.parametrize(("version", "refused"), [("140015", True), ("150000", False), ("180001", False)])
def test_a_server_before_postgresql_15_is_refused(version, refused):
    connection = SimpleNamespace(execute=lambda _: SimpleNamespace(scalar_one=lambda: version))
    if not refused:
        _refuse_old_server(connection)
        return
    with pytest.raises(Unavailable, match="needs PostgreSQL 15 or newer; this server is 14"):
        _refuse_old_server(connection)
