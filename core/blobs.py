"""Blobs: the content of files and attachments, sealed outside the rows and streamed at constant memory.

The row comes first, pending; then the content; then the row says `stored`. A row that goes leaves a note in
the same transaction (the trigger of migration 0007), and a sweep removes the content it names. Nothing is
ever removed because no row is found for it: the place may be another installation's as well.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.cipher import Unopened
from core.content import Content, NoContent, content_of
from core.context import Context, account_of, settings_of
from core.errors import Conflict, InvalidInput, NotFound, Unavailable
from core.file_names import Described
from core.keys import derived_key
from core.sealed_chunks import Chunker, chunks_of, open_chunk
from models import Blob, BlobState

log = structlog.get_logger()

WRITING = timedelta(minutes=30)  # the longest an upload may take; well within the life of a pending row
ANY_SIZE = 2**62
SWEEPING = timedelta(seconds=20)
BATCH = 100

STORE = text(
    "UPDATE blobs SET state = 'stored', size = :size, sha256 = :sha256, stored_at = now()"
    " WHERE id = :id AND state = 'pending' RETURNING file_id"
)
KEEP_PART = text(
    "UPDATE blobs SET state = 'part', number = :number, size = :size, sha256 = :sha256, stored_at = now()"
    " WHERE id = :id AND state = 'pending' RETURNING id"
)
LOCK_FILE = text("SELECT id FROM files WHERE id = (SELECT file_id FROM blobs WHERE id = :id) FOR UPDATE")
REPLACE = text(
    "DELETE FROM blobs WHERE file_id = (SELECT file_id FROM blobs WHERE id = :id) AND state = 'stored'"
)
TOUCH = text("UPDATE files SET updated_at = now() WHERE id = :id")
STALE = (
    text(
        "DELETE FROM attachments WHERE id IN (SELECT attachment_id FROM blobs WHERE state = 'pending'"
        " AND attachment_id IS NOT NULL AND created_at < now() - interval '1 hour'"
        " LIMIT 500 FOR UPDATE SKIP LOCKED)"
    ),
    text(
        "DELETE FROM blobs WHERE id IN (SELECT id FROM blobs WHERE state = 'pending' AND file_id IS NOT NULL"
        " AND created_at < now() - interval '1 hour' LIMIT 500 FOR UPDATE SKIP LOCKED)"
    ),
    text("DELETE FROM blob_tickets WHERE expires_at < now()"),
)
UNFINISHED_OF = text("DELETE FROM blobs WHERE file_id = :file AND state IN ('pending', 'part')")
PENDING = text("SELECT id FROM blobs WHERE id = :id AND state = 'pending'")
DROP = (
    text(
        "DELETE FROM attachments WHERE id ="
        " (SELECT attachment_id FROM blobs WHERE id = :id AND state = 'pending' FOR UPDATE)"
    ),
    text("DELETE FROM blobs WHERE id = :id AND state = 'pending'"),
)
# Taken for a while, so that several sweepers do not do the same; one that dies lets go by itself.
TAKE_LEFTOVERS = text(
    "UPDATE blob_leftovers SET due_at = now() + interval '5 minutes' WHERE id IN ("
    " SELECT id FROM blob_leftovers WHERE due_at <= now() ORDER BY due_at LIMIT :batch"
    " FOR UPDATE SKIP LOCKED) RETURNING id, account_id"
)
# What may still have been written to when its row went is looked at once more.
SETTLE_LEFTOVERS = (
    text("DELETE FROM blob_leftovers WHERE id = ANY(:ids) AND until <= now()"),
    text("UPDATE blob_leftovers SET due_at = until WHERE id = ANY(:ids)"),
)


class TooLarge(InvalidInput):
    """More bytes than are allowed, or than were announced."""


class ContentDamaged(Conflict):
    """The content is not what was stored: changed, cut off, or gone."""


@dataclass(frozen=True)
class Stored:
    """A stored blob that may be read, with what its bytes are opened with."""

    account_id: uuid.UUID
    id: uuid.UUID
    name: str | None
    type: str
    size: int
    key: bytes = field(repr=False)


def new_blob(
    session: Session,
    told: Described,
    *,
    attachment_id: uuid.UUID | None = None,
    file_id: uuid.UUID | None = None,
    most: int | None = None,
) -> Blob:
    """A pending blob of this account's; whatever would keep its content from being stored is said now.

    Raises:
        TooLarge: more is announced than `most`, `max_file` unless told. KeyUnusable: this installation can
            seal nothing.

    """
    refuse_too_large(session, told.size, most)
    account_id = account_of(session)
    blob = Blob(
        account_id=account_id,
        attachment_id=attachment_id,
        file_id=file_id,
        name=told.name,
        type=told.type,
        size=told.size,
    )
    session.add(blob)
    session.flush()
    derived_key(session, account_id, _purpose(blob.id))
    return blob


def refuse_too_large(session: Session, size: int | None, most: int | None = None) -> None:
    """Raises TooLarge for more bytes than `most`, `max_file` unless told."""
    most = settings_of(session).max_file if most is None else most
    if size is not None and size > most:
        raise TooLarge(f"The file is larger than {most} bytes.")


class Writing:
    """The content of one pending blob on its way in. Pieces come as they come; chunks go out as they fill.

    Whoever ends it otherwise than by `finish` calls `drop`, or gives its ticket back.
    """

    def __init__(
        self,
        context: Context,
        account_id: uuid.UUID,
        blob_id: uuid.UUID,
        key: bytes,
        size: int | None,
        *,
        most: int,
    ) -> None:
        self.account_id = account_id
        self.blob_id = blob_id
        self._context = context
        self._chunker = Chunker(key)
        self._exactly = size
        self._most = most if size is None else size
        self._until = time.monotonic() + WRITING.total_seconds()

    def add(self, piece: bytes) -> None:
        """Raises TooLarge, InvalidInput (it took too long), Unavailable."""
        if self._chunker.size + len(piece) > self._most:
            raise TooLarge(f"The file is larger than {self._most} bytes.")
        for sealed in self._chunker.add(piece):
            self._put(self._chunker.count - 1, sealed)

    def finish(self) -> None:
        """Stores the end and then the row; from here on the content can be read.

        Raises:
            InvalidInput: fewer bytes than were announced. NotFound: it was deleted meanwhile. Unavailable.

        """
        self.close()
        with self._context.transaction(self.account_id) as session:
            self.store(session)

    def close(self) -> None:
        """Stores the end of the content; the row is another matter.

        Raises:
            InvalidInput: fewer bytes than were announced. Unavailable.

        """
        if self._exactly is not None and self._chunker.size < self._exactly:
            raise InvalidInput(f"The file is smaller than the {self._exactly} bytes that were announced.")
        last = self._chunker.finish()
        self._put(self._chunker.count - 1, last)

    def store(self, session: Session) -> None:
        """Makes what was closed the content of its file or attachment.

        Raises:
            NotFound: it was deleted meanwhile.

        """
        values = {"id": self.blob_id, "size": self._chunker.size, "sha256": self._chunker.sha256}
        if session.execute(LOCK_FILE, values).one_or_none() is not None:
            session.execute(REPLACE, values)
        row = session.execute(STORE, values).one_or_none()
        if row is None:
            raise NotFound("It was deleted before its content was there.")
        if row.file_id is not None:
            session.execute(TOUCH, {"id": row.file_id})

    def keep_as_part(self, session: Session, number: int) -> None:
        """Makes what was closed a part of a content of its file, to be put together later.

        Raises:
            NotFound: it was deleted meanwhile.

        """
        values = {"id": self.blob_id, "size": self._chunker.size, "sha256": self._chunker.sha256}
        if session.execute(KEEP_PART, {**values, "number": number}).one_or_none() is None:
            raise NotFound("It was deleted before its content was there.")

    @property
    def size(self) -> int:
        return self._chunker.size

    @property
    def sha256(self) -> str:
        """Of what was added so far, in hexadecimal digits."""
        return self._chunker.sha256.hex()

    def _put(self, number: int, sealed: bytes) -> None:
        if time.monotonic() > self._until:
            raise InvalidInput("The upload took too long.")
        content_of(self._context.settings).put(self.account_id, self.blob_id, number, sealed)


def open_writing(context: Context, session: Session, blob: Blob, *, most: int | None = None) -> Writing:
    """What the content of a pending blob is written with, once the session's transaction has committed.

    Without an announced size it may have `most` bytes, `max_file` unless told.

    Raises:
        KeyUnusable.

    """
    key = derived_key(session, blob.account_id, _purpose(blob.id))
    most = context.settings.max_file if most is None else most
    return Writing(context, blob.account_id, blob.id, key, blob.size, most=most)


def clear_pending(context: Context, writing: Writing) -> bool:
    """Takes away what was written of a blob that is still pending, as far as that can be done now.

    False when it is not: stored after all (a commit whose answer was lost), or deleted.
    """
    with context.transaction() as session:
        pending = session.execute(PENDING, {"id": writing.blob_id}).one_or_none() is not None
    if pending:
        with suppress(Unavailable):
            content_of(context.settings).remove(writing.account_id, writing.blob_id)
    return pending


def drop(context: Context, writing: Writing) -> None:
    """Ends an upload that failed: blob and attachment go. What cannot be removed now, a sweep removes."""
    with suppress(Unavailable):
        if clear_pending(context, writing):
            with context.transaction() as session:
                for statement in DROP:
                    session.execute(statement, {"id": writing.blob_id})


def open_stored(session: Session, blob: Blob | None) -> Stored:
    """What stored content is read with.

    Raises:
        NotFound: there is none yet. KeyUnusable.

    """
    if blob is None or blob.state != BlobState.STORED or blob.size is None:
        raise NotFound("It has no content yet.")
    key = derived_key(session, blob.account_id, _purpose(blob.id))
    return Stored(blob.account_id, blob.id, blob.name, blob.type, blob.size, key)


def open_parts(session: Session, file_id: uuid.UUID) -> list[Stored]:
    """The parts of a file's content that is to be put together, in their order.

    Raises:
        KeyUnusable.

    """
    mine = (Blob.file_id == file_id, Blob.state == BlobState.PART)
    return [
        Stored(
            blob.account_id,
            blob.id,
            blob.name,
            blob.type,
            blob.size or 0,
            derived_key(session, blob.account_id, _purpose(blob.id)),
        )
        for blob in session.scalars(select(Blob).where(*mine).order_by(Blob.number))
    ]


def delete_unfinished(session: Session, file_id: uuid.UUID) -> None:
    """Takes away what was written of a file's content and did not become it."""
    session.execute(UNFINISHED_OF, {"file": file_id})


def read_stored(context: Context, stored: Stored) -> Iterator[bytes]:
    """The content, chunk by chunk; no transaction is open meanwhile.

    Raises:
        ContentDamaged: it is not what was stored. Unavailable.

    """
    content, last = content_of(context.settings), chunks_of(stored.size) - 1
    left = stored.size
    for number in range(last + 1):
        piece = _opened(content, stored, number, last=number == last)
        left -= len(piece)
        if number == last and left != 0:
            raise _damaged(stored)
        yield piece


def read_chunk(context: Context, stored: Stored, number: int) -> bytes:
    """One chunk of the content, of `chunks_of(stored.size)`: for whoever reads here and there.

    Raises:
        ContentDamaged: it is not what was stored. Unavailable.

    """
    last = chunks_of(stored.size) - 1
    return _opened(content_of(context.settings), stored, number, last=number == last)


def sweep_blobs(context: Context) -> int:
    """Removes content whose row is gone, and uploads that never ended; answers how many it removed.

    Any number may sweep at once. What cannot be removed now is tried again in some minutes.
    """
    with context.transaction() as session:
        for statement in STALE:
            session.execute(statement)
    until, swept = time.monotonic() + SWEEPING.total_seconds(), 0
    while time.monotonic() < until:
        with context.transaction() as session:
            taken = session.execute(TAKE_LEFTOVERS, {"batch": BATCH}).all()
        if not taken:
            break
        content = content_of(context.settings)
        for row in taken:
            content.remove(row.account_id, row.id)
        with context.transaction() as session:
            for statement in SETTLE_LEFTOVERS:
                session.execute(statement, {"ids": [row.id for row in taken]})
        swept += len(taken)
    if swept:
        log.info("blobs_swept", count=swept)
    return swept


def _opened(content: Content, stored: Stored, number: int, *, last: bool) -> bytes:
    try:
        sealed = content.get(stored.account_id, stored.id, number)
        return open_chunk(stored.key, number, sealed, last=last)
    except (NoContent, Unopened):
        raise _damaged(stored) from None


def _damaged(stored: Stored) -> ContentDamaged:
    log.error("content_damaged", blob=str(stored.id))
    return ContentDamaged("The content is not what was stored; it cannot be read.")


def _purpose(blob_id: uuid.UUID) -> str:
    return f"blob:{blob_id}"
