"""What a turn says while it goes on: the events of contract section 1.5, to whoever listens."""

from __future__ import annotations

import time
import uuid
from typing import Any, Protocol

from core.live import Live

# Tokens that come faster than this are told together: nobody reads faster, and each telling costs a call.
PACE = 0.02


class Telling(Protocol):
    def tell(self, kind: str, data: dict[str, Any]) -> None:
        """Tells an event, after the tokens that came before it."""

    def token(self, text: str) -> None:
        """Tells a piece of the answer, soon."""


class Silence:
    """Nobody listens."""

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        del kind, data

    def token(self, text: str) -> None:
        del text


class ChannelTelling:
    """Events of one attempt on a live channel, each with its epoch.

    A listener that has heard tokens of one attempt and then sees another epoch passes on no tokens any more:
    the answer begins anew, and only its end counts.
    """

    def __init__(self, live: Live, account: uuid.UUID, channel: str, epoch: int) -> None:
        self._live = live
        self._account = account
        self._channel = channel
        self._epoch = epoch
        self._pending = ""
        self._told_at = 0.0

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        self._publish([self._event(kind, data)])

    def token(self, text: str) -> None:
        self._pending += text
        if time.monotonic() - self._told_at >= PACE:
            self._publish([])

    def _publish(self, events: list[dict[str, Any]]) -> None:
        if self._pending:
            events = [self._event("token", {"token": self._pending}), *events]
            self._pending = ""
        if events:
            self._live.publish(self._account, self._channel, events)
        self._told_at = time.monotonic()

    def _event(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        return {"data": {"type": kind, "data": data}, "epoch": self._epoch}
