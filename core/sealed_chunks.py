"""A stream cut into sealed chunks: pure. Chunks cannot be changed, dropped, swapped or taken from elsewhere.

Every chunk is sealed (core/cipher.py) under a key of the blob's own for its place: its number, and whether
it is the last. A stream that lacks its end ends with a chunk that says it is not the last, and does not open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from core.cipher import decrypt, encrypt

CHUNK = 1024 * 1024


class Chunker:
    """Takes pieces of any size and gives sealed chunks; holds one chunk and one piece at most."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._waiting = bytearray()
        self._digest = hashlib.sha256()
        self.size = 0
        self.count = 0

    def add(self, piece: bytes) -> Iterator[bytes]:
        """The chunks that are full. The last one waits: only `finish` knows that nothing follows."""
        self.size += len(piece)
        self._digest.update(piece)
        self._waiting += piece
        while len(self._waiting) > CHUNK:
            chunk = bytes(self._waiting[:CHUNK])
            del self._waiting[:CHUNK]
            yield self._seal(chunk, last=False)

    def finish(self) -> bytes:
        """The last chunk, empty only for an empty stream."""
        return self._seal(bytes(self._waiting), last=True)

    @property
    def sha256(self) -> bytes:
        return self._digest.digest()

    def _seal(self, chunk: bytes, *, last: bool) -> bytes:
        sealed = encrypt(self._key, chunk, _place(self.count, last=last))
        self.count += 1
        return sealed


def open_chunk(key: bytes, number: int, sealed: bytes, *, last: bool) -> bytes:
    """What a chunk holds.

    Raises:
        Unopened: another key, another place in the stream, or changed.

    """
    return decrypt(key, sealed, _place(number, last=last))


def chunks_of(size: int) -> int:
    """How many chunks a stream of so many bytes has."""
    return max(1, -(-size // CHUNK))


def _place(number: int, *, last: bool) -> str:
    return f"chunk:{number}:{'last' if last else 'more'}"
