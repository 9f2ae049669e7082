"""A broker channel that drops what is not a message, where kombu's would end the worker.

Whoever can write to the broker can forge hints; a forged one costs a line in the log and nothing else.
"""

from __future__ import annotations

from queue import Empty
from typing import Any

import structlog
from kombu.transport import redis

log = structlog.get_logger()


class ForgivingChannel(redis.Channel):
    """kombu pops an item, then parses it with nothing around the parsing (`_brpop_read`, kombu 5.7)."""

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """One client for all that is sent, on the pool; kombu makes one for every command."""
        if asynchronous:
            return super()._create_client(asynchronous=True)
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()
        return self._kept

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("forged_message_dropped", error=type(error).__name__)
            raise Empty from None


def forgive() -> None:
    """Makes every Redis transport of this process use the channel."""
    redis.Transport.Channel = ForgivingChannel
