"""Rows on their way into a table by COPY, in the session's own transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

Write = Callable[[Sequence[Any]], None]


@contextmanager
def copied_in(session: Session, table: str, columns: Sequence[str]) -> Iterator[Write]:
    """A function that takes the rows of a table, in the order of `columns`, and does not wait for any.

    Rows are there, and constraints checked, once the block has ended; no other statement may be asked of the
    session within it. JSON is given as text.

    Raises:
        DBAPIError: as a statement of the session's, at the end of the block.

    """
    statement = SQL("COPY {} ({}) FROM STDIN").format(
        Identifier(table), SQL(", ").join(map(Identifier, columns))
    )
    session.flush()
    connection: Any = session.connection().connection.driver_connection
    try:
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            yield copy.write_row
    except psycopg.Error as error:
        kind = OperationalError if isinstance(error, psycopg.OperationalError) else DBAPIError
        raise kind(f"COPY {table}", None, error, hide_parameters=True) from None
