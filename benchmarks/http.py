"""A client that costs next to nothing: HTTP/1.1 on a kept connection, as far as this API speaks it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self


class Client:
    """One connection with one token, or with the cookie of the pages. Asks one thing at a time."""

    def __init__(self, port: int, token: str, *, cookie: bool = False) -> None:
        self._port = port
        login = f"Cookie: crontalk=own.{token}" if cookie else f"Authorization: Bearer {token}"
        self._head = f"Host: 127.0.0.1\r\n{login}\r\n"
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def get(self, path: str) -> Any:
        return await self._ask(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())

    async def page(self, path: str) -> tuple[int, bytes]:
        """The status and the body, whatever they are."""
        return await self._answer(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())

    async def post(self, path: str, document: dict[str, Any]) -> Any:
        body = json.dumps(document).encode()
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
        return await self._ask(f"POST {path} HTTP/1.1\r\n{self._head}{kind}\r\n\r\n".encode() + body)

    async def _ask(self, request: bytes) -> Any:
        status, body = await self._answer(request)
        assert status == 200, body
        return json.loads(body)

    async def _answer(self, request: bytes) -> tuple[int, bytes]:
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split(b" ", 2)[1]), await self._reader.readexactly(length)


async def timed(
    port: int, token: str, clients: int, count: int, ask: Callable[[Client, int, int], Awaitable[Any]]
) -> tuple[float, list[float]]:
    """Seconds for all, and of each, when so many clients ask `count` times between them."""
    spans: list[float] = []

    async def one(number: int) -> None:
        async with Client(port, token) as client:
            for turn in range(count // clients):
                began = time.perf_counter()
                await ask(client, number, turn)
                spans.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(clients)))
    return time.perf_counter() - began, spans
