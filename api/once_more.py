"""Repeats a request whose transaction PostgreSQL ended in favour of another, instead of answering 503.

Only for 40P01, 40001 and 23503: then nothing was stored, and the same transaction may succeed at once. A file
that is streamed cannot be read twice, so it is not repeated.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.once import STREAMED

ATTEMPTS = 3


class OnceMore:
    """ASGI middleware behind RequestLimits, which hands every body on in one piece."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope.get(STREAMED):
            await self.app({**scope, "state": dict(scope.get("state", {}))}, receive, send)
            return
        first: list[Message] = []
        for attempt in range(1, ATTEMPTS + 1):
            trial = {**scope, "state": dict(scope.get("state", {}))}
            if not await self._try(trial, _again(first, receive), send, last=attempt == ATTEMPTS):
                return

    async def _try(self, scope: Scope, receive: Receive, send: Send, *, last: bool) -> bool:
        """Serves the request; True when it was contended and its answer was held back."""
        held_back = False

        async def forward(message: Message) -> None:
            nonlocal held_back
            if message["type"] == "http.response.start":
                held_back = bool(scope["state"].get("contended")) and not last
            if not held_back:
                await send(message)

        await self.app(scope, receive, forward)
        return held_back


def _again(first: list[Message], receive: Receive) -> Receive:
    """The body once more: the one message that carried it, then the client's own."""
    given = False

    async def next_message() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        if not first:
            first.append(await receive())
        return first[0]

    return next_message
