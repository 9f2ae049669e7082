"""A stored file as a stream that can be read here and there, as archives need it; a few chunks in memory."""

from __future__ import annotations

import io
from collections.abc import Callable

from core.blobs import Stored, read_chunk
from core.context import Context
from core.sealed_chunks import CHUNK

KEPT = 4  # chunks: the end of an archive, its directory, and where the reading is


class StagedFile(io.RawIOBase):
    """Reads a stored file. `seen` is told, with every chunk that is fetched, how far into it the reading is.

    Raises:
        ContentDamaged, Unavailable: from any reading.

    """

    def __init__(self, context: Context, stored: Stored, seen: Callable[[int], None]) -> None:
        super().__init__()
        self._context, self._stored, self._seen = context, stored, seen
        self._at = 0
        self._chunks: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._stored.size}[whence]
        self._at = max(0, begin + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes: less at the end only."""
        rest = max(0, self._stored.size - self._at)
        wanted = rest if size is None or size < 0 else min(size, rest)
        parts = []
        while wanted:
            number, place = divmod(self._at, CHUNK)
            part = self._chunk(number)[place : place + wanted]
            parts.append(part)
            self._at += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def _chunk(self, number: int) -> bytes:
        found = self._chunks.pop(number, None)
        if found is None:
            found = read_chunk(self._context, self._stored, number)
            self._seen(min(self._stored.size, (number + 1) * CHUNK))
            while len(self._chunks) >= KEPT:
                del self._chunks[next(iter(self._chunks))]
        self._chunks[number] = found  # the last used is the last to go
        return found
