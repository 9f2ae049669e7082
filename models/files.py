"""Files and attachments, their content as rows, and what is still to be cleared away."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, meta_column, one_of
from models.knowledge import Visibility


class BlobState(StrEnum):
    """pending → stored; or pending → part, of a content that is put together from parts."""

    PENDING = "pending"
    STORED = "stored"
    PART = "part"


class TicketKind(StrEnum):
    UPLOAD = "upload"
    DOWNLOAD = "download"


class File(Base):
    """A file of an account's own. Its content is its stored blob, of which there is at most one."""

    __tablename__ = "files"
    __table_args__ = (UniqueConstraint("account_id", "id"), one_of("visibility", Visibility))

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    alias: Mapped[str | None] = content()
    blueprint_id: Mapped[str | None] = content()
    visibility: Mapped[str] = mapped_column(server_default=Visibility.PRIVATE)
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class Attachment(Base):
    """A file in a conversation, or with one of its messages; goes with either."""

    __tablename__ = "attachments"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            ondelete="CASCADE",
        ),
        Index("ix_attachments_conversation", "conversation_id", "id"),
        Index("ix_attachments_message", "message_id", postgresql_where=text("message_id IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID]
    conversation_id: Mapped[uuid.UUID]
    message_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class Blob(Base):
    """The content of a file or an attachment: what it is called and weighs; the bytes lie outside, sealed.

    The row comes before the bytes. While it is pending, `size` is what was announced; once it is stored,
    what was counted. A `part` is complete, and the `number`th of a content of its file that is still to be
    put together: there is one of each number. However a row goes, a trigger leaves a `blob_leftovers` row in
    the same transaction.
    """

    __tablename__ = "blobs"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(
            ["account_id", "attachment_id"], ["attachments.account_id", "attachments.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(["account_id", "file_id"], ["files.account_id", "files.id"], ondelete="CASCADE"),
        Index(
            "uq_blobs_attachment",
            "attachment_id",
            unique=True,
            postgresql_where=text("attachment_id IS NOT NULL"),
        ),
        Index("ix_blobs_file", "file_id", postgresql_where=text("file_id IS NOT NULL")),
        Index(
            "uq_blobs_file_stored",
            "file_id",
            unique=True,
            postgresql_where=text("file_id IS NOT NULL AND state = 'stored'"),
        ),
        Index("uq_blobs_part", "file_id", "number", unique=True, postgresql_where=text("state = 'part'")),
        Index("ix_blobs_pending", "created_at", postgresql_where=text("state = 'pending'")),
        one_of("state", BlobState),
        CheckConstraint("num_nonnulls(attachment_id, file_id) > 0", name="is_of_something"),
        CheckConstraint("size >= 0", name="size"),
        CheckConstraint(
            "state = 'pending' OR num_nulls(size, sha256, stored_at) = 0", name="stored_is_complete"
        ),
        CheckConstraint("(state = 'part') = (number IS NOT NULL)", name="part_has_number"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID]
    attachment_id: Mapped[uuid.UUID | None]
    file_id: Mapped[uuid.UUID | None]
    state: Mapped[str] = mapped_column(server_default=BlobState.PENDING)
    name: Mapped[str | None] = content()
    type: Mapped[str] = content(nullable=False)
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = created_column()
    stored_at: Mapped[datetime | None]
    number: Mapped[int | None]


class BlobTicket(Base):
    """A link that opens one blob once, without a token: only the SHA-256 of what stands in it.

    Whoever deletes the row has used it.
    """

    __tablename__ = "blob_tickets"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "blob_id"], ["blobs.account_id", "blobs.id"], ondelete="CASCADE"),
        Index("ix_blob_tickets_blob", "blob_id"),
        Index("ix_blob_tickets_expires", "expires_at"),
        one_of("kind", TicketKind),
    )

    token_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account_id: Mapped[uuid.UUID]
    blob_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = created_column()


class BlobLeftover(Base):
    """Content whose row is gone, to be removed by a sweep; without foreign keys, because it outlives all.

    Removed when `due_at` comes and, when somebody may still have been writing, once more at `until`.
    """

    __tablename__ = "blob_leftovers"
    __table_args__ = (Index("ix_blob_leftovers_due", "due_at"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    until: Mapped[datetime]


class DatasetFile(Base):
    """A file attached to a dataset; its records are made anew with every synchronisation."""

    __tablename__ = "dataset_files"
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "dataset_id"], ["datasets.account_id", "datasets.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(["account_id", "file_id"], ["files.account_id", "files.id"], ondelete="CASCADE"),
        Index("ix_dataset_files_file", "file_id"),
    )

    account_id: Mapped[uuid.UUID]
    dataset_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    file_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    created_at: Mapped[datetime] = created_column()
    synced_at: Mapped[datetime | None]
