"""A file that a command reads, with a bar on the terminal that shows how far it is."""

from __future__ import annotations

import io
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.show import console
from core.errors import InvalidInput


class _Watched(io.FileIO):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, seen: Callable[[int], object]) -> None:
        super().__init__(path)
        self._seen = seen

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            chunk = super().read(-1 if size is None else size) or b""
        except OSError as error:
            raise InvalidInput("The file cannot be read to its end.") from error
        self._seen(len(chunk))
        return chunk


@contextmanager
def opened(path: Path, *, quiet: bool) -> Iterator[_Watched]:
    """The file, with a bar on the terminal that shows how far its reading is."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    try:
        about = path.stat()
    except OSError as error:
        raise InvalidInput("There is no such file to read.") from error
    if not stat.S_ISREG(about.st_mode):
        raise InvalidInput("Only an ordinary file can be read; save it as one.")
    screen = console(stderr=True)
    bar = Progress(
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=quiet or not screen.is_terminal,
    )
    reading = bar.add_task("", total=about.st_size)
    try:
        file = _Watched(path, lambda size: bar.advance(reading, size))
    except OSError as error:
        raise InvalidInput("The file cannot be opened.") from error
    with file, bar:
        yield file
