"""Servers and databases of a benchmark's own, and how figures are shown."""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import structlog
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from cli.local.servers import Servers, running_servers
from core.accounts import create_account
from core.context import Context, make_context
from core.schema import upgrade
from core.settings import Settings

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


@contextmanager
def servers(*, commit_times: bool = False) -> Iterator[Servers]:
    """PostgreSQL that syncs every commit to the disk (and remembers when, if asked), and Valkey."""
    with tempfile.TemporaryDirectory(prefix="crontalk-bench-") as directory:
        if commit_times:
            # Takes a start of its own to come into force.
            with (
                running_servers(Path(directory), fsync=True) as both,
                psycopg.connect(plain(both.admin_url), autocommit=True) as admin,
            ):
                admin.execute("ALTER SYSTEM SET track_commit_timestamp = on")
        with running_servers(Path(directory), fsync=True) as both:
            yield both


@contextmanager
def fresh_context(both: Servers, **settings: Any) -> Iterator[Context]:
    """A context on a new database, which is gone afterwards."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    url = both.database_url.replace("@/crontalk?", f"@/{name}?")
    assert name in url
    with psycopg.connect(plain(both.admin_url), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER crontalk")
        upgrade(url)
        context = make_context(Settings(database_url=url, redis_url=both.redis_url, **settings), "bench")
        try:
            yield context
        finally:
            context.close()
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def plain(url: str) -> str:
    """The same address for psycopg itself."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def superuser(context: Context, both: Servers) -> str:
    """The benchmark's database for the superuser, without our time-outs, for psycopg itself."""
    return plain(both.admin_url).replace("@/postgres?", f"@/{context.engine.url.database}?")


def settle_down(context: Context, tables: str = "") -> None:
    """The planner knows the tables, and no old page is left for the measured part to write.

    Of an empty table that was vacuumed the planner thinks that it stays empty, and reads it from end to end
    until autovacuum comes by; a table it has never seen it takes for ten pages, and uses the index. Whoever
    fills tables from nothing names those that are full.
    """
    with context.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text(f"VACUUM ANALYZE {tables}"))


def an_account(context: Context, name: str = "Bench") -> uuid.UUID:
    with context.transaction() as session:
        return create_account(session, name).id


def execute(context: Context, statement: str, **values: Any) -> Any:
    with context.transaction() as session:
        result = session.execute(text(statement), values)
        return result.scalar() if result.returns_rows else None


def cpu_seconds(who: int = resource.RUSAGE_SELF) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def server_cpu_seconds() -> float:
    """What the servers we started have used, with those of their processes that have ended."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() in {"postgres", "valkey-server"}:
                used = process.cpu_times()
                total += used.user + used.system + used.children_user + used.children_system
    return total


def wait_for(context: Context, runs: int, meanwhile: Callable[[], Any] = lambda: None) -> None:
    """Until so many runs have succeeded."""
    end = time.monotonic() + 300
    while execute(context, "SELECT count(*) FROM runs WHERE state = 'succeeded'") < runs:
        assert time.monotonic() < end, "The runs did not end in time."
        meanwhile()
        time.sleep(0.05)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The benchmark's options, and where its figures go besides the screen."""
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_known_args()[0]


def write(name: str, given: argparse.Namespace, figures: dict[str, Any]) -> None:
    """The figures for programs, with what they were measured on."""
    if given.json:
        machine = {"cores": os.cpu_count(), "load": os.getloadavg(), "python": sys.version.split()[0]}
        asked = {key: value for key, value in vars(given).items() if key != "json"}
        document = {"benchmark": name, "options": asked, "machine": machine, "figures": figures}
        given.json.write_text(json.dumps(document, default=vars, indent=2) + "\n")


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    load = os.getloadavg()[0]
    table = Table(
        title=f"{title}\n({os.cpu_count()} cores, load {load:.1f})", title_justify="left", min_width=80
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(width=140).print(table)
