"""Where a word still stands: every table's rows, every key of Valkey, the planner's statistics, the files."""

from __future__ import annotations

from pathlib import Path

import psycopg
import redis
from sqlalchemy import text
from sqlalchemy.engine import make_url

from core.context import Context
from core.valkey import second_database
from tests.servers import at_database, libpq

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"


def traces_of(context: Context, word: str) -> list[str]:
    """The tables and keys that hold the word, in any row, column or entry."""
    with context.transaction() as session:
        tables = session.scalars(text(TABLES)).all()
        found = [
            table
            for table in tables
            if session.scalar(
                text(f"SELECT count(*) FROM {table} t WHERE strpos(CAST(t AS text), :word) > 0"),
                {"word": word},
            )
        ]
    return found + _in_valkey(context, word) + _in_files(context, word)


def forget_words(context: Context) -> None:
    """Empties this worker's Valkey: what tests before this one have said."""
    url = context.settings.redis_url or ""
    for address in (url, second_database(url)):
        client = redis.Redis.from_url(address)
        client.flushdb()
        client.close()


def _in_valkey(context: Context, word: str) -> list[str]:
    found = []
    url = context.settings.redis_url or ""
    for address in (url, second_database(url)):
        client = redis.Redis.from_url(address)
        for key in client.scan_iter(count=1000):
            read = {
                b"stream": lambda k, c=client: c.xrange(k),
                b"list": lambda k, c=client: c.lrange(k, 0, -1),
                b"string": lambda k, c=client: c.get(k),
                b"hash": lambda k, c=client: c.hgetall(k),
                b"set": lambda k, c=client: c.smembers(k),
                b"zset": lambda k, c=client: c.zrange(k, 0, -1),
            }.get(client.type(key))
            if read is not None and word in str((key, read(key))):
                found.append(key.decode(errors="replace"))
        client.close()
    return found


def _in_files(context: Context, word: str) -> list[str]:
    place = Path(context.settings.blobs or context.settings.home / "blobs")
    return [str(path) for path in place.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def analyse(context: Context) -> None:
    """Lets the planner look at every row, as autovacuum does."""
    with context.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def statistics_with(context: Context, admin_url: str, word: str) -> list[str]:
    """The columns of whose statistics the word is a part; only a superuser may read them all."""
    url = make_url(context.settings.database_url or "")
    admin = make_url(admin_url)
    address = at_database(admin_url, user=admin.username or "", database=url.database or "")
    with psycopg.connect(libpq(address)) as connection:
        query = (
            "SELECT starelid::regclass::text || '.' || staattnum FROM pg_statistic s"
            " WHERE strpos(concat(stavalues1, stavalues2, stavalues3, stavalues4, stavalues5), %s) > 0"
        )
        return [row[0] for row in connection.execute(query, [word])]
