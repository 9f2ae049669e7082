"""The Valkey beside the database: it holds no truth, and nothing waits for it.

The broker's database is the one that is configured; the next one holds live channels and rate limits, all of
which may vanish.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import structlog

log = structlog.get_logger()

AWAY = 2.0  # seconds for which a server that did not answer is not asked again
PATIENCE: dict[str, Any] = {"socket_timeout": 2, "socket_connect_timeout": 1}


def second_database(redis_url: str) -> str:
    """The database after the broker's on the same server, by socket or by host."""
    parts = urlsplit(redis_url)
    if parts.scheme == "unix":
        query = dict(parse_qsl(parts.query))
        query["db"] = str(_beside(int(query.get("db", "0"))))
        return f"unix://{parts.netloc}{parts.path}?{urlencode(query, safe='/')}"
    number = int(parts.path.strip("/") or "0")
    return urlunsplit(parts._replace(path=f"/{_beside(number)}"))


def _beside(number: int) -> int:
    """A server has sixteen databases unless it is told otherwise."""
    return number + 1 if number < 15 else number - 1


class Absence:
    """Whether a server failed just now; what failed is logged by its class, once in a while."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._until = 0.0

    def is_away(self) -> bool:
        return time.monotonic() < self._until

    def note(self, error: Exception) -> None:
        log.warning(self._event, error=type(error).__name__)
        self._until = time.monotonic() + AWAY


def make_client(url: str) -> Any:
    """A client for this process's threads. The first error may only tell of a connection that was closed."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(url, retry=again, **PATIENCE)
