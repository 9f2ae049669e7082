"""uvicorn's WebSocket, and how it ends a connection whose client does not read, or says too much.

A close waits until the client has read what came before it; one that never reads would keep its connection.
And whoever is cut off while it is still sending loses the frame that says why, so what it sends is read for a
moment, and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

ABORT = "crontalk.abort"
SPILL_TIME = 2.0  # seconds


class DroppableWebSocket(WebSocketsSansIOProtocol):  # type: ignore[misc]
    """Puts `transport.abort` beside the extensions of the scope; reads on for a while after a refusal."""

    spilling = False
    read_paused: bool

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if getattr(self, "scope", None) is not None:
            self.scope["extensions"][ABORT] = {"abort": self.transport.abort}

    def data_received(self, data: bytes) -> None:
        if not self.spilling:
            super().data_received(data)

    def eof_received(self) -> None:
        if self.spilling:
            self.transport.close()

    def keepalive_timeout(self) -> None:
        """A client that is gone takes nothing any more: what waits for it would keep the connection."""
        super().keepalive_timeout()
        self.loop.call_later(SPILL_TIME, self.transport.abort)

    def handle_parser_exception(self) -> None:
        """A frame that is too large, or none: the close frame goes out, the connection ends soon after."""
        sent = self.conn.close_sent
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": sent.code if sent else 1006, "reason": ""}
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self.spilling = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(SPILL_TIME, self.transport.close)


def abort_of(scope: MutableMapping[str, Any]) -> Callable[[], None]:
    """Drops the connection of a scope; under another server it is left to that server."""
    found = scope.get("extensions", {}).get(ABORT)
    return found["abort"] if found else lambda: None
