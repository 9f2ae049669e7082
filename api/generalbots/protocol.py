"""uvicorn's WebSocket with a way to drop a connection whose client does not read.

A close waits until the client has read what came before it; one that never reads would keep its connection.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

ABORT = "crontalk.abort"


class DroppableWebSocket(WebSocketsSansIOProtocol):  # type: ignore[misc]
    """Puts `transport.abort` beside the extensions of the scope."""

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if getattr(self, "scope", None) is not None:
            self.scope["extensions"][ABORT] = {"abort": self.transport.abort}


def abort_of(scope: MutableMapping[str, Any]) -> Callable[[], None]:
    """Drops the connection of a scope; under another server it is left to that server."""
    found = scope.get("extensions", {}).get(ABORT)
    return found["abort"] if found else lambda: None
