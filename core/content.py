"""Where the bytes of files lie: a directory, or a bucket of S3-compatible storage, both through obstore.

A blob is a row of chunks, each an object of its own, `<account>/<blob>/<number>`. An object is written
whole or not at all, so there are no multipart uploads that a crash would leave unseen in a bucket. In a
directory a crash can leave a draft beside a chunk, which no listing shows; it goes with the blob's directory.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import InvalidInput, Unavailable
from core.settings import S3_PLACE, Settings

CONNECT = timedelta(seconds=5)
REQUEST = timedelta(seconds=30)
RETRIES = 2


class NoContent(Exception):
    """A chunk that should be there is not."""


@dataclass(frozen=True)
class Content:
    """A place for chunks. `directory` is set when it is one of this machine's."""

    store: Any = field(repr=False)
    directory: Path | None

    def put(self, account_id: uuid.UUID, blob_id: uuid.UUID, number: int, sealed: bytes) -> None:
        """Stores a chunk, whole or not at all; in a directory it is on the disk when this returns.

        Raises:
            Unavailable: the place is away, full or not ours to write to.

        """
        import obstore

        path = _path(account_id, blob_id, number)
        with _translated():
            obstore.put(self.store, path, sealed, use_multipart=False)
            if self.directory is not None:
                _flush(self.directory, path, new=number == 0)

    def get(self, account_id: uuid.UUID, blob_id: uuid.UUID, number: int) -> bytes:
        """A chunk as it was stored.

        Raises:
            NoContent: it is not there. Unavailable.

        """
        import obstore

        with _translated():
            try:
                return bytes(obstore.get(self.store, _path(account_id, blob_id, number)).bytes())
            except FileNotFoundError:
                raise NoContent from None

    def remove(self, account_id: uuid.UUID, blob_id: uuid.UUID) -> None:
        """Takes all chunks of a blob away, drafts included; nothing there is nothing to do.

        Raises:
            Unavailable.

        """
        import obstore

        place = f"{account_id}/{blob_id}"
        with _translated():
            if self.directory is not None:
                with suppress(FileNotFoundError):
                    shutil.rmtree(self.directory / place)
                with suppress(OSError):  # the account's last
                    (self.directory / str(account_id)).rmdir()
                return
            for found in obstore.list(self.store, place):
                with suppress(FileNotFoundError):
                    obstore.delete(self.store, [each["path"] for each in found])


def content_of(settings: Settings) -> Content:
    """The place that the settings name.

    Raises:
        Unavailable: its directory cannot be made.

    """
    if settings.blobs and settings.blobs.startswith("s3://"):
        key, secret = settings.s3_access_key, settings.s3_secret_key
        return _bucket(
            settings.blobs,
            settings.s3_endpoint,
            settings.s3_region,
            key.get_secret_value() if key else None,
            secret.get_secret_value() if secret else None,
        )
    return _directory(Path(settings.blobs) if settings.blobs else settings.home / "blobs")


@lru_cache(maxsize=8)
def _directory(path: Path) -> Content:
    from obstore.store import LocalStore

    with _translated():
        place = path.expanduser().absolute()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Content(LocalStore(place), place)


@lru_cache(maxsize=8)
def _bucket(
    address: str, endpoint: str | None, region: str | None, key: str | None, secret: str | None
) -> Content:
    from obstore.store import S3Store

    found = S3_PLACE.fullmatch(address)
    if found is None:
        raise InvalidInput("CRONTALK_BLOBS must be a directory or s3://bucket/prefix.")
    given = {"endpoint": endpoint, "region": region, "access_key_id": key, "secret_access_key": secret}
    config: Any = {name: value for name, value in given.items() if value}
    with _translated():
        store = S3Store(
            found[1],
            prefix=(found[2] or "").strip("/") or None,
            config=config,
            client_options={
                "connect_timeout": CONNECT,
                "timeout": REQUEST,
                "allow_http": bool(endpoint and endpoint.startswith("http://")),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": REQUEST},
        )
    return Content(store, None)


def _path(account_id: uuid.UUID, blob_id: uuid.UUID, number: int) -> str:
    return f"{account_id}/{blob_id}/{number}"


def _flush(directory: Path, path: str, *, new: bool) -> None:
    """Onto the disk, the directories' entries as well: a row that says `stored` outlives a power cut."""
    file = directory / path
    above = (file.parent, file.parent.parent, directory) if new else (file.parent,)
    for place in (file, *above):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    """What goes wrong out there is told without its words, which name paths, hosts and keys."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise Unavailable("The storage of files did not answer; try again.") from error
