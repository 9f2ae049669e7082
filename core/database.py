"""The one engine: how we connect, with which time-outs, and what its errors mean to us."""

from __future__ import annotations

import re
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from core.errors import Contended, InvalidInput, Unavailable

# Bounded waits everywhere: a statement, a lock, an idle transaction. Libpq option syntax.
SESSION_OPTIONS = (
    "-c statement_timeout=5s -c lock_timeout=2s -c idle_in_transaction_session_timeout=10s -c timezone=UTC"
)
RESTED = 1.0  # seconds after which a connection of the pool is asked whether it lives before it is used
# SQLSTATE classes that mean "come back later", not "you are wrong": PostgreSQL appendix A.
TRANSIENT = re.compile(r"^(08|53|57|58|40|55P03|25006|25P03|25P04)")
# A deadlock's victim, a failed serialization, and a link to a row that went after it was looked up: the only
# ones worth repeating. The last finds out that the row is gone, as it would have a moment later.
CONTENDED = {"40P01", "40001", "23503"}
# A missing table, column or schema.
OTHER_SCHEMA = {"42P01", "42703", "3F000"}
NO_RIGHT = "42501"
# A refused connection has no SQLSTATE, only words, which hold names and addresses: these say what was meant.
REFUSALS = {
    r"password|authentication|pg_hba|no encryption": "The database refuses this user or its password.",
    r'role ".*" does not exist': "The database has no such user.",
    r'database ".*" does not exist': "The server has no database of this name.",
    r"permission denied for database": "The user may not enter this database.",
    r"resolve|translate|Name or service|nodename": "The database's host name is unknown.",
    r"refused|No such file": "Nothing listens at the database's address.",
}


def normal_url(url: str) -> str:
    """The URL with our driver's name. `postgres://` and `postgresql://` are what people have.

    Raises:
        InvalidInput: not the URL of a PostgreSQL database.

    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidInput("DATABASE_URL is not a URL.") from error
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise InvalidInput(
            "DATABASE_URL must name a PostgreSQL database, such as postgresql://user@host/name."
        )
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def make_engine(url: str, *, pool_size: int, name: str) -> Engine:
    """The engine of one process. Never share it across a fork."""
    engine = create_engine(
        normal_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        hide_parameters=True,
        connect_args={
            "application_name": f"crontalk {name}",
            "connect_timeout": 5,
            # A server that vanished without a word is noticed well within a lease.
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            "options": SESSION_OPTIONS,
        },
    )
    _replace_lost(engine)
    return engine


def _replace_lost(engine: Engine) -> None:
    """Connections that the server has ended are replaced as they are taken from the pool.

    What SQLAlchemy's own pre-ping does with a round trip per transaction: here only for one that has rested,
    or on whose socket something waits. A server says that it ends a connection, and nothing else unasked.
    """

    @event.listens_for(engine, "checkin")
    def remember(connection: Any, record: Any) -> None:
        del connection
        record.info["returned"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: Any, proxy: Any) -> None:
        del proxy
        returned = record.info.get("returned")
        if returned is None or (time.monotonic() - returned < RESTED and not _says_something(connection)):
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.Error as error:
            raise InvalidatePoolError from error


def _says_something(connection: Any) -> bool:
    try:
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        return bool(waiting.poll(0))
    except (psycopg.Error, OSError):
        return True


@contextmanager
def translated() -> Iterator[None]:
    """Turns a database that is away, too busy or not set up into `Unavailable`; other errors pass.

    The message never holds the driver's words: PostgreSQL puts whole rows into them.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise Unavailable("The database is busy; try again.") from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in CONTENDED:
            raise Contended("Another change went first; try again.") from error
        if is_transient(error):
            raise Unavailable(_refusal(error)) from error
        state = getattr(error.orig, "sqlstate", None)
        if state in OTHER_SCHEMA:
            raise Unavailable("The database has another schema than ours; run `crontalk migrate`.") from error
        if state == NO_RIGHT:
            raise Unavailable("The database's user lacks a right there; it must own the schema.") from error
        raise


def _refusal(error: DBAPIError) -> str:
    if getattr(error.orig, "sqlstate", None) is None:
        for words, sentence in REFUSALS.items():
            if re.search(words, str(error.orig)):
                return sentence
    return "The database did not answer in time; try again."


def is_transient(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed later."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError)
    return bool(TRANSIENT.match(state))


def violated(error: DBAPIError) -> str | None:
    """The name of the constraint an IntegrityError is about."""
    diagnostics = getattr(error.orig, "diag", None)
    return getattr(diagnostics, "constraint_name", None)
