"""Memories: what bots are to remember of a contact, or by themselves, from one conversation to the next."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, meta_column

LONGEST_MEMORY = 2000  # characters


class Memory(Base):
    """A sentence or a few, of a bot and a contact, one of them, or neither; it goes with either.

    One that a turn has made is derived from its conversation: from what stood there up to `seq`. It goes with
    the conversation, and with any message up to there.
    """

    __tablename__ = "memories"
    __mapper_args__ = {"eager_defaults": False}  # noqa: RUF012 (SQLAlchemy's own protocol; `search` is not read back)
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(["account_id", "bot_id"], ["bots.account_id", "bots.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["account_id", "contact_id"], ["contacts.account_id", "contacts.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["account_id", "run_id"], ["runs.account_id", "runs.id"], ondelete="SET NULL (run_id)"
        ),
        Index(
            "ix_memories_contact",
            "contact_id",
            "bot_id",
            "id",
            postgresql_where=text("contact_id IS NOT NULL"),
        ),
        Index("ix_memories_bot", "bot_id", "id", postgresql_where=text("bot_id IS NOT NULL")),
        Index(
            "ix_memories_conversation",
            "conversation_id",
            "seq",
            postgresql_where=text("conversation_id IS NOT NULL"),
        ),
        Index("ix_memories_run", "run_id", postgresql_where=text("run_id IS NOT NULL")),
        Index("ix_memories_expires", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
        Index("ix_memories_search", "search", postgresql_using="gin"),
        CheckConstraint(f"char_length(text) <= {LONGEST_MEMORY}", name="text_size"),
        CheckConstraint("(conversation_id IS NULL) = (seq IS NULL)", name="derived_up_to"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    bot_id: Mapped[uuid.UUID | None]
    contact_id: Mapped[uuid.UUID | None]
    conversation_id: Mapped[uuid.UUID | None]
    seq: Mapped[int | None]
    run_id: Mapped[uuid.UUID | None]
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    text: Mapped[str] = content(nullable=False)
    meta: Mapped[dict[str, Any]] = meta_column()
    search: Mapped[str] = mapped_column(
        TSVECTOR,
        Computed("to_tsvector('simple', text)", persisted=True),
        deferred=True,
        info={"content": True},
    )
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()
