"""Bodies that come in and content that goes out as streams, with the work of each step on a thread."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from core.blobs import Stored, Writing, read_stored
from core.context import Context
from core.errors import InvalidInput
from core.file_names import disposition, served_type

IDLE = timedelta(seconds=30)  # between two pieces of a body
GATHERED = 256 * 1024  # a thread is asked once for so many bytes

Result = TypeVar("Result")


async def on_thread(act: Callable[[], Result]) -> Result:
    return await anyio.to_thread.run_sync(act)


async def pieces_of(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes, in pieces worth a thread.

    Raises:
        InvalidInput: it broke off, or nothing came for too long.

    """
    stream, gathered = request.stream(), bytearray()
    try:
        while True:
            with anyio.fail_after(IDLE.total_seconds()):
                piece = await anext(stream, None)
            if piece is None:
                break
            gathered += piece
            if len(gathered) >= GATHERED:
                yield bytes(gathered)
                gathered.clear()
    except ClientDisconnect:
        raise InvalidInput("The body broke off.") from None
    except TimeoutError:
        raise InvalidInput("The body stopped coming.") from None
    if gathered:
        yield bytes(gathered)


async def write_all(writing: Writing, pieces: AsyncIterator[bytes], failed: Callable[[], None]) -> None:
    """Takes a stream in, to its end; whatever goes wrong, `failed` clears up before it is told."""
    try:
        async for piece in pieces:
            await anyio.to_thread.run_sync(writing.add, piece)
        await anyio.to_thread.run_sync(writing.finish)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(failed)
        raise


def sent(context: Context, stored: Stored) -> StreamingResponse:
    """Content as a download, never to be shown in place. Its first chunk is read before anything is answered.

    Raises:
        ContentDamaged, Unavailable.

    """
    rest = read_stored(context, stored)
    first = next(rest)
    headers = {"Content-Disposition": disposition(stored.name), "Content-Length": str(stored.size)}
    return StreamingResponse(_joined(first, rest), media_type=served_type(stored.type), headers=headers)


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    return itertools.chain((first,), rest)
