"""What runs inside the containers: the first start of the database, and the health checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from cli.local.binaries import find_postgres
from tests.servers import at_database, libpq

ROOT = Path(__file__).resolve().parent.parent.parent
CHECK = ROOT / "docker" / "healthcheck.py"


@pytest.fixture
def quiet_database(admin_url):
    """A database that nobody else talks to."""
    with psycopg.connect(libpq(admin_url), autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS quiet WITH (FORCE)")
        admin.execute("CREATE DATABASE quiet OWNER crontalk")
        yield at_database(admin_url, user="crontalk", database="quiet")
        admin.execute("DROP DATABASE quiet WITH (FORCE)")


def asked(way: str, **environment: str) -> int:
    command = [sys.executable, str(CHECK), way]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, env=env, capture_output=True, timeout=60, check=False).returncode


def test_a_loop_that_turns_is_healthy(quiet_database):
    name = "crontalk scheduler"
    with psycopg.connect(libpq(quiet_database), application_name=name, autocommit=True) as connection:
        connection.execute("SELECT 1")
        assert asked("database", DATABASE_URL=quiet_database) == 0


def test_a_container_without_its_process_is_not_healthy(quiet_database, redis_url):
    assert asked("database", DATABASE_URL=quiet_database) == 1
    assert asked("broker", REDIS_URL=redis_url) == 1
    assert asked("http", CRONTALK_PORT="1") == 1


def test_the_first_start_of_the_database_makes_an_ordinary_role_and_its_database(admin_url, tmp_path):
    script = (ROOT / "docker" / "initdb.sh").read_text(encoding="utf-8")
    renamed = tmp_path / "initdb.sh"
    renamed.write_text(
        script.replace("ROLE crontalk", "ROLE first_start")
        .replace("DATABASE crontalk OWNER crontalk", "DATABASE first_start OWNER first_start")
        .replace("DATABASE crontalk FROM", "DATABASE first_start FROM")
    )
    where = {name: values[0] for name, values in parse_qs(urlsplit(admin_url).query).items()}
    env = {
        "PATH": f"{Path(find_postgres().postgres).parent}:{os.environ['PATH']}",
        "PGHOST": where["host"],
        "PGPORT": where["port"],
        "CRONTALK_DB_PASSWORD": "it's secret",
    }
    subprocess.run(["sh", str(renamed)], env=env, timeout=60, check=True)
    with psycopg.connect(libpq(admin_url), autocommit=True) as admin:
        role = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolpassword FROM pg_authid WHERE rolname = %s"
        *rights, password = admin.execute(role, ["first_start"]).fetchone()
        admin.execute("DROP DATABASE first_start")
        admin.execute("DROP ROLE first_start")
    assert rights == [False, False, False]
    assert password.startswith("SCRAM-SHA-256$")
