"""What the doors remember: session tokens, and which writes were made under which key."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, created_column, id_column


class SessionToken(Base):
    """A token for one conversation, fit for a browser: only its SHA-256. Goes with its conversation."""

    __tablename__ = "session_tokens"
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            ondelete="CASCADE",
        ),
        Index("ix_session_tokens_conversation", "conversation_id"),
        Index("ix_session_tokens_expires", "expires_at"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID]
    conversation_id: Mapped[uuid.UUID]
    token_sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = created_column()


class IdempotencyKey(Base):
    """A write that was made under a key: what it made, by id. Bodies are rebuilt from rows, never kept.

    `key_sha256` and `digest` (of the request) are hashes: what the caller sent stands nowhere here.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created", "created_at"),)

    account_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    key_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = created_column()
