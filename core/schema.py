"""The database's schema: bring it up to date, and say whether it is.

Refuses PostgreSQL before 15 (`ON DELETE SET NULL (column)`). Any number of processes may ask at once:
an advisory lock lets one migrate while the others wait and then find nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import alembic.command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text

from core.database import normal_url
from core.errors import Unavailable

MIGRATIONS = Path(__file__).resolve().parent.parent / "models" / "migrations"
ADVISORY_LOCK = 0x63726F6E74616C6B  # "crontalk"
OLDEST_POSTGRESQL = 15


def upgrade(database_url: str, revision: str = "head") -> None:
    """Migrates up to `revision`.

    Raises:
        Unavailable: the server is older than PostgreSQL 15.

    """
    _with_connection(database_url, lambda config: alembic.command.upgrade(config, revision))


def downgrade(database_url: str, revision: str) -> None:
    """Migrates down to `revision`; "base" removes every table of ours."""
    _with_connection(database_url, lambda config: alembic.command.downgrade(config, revision))


def check(database_url: str) -> None:
    """Raises alembic's error when tables and migrations differ."""
    _with_connection(database_url, alembic.command.check)


def is_current(engine: Engine) -> bool:
    """Whether the database stands at the newest migration this code knows."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == newest()


def standing_of(engine: Engine) -> tuple[str | None, str | None, bool]:
    """Where the database stands, where this code does, and whether the database is the one behind."""
    script = ScriptDirectory.from_config(_config())
    with engine.connect() as connection:
        theirs = MigrationContext.configure(connection).get_current_revision()
    known = {revision.revision for revision in script.walk_revisions()}
    return theirs, newest(), theirs is None or theirs in known


def newest() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _with_connection(database_url: str, act: Callable[[Config], None]) -> None:
    engine = create_engine(normal_url(database_url), hide_parameters=True)
    try:
        with engine.connect() as connection:
            _refuse_old_server(connection)
            connection.execute(text("SET lock_timeout = '30s'"))
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
            connection.execute(text("SET lock_timeout = '5s'"))
            connection.commit()
            act(_config(connection))
            connection.commit()
    finally:
        engine.dispose()


def _refuse_old_server(connection: Connection) -> None:
    version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    if version < OLDEST_POSTGRESQL * 10_000:
        raise Unavailable(
            f"Crontalk needs PostgreSQL {OLDEST_POSTGRESQL} or newer; this server is {version // 10_000}."
        )
