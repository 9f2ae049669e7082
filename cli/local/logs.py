"""What the children print, kept in one bounded file each."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

LIMIT = 5_000_000
CHUNK = 65_536


class LogFile:
    """A file of at most `limit` bytes plus one old one beside it (`.1`), for its owner's eyes alone."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path = path
        self._limit = limit
        self._descriptor = -1
        self._open()

    def write(self, chunk: bytes) -> None:
        """Append; begin a new file first when this one would grow beyond the limit."""
        if self._size and self._size + len(chunk) > self._limit:
            self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            full = self._descriptor
            self._open()
            os.close(full)
        self._size += os.write(self._descriptor, chunk)

    def close(self) -> None:
        os.close(self._descriptor)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size


def drain(pipe: int, path: Path) -> threading.Thread:
    """Copy the pipe into the file from now until its last writer is gone, then close both."""
    thread = threading.Thread(
        target=_copy, args=(pipe, LogFile(path)), name=f"drain-{path.stem}", daemon=True
    )
    thread.start()
    return thread


def _copy(pipe: int, log: LogFile) -> None:
    # os.read gives what is there; a buffered reader would hold lines back.
    try:
        while chunk := os.read(pipe, CHUNK):
            # A full disk must not block the child: what cannot be kept is dropped.
            with contextlib.suppress(OSError):
                log.write(chunk)
    finally:
        os.close(pipe)
        log.close()
