"""Where the API process starts: settings, logs, one context, uvicorn."""

from __future__ import annotations

import gc
import logging
from socket import socket
from typing import Any

import structlog
import uvicorn

from api.app import make_app
from api.generalbots.protocol import DroppableWebSocket
from core.context import make_context
from core.logs import configure
from core.settings import Settings, read_settings

log = structlog.get_logger()


class _ServerLog(logging.Handler):
    """uvicorn's own warnings as our log lines, without tracebacks: those can hold what a request said."""

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        text = None if cause else record.getMessage()
        log.log(record.levelno, "server_message", logger=record.name, message=text, error=cause)


class _Server(uvicorn.Server):  # type: ignore[misc]
    """Ends streams that have no end of their own before it waits for the requests under way."""

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        app: Any = self.config.app
        try:
            await app.state.papers.close()
        finally:
            await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serves until a signal ends it. Requests under way get the grace to finish.

    Raises:
        InvalidInput: no database is configured.

    """
    configure(settings.log_level, process="api")
    server_log = logging.getLogger("uvicorn")
    server_log.handlers, server_log.propagate = [_ServerLog(logging.WARNING)], False
    context = make_context(settings, "api")
    app = make_app(context)
    app.state.lookup.get_ready()
    _settle_memory()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=settings.trusted_proxies is not None,
        forwarded_allow_ips=settings.trusted_proxies,
        ws=DroppableWebSocket,
        ws_max_size=settings.max_body,
        # A half-open connection is found by a ping that nobody answers.
        ws_ping_interval=settings.socket_ping.total_seconds(),
        ws_ping_timeout=settings.socket_ping.total_seconds(),
        ws_per_message_deflate=False,  # a compressor of its own for each of thousands of connections
        timeout_graceful_shutdown=int(settings.grace.total_seconds()),
    )
    _Server(config).run()


def _settle_memory() -> None:
    """What is there before the first request stays: the collector need not walk it again and again.

    A full collection of all that was imported takes a tenth of a second, in which nobody is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


if __name__ == "__main__":
    serve(read_settings())
