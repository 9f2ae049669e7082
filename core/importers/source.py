"""The file an import reads: plain, gzip or a zip archive, of which nothing is ever unpacked to a disk."""

from __future__ import annotations

import gzip
import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from core.errors import InvalidInput
from core.importers.records import MEBIBYTE, Limits

BUFFER = 256 * 1024
# A small member may well be nothing but blanks; from here on the ratio counts.
FORGIVEN = 16 * MEBIBYTE
MOST_DIRECTORY = 64 * MEBIBYTE
_END_OF_ZIP, _WIDE_END, _ENTRY = 65_557, 56, b"PK\x01\x02"
_GZIP, _ZIP = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")
_NUMBER = re.compile(r"(\d{1,18})")


class Damaged(Exception):
    """The archive cannot be read beyond this point; what was read before it is good."""


@dataclass(frozen=True)
class Source:
    """A seekable binary file and what it was called; both are the caller's to close and to trust."""

    file: BinaryIO = field(repr=False)
    name: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Member:
    """A file in the source. `open()` gives it from its beginning, buffered, as often as asked."""

    name: str = field(repr=False)
    size: int
    open: Callable[[], io.BufferedReader] = field(repr=False)

    @property
    def base(self) -> str:
        return PurePosixPath(self.name).name

    @property
    def stem(self) -> str:
        return self.base.split(".", 1)[0]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()


@dataclass(frozen=True)
class Opened:
    """The members of a source in their natural order: file-2 before file-10."""

    members: tuple[Member, ...]
    archive: bool = False


@contextmanager
def opened(source: Source | Path | str) -> Iterator[Source]:
    """A source for as long as it is read; a path is opened and closed here.

    Raises:
        InvalidInput: there is no such file.

    """
    if isinstance(source, Source):
        yield source
        return
    with _file(Path(source)) as file:
        yield Source(file, Path(source).name)


def _file(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidInput("There is no such file to read.") from error


def members_of(source: Source, limits: Limits) -> Opened:
    """What there is to read.

    Raises:
        InvalidInput: an archive that is broken, encrypted, or made to harm.

    """
    source.file.seek(0)
    head = source.file.read(4)
    name = source.name or ""
    if head[:4] in _ZIP:
        return Opened(_zip_members(source.file, limits), archive=True)
    size = source.file.seek(0, io.SEEK_END)
    if head[:2] == _GZIP:
        inner = name.removesuffix(".gz")
        return Opened((Member(inner, size, lambda: _gunzipped(source.file, limits)),))
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise InvalidInput("The file is UTF-16; save it as UTF-8.")
    return Opened((Member(name, size, lambda: _plain(source.file)),))


def natural(name: str) -> list[Any]:
    """Sorts numbers in names as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _NUMBER.split(name)]


class _Shared(io.RawIOBase):
    """A reader with a place of its own in a file that others read as well; what breaks is `Damaged`."""

    def __init__(self, read: Callable[[int], bytes], seen: Callable[[int], None] | None = None) -> None:
        self._read, self._seen = read, seen

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            chunk = self._read(len(buffer))
        except (zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, struct.error) as error:
            raise Damaged from error
        if self._seen:
            self._seen(len(chunk))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _buffered(read: Callable[[int], bytes], seen: Callable[[int], None] | None = None) -> io.BufferedReader:
    return io.BufferedReader(_Shared(read, seen), BUFFER)


def _plain(file: BinaryIO) -> io.BufferedReader:
    return _buffered(_placed(file))


def _placed(file: BinaryIO) -> Callable[[int], bytes]:
    at = 0

    def read(size: int) -> bytes:
        nonlocal at
        file.seek(at)
        chunk = file.read(size)
        at += len(chunk)
        return chunk

    return read


def _gunzipped(file: BinaryIO, limits: Limits) -> io.BufferedReader:
    taken = came = 0
    packed_read = _placed(file)

    def packed(size: int) -> bytes:
        nonlocal taken
        chunk = packed_read(size)
        taken += len(chunk)
        return chunk

    def seen(size: int) -> None:
        nonlocal came
        came += size
        _refuse_bomb(came, taken, limits)

    inner = gzip.GzipFile(fileobj=io.BufferedReader(_Shared(packed), BUFFER), mode="rb")
    return _buffered(inner.read1, seen)


def _zip_members(file: BinaryIO, limits: Limits) -> tuple[Member, ...]:
    _refuse_large_directory(file, limits)
    try:  # zipfile raises NotImplementedError for an archive of a later kind than it knows
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, UnicodeError) as error:
        raise InvalidInput("The archive is damaged: its directory cannot be read.") from error
    infos = archive.infolist()
    if len(infos) > limits.members:
        raise _too_much()
    for info in infos:
        _refuse_harm(info)
    _refuse_bomb(sum(info.file_size for info in infos), file.seek(0, io.SEEK_END), limits)
    files = [info for info in infos if not info.is_dir() and not _is_litter(info.filename)]
    return tuple(
        Member(info.filename, info.file_size, _opener(archive, info, limits))
        for info in sorted(files, key=lambda info: natural(info.filename))
    )


def _opener(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: Limits
) -> Callable[[], io.BufferedReader]:
    def open_member() -> io.BufferedReader:
        if info.flag_bits & 1:
            raise InvalidInput("The archive is encrypted; unpack it and import what is inside.")
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise InvalidInput("The archive is compressed in a way that is not read; use an ordinary zip.")
        _refuse_bomb(info.file_size, info.compress_size, limits)
        try:
            return _buffered(archive.open(info).read)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error, ValueError) as error:
            raise Damaged from error

    return open_member


def _refuse_bomb(size: int, packed: int, limits: Limits) -> None:
    if size > limits.total or (size > FORGIVEN and size > packed * limits.ratio):
        raise _too_much()


def _refuse_harm(info: zipfile.ZipInfo) -> None:
    name = info.filename.replace("\\", "/")
    outside = name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name)
    if outside:
        raise InvalidInput("The archive holds a name that leads out of it; it is not read.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InvalidInput("The archive holds a symbolic link; it is not read.")


def _refuse_large_directory(file: BinaryIO, limits: Limits) -> None:
    """Before the library reads the directory into memory: its size as the end of the archive tells it."""
    size = file.seek(0, io.SEEK_END)
    start = max(0, size - _END_OF_ZIP)
    file.seek(start)
    tail = file.read(_END_OF_ZIP)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise InvalidInput("The archive is damaged: its end is missing.")
    count, directory = struct.unpack_from("<HL", tail, at + 10)
    locator = at - 20
    end = start + at
    if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
        end = start + locator - _WIDE_END  # where the library looks, wherever the locator says it is
        file.seek(max(0, end))
        wide = file.read(_WIDE_END)
        if wide[:4] != b"PK\x06\x06" or struct.unpack_from("<Q", tail, locator + 8)[0] != end:
            raise InvalidInput("The archive is damaged: its end is missing.")
        count, directory = struct.unpack_from("<QQ", wide, 32)
    if directory > MOST_DIRECTORY or count > limits.members:
        raise _too_much()
    if _entries(file, max(0, end - directory), end) > limits.members:  # whatever its end tells
        raise _too_much()


def _entries(file: BinaryIO, begin: int, end: int) -> int:
    """How many entries a directory can have at most: each begins with the same four bytes."""
    count, left = 0, b""
    file.seek(begin)
    while begin < end and (chunk := file.read(min(BUFFER, end - begin))):
        begin += len(chunk)
        count += (left + chunk).count(_ENTRY)
        left = (left + chunk)[-3:]
    return count


def _is_litter(name: str) -> bool:
    """What macOS puts beside every file."""
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1] in {".DS_Store", "Thumbs.db"}


def _too_much() -> InvalidInput:
    return InvalidInput("The archive unpacks to more than is read; it may be made to harm.")
