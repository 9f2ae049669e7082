"""Clients of the WebSocket, and an API for them: in this process, on a port of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from api.app import make_app
from api.generalbots.protocol import DroppableWebSocket
from core.context import Context

PATIENCE = 20.0
Frame = dict[str, Any]


class Door:
    """An API that takes connections, in a thread."""

    def __init__(self, context: Context, max_size: int = 1024 * 1024, ping: float = 20.0) -> None:
        self.app: FastAPI = make_app(context)
        self.app.state.lookup.get_ready()
        config = uvicorn.Config(
            self.app,
            port=0,
            log_config=None,
            log_level="error",
            lifespan="off",  # it would close the context, which is not its own
            ws=DroppableWebSocket,
            ws_max_size=max_size,
            ws_ping_interval=ping,
            ws_ping_timeout=ping,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
        )
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        until = time.monotonic() + PATIENCE
        while not self.server.started:
            assert time.monotonic() < until, "no API"
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def on_loop(self, work: Callable[[], Any]) -> Any:
        """Does something on the API's own event loop and answers what it came to."""
        done: list[Any] = []
        over = threading.Event()

        def act() -> None:
            try:
                done.append(work())
            finally:
                over.set()

        loop = next(iter(self.app.state.lines._by_loop))
        loop.call_soon_threadsafe(act)
        assert over.wait(PATIENCE)
        return done[0]

    async def _end(self) -> None:
        await self.app.state.lines.close()
        await self.app.state.papers.close()
        await self.app.state.ears.close()

    def close(self) -> None:
        for loop in list(self.app.state.lines._by_loop):
            asyncio.run_coroutine_threadsafe(self._end(), loop).result(PATIENCE)
        self.app.state.stateless.threads.shutdown(wait=False)
        self.app.state.doorkeeper.rates.close()
        self.server.should_exit = True
        self._thread.join(PATIENCE)


@contextmanager
def a_door(context: Context, **options: Any) -> Iterator[Door]:
    door = Door(context, **options)
    try:
        yield door
    finally:
        door.close()


class Talk:
    """A client. It remembers every frame; a frame that is waited for may be taken once."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[Frame] = []
        self._taken = 0

    def send(self, frame: Any) -> None:
        self.connection.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    def say(self, content: str, session_id: str | None = None, **more: Any) -> None:
        place = {"session_id": session_id} if session_id else {}
        self.send({"type": "message", "content": content, **place, **more})

    def next(self, seconds: float = PATIENCE) -> Frame:
        frame: Frame = json.loads(self.connection.recv(timeout=seconds))
        self.frames.append(frame)
        return frame

    def until(self, wanted: Callable[[Frame], bool], seconds: float = PATIENCE) -> Frame:
        """The next frame like this; the others that came before it are in `frames`."""
        end = time.monotonic() + seconds
        while True:
            frame = self.next(max(0.0, end - time.monotonic()))
            if wanted(frame):
                return frame

    def of_type(self, kind: str, seconds: float = PATIENCE) -> Frame:
        return self.until(lambda frame: frame["type"] == kind, seconds)

    def answer(self, seconds: float = PATIENCE) -> Frame:
        return self.until(lambda frame: frame["type"] == "message" and frame["sender"] == "bot", seconds)

    def quiet(self, seconds: float = 0.7) -> list[Frame]:
        """What comes within a while: nothing, if all is well."""
        found = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                found.append(self.next(left))
            except TimeoutError:
                break
        return found

    def closed(self, seconds: float = PATIENCE) -> int:
        """The code it is closed with."""
        try:
            while True:
                self.next(seconds)
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else 1006

    def close(self) -> None:
        self.connection.close()


@contextmanager
def talking(
    port: int,
    token: str | None = None,
    path: str = "/ws",
    *,
    welcome: bool = True,
    headers: dict[str, str] | None = None,
    **options: Any,
) -> Iterator[Talk]:
    """A connection; with `welcome` its first frame has been taken."""
    sent = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
    with connect(
        f"ws://127.0.0.1:{port}{path}",
        additional_headers=sent,
        proxy=None,
        compression=None,
        max_size=None,
        **options,
    ) as connection:
        talk = Talk(connection)
        if welcome:
            first = talk.next()
            assert first["type"] == "status", first
        yield talk


@contextmanager
def silent(port: int, secret: str) -> Iterator[None]:
    """A connection whose client is there no more, and never said so."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", port))
        raw.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {'x' * 22}==\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {secret}\r\n\r\n".encode()
        )
        assert b"connected" in _head(raw)
        yield


def _head(raw: socket.socket) -> bytes:
    """Its handshake and its first frame."""
    got = b""
    while b"bot_name" not in got and (data := raw.recv(256)):
        got += data
    return got
