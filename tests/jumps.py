"""A database whose clock can be set: `now()` and `clock_timestamp()` of our own before PostgreSQL's."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from tests.servers import libpq

SET_UP = """
CREATE SCHEMA jump;
CREATE TABLE jump.by (delta interval NOT NULL);
INSERT INTO jump.by VALUES ('0');
CREATE FUNCTION jump.now() RETURNS timestamptz LANGUAGE sql STABLE
 AS 'SELECT pg_catalog.now() + delta FROM jump.by';
CREATE FUNCTION jump.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
 AS 'SELECT pg_catalog.clock_timestamp() + delta FROM jump.by';
"""


def make_jumpy(database_url: str) -> None:
    """From the next connection on, every statement of ours asks the clock that `jump` sets.

    The defaults of columns were bound when the tables were made: `created_at` stays true.
    """
    with psycopg.connect(libpq(database_url), autocommit=True) as connection:
        connection.execute(SET_UP)
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = jump, pg_catalog, public')


def jump(database_url: str, by: timedelta) -> None:
    """The clock shows the true time and so much more."""
    with psycopg.connect(libpq(database_url), autocommit=True) as connection:
        connection.execute("UPDATE jump.by SET delta = %s", [by])
