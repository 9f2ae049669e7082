"""A TCP proxy that misbehaves: refuses, delays, swallows, and cuts, also around the answer to a COMMIT.

It listens on loopback and passes on to a unix socket. Faults are set from any thread and hold for every
connection; a cut is taken by the first connection that comes to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHUNK = 65536
# PostgreSQL's protocol, version 3: the query that commits, and CommandComplete with its tag.
COMMIT_ASKED = b"COMMIT\x00"
COMMIT_DONE = b"C\x00\x00\x00\x0bCOMMIT\x00"


@dataclass
class Faults:
    """The weather of one proxy. Cuts: `request` (the COMMIT never arrives), `answer` (it is carried out and
    nobody is told), `afterwards` (the client is told, then cut off).
    """

    refuse: bool = False
    swallow: bool = False
    delay: float = 0.0
    cut_after: int | None = None
    cut_commit: str | None = None


class Proxy:
    """One upstream, one port; lives in a thread of its own until it is closed."""

    def __init__(self, upstream: Path) -> None:
        self.upstream = str(upstream)
        self.faults = Faults()
        self.cuts: dict[str, int] = {}
        self._links: set[_Link] = set()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="proxy", daemon=True)
        self._thread.start()
        self._ready.wait()

    def clear(self) -> None:
        self.faults = Faults()

    def cut_all(self) -> None:
        """Every connection breaks now."""
        self._loop.call_soon_threadsafe(lambda: [link.cut() for link in list(self._links)])

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512))
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        server.close()
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(asyncio.sleep(0.1))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.faults.refuse:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_unix_connection(self.upstream)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, back)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pump(link, reader, back, COMMIT_ASKED), self._pump(link, there, writer, COMMIT_DONE)
            )
        finally:
            self._links.discard(link)
            link.cut()

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: Any, mark: bytes) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                if self.faults.delay:
                    await asyncio.sleep(self.faults.delay)
                while self.faults.swallow:  # noqa: ASYNC110 (faults are set from other threads)
                    await asyncio.sleep(0.05)
                if self._cut_comes(data, mark, sink.write):
                    break
                sink.write(data)
                await sink.drain()
        link.cut()

    def _cut_comes(self, data: bytes, mark: bytes, write: Callable[[bytes], None]) -> bool:
        faults = self.faults
        if faults.cut_after is not None:
            faults.cut_after -= len(data)
            if faults.cut_after < 0:
                write(data[: faults.cut_after])
                faults.cut_after = None
                return self._counted("bytes")
        asked = "request" if mark == COMMIT_ASKED else "answer"
        if faults.cut_commit == asked and mark in data:
            faults.cut_commit = None
            return self._counted(asked)
        if faults.cut_commit == "afterwards" and mark == COMMIT_DONE and mark in data:
            faults.cut_commit = None
            write(data)
            return self._counted("afterwards")
        return False

    def _counted(self, kind: str) -> bool:
        self.cuts[kind] = self.cuts.get(kind, 0) + 1
        return True


class _Link:
    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.writers = writers

    def cut(self) -> None:
        """What was handed over is still sent; then both ends find the connection closed."""
        for writer in self.writers:
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()
