"""Contacts: the people a conversation is with; and what they thought of the answers."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, meta_column

# What a contact is found by; an index entry holds up to 2,700 bytes.
NAMED = "lower(substr(COALESCE(name, nick), 1, 100))"


class Contact(Base):
    """A person. The fingerprint is the caller's own name for them, unique in the account."""

    __tablename__ = "contacts"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("account_id", "fingerprint"),
        Index(
            "ix_contacts_named",
            "account_id",
            literal_column(NAMED).label("named"),
            postgresql_ops={"named": "text_pattern_ops"},
        ),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    fingerprint: Mapped[str] = content(nullable=False)
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    email: Mapped[str | None] = content()
    phone: Mapped[str | None] = content()
    nick: Mapped[str | None] = content()
    preferences: Mapped[str | None] = content()
    verified_at: Mapped[datetime | None]
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class Rating(Base):
    """A vote on a bot, a conversation or a message; it goes with what it was about."""

    __tablename__ = "ratings"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(["account_id", "bot_id"], ["bots.account_id", "bots.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["account_id", "contact_id"],
            ["contacts.account_id", "contacts.id"],
            ondelete="SET NULL (contact_id)",
        ),
        ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            ondelete="CASCADE",
        ),
        # By one column, which spares every message an index.
        ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        Index("ix_ratings_bot", "bot_id", "id", postgresql_where=text("bot_id IS NOT NULL")),
        Index("ix_ratings_contact", "contact_id", "id", postgresql_where=text("contact_id IS NOT NULL")),
        Index(
            "ix_ratings_conversation", "conversation_id", postgresql_where=text("conversation_id IS NOT NULL")
        ),
        Index("ix_ratings_message", "message_id", postgresql_where=text("message_id IS NOT NULL")),
        CheckConstraint("value BETWEEN -100 AND 100 AND value <> 0", name="value"),
        CheckConstraint("num_nonnulls(bot_id, conversation_id) > 0", name="is_about_something"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    bot_id: Mapped[uuid.UUID | None]
    contact_id: Mapped[uuid.UUID | None]
    conversation_id: Mapped[uuid.UUID | None]
    message_id: Mapped[uuid.UUID | None]
    value: Mapped[int]
    reason: Mapped[str | None] = content()
    created_at: Mapped[datetime] = created_column()
