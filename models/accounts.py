"""Accounts and the tokens that open them."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, policy_column


class Account(Base):
    """A tenant. Every row of a tenant carries its id, and composite foreign keys keep children inside.

    A closed one has no doors and no clocks until it is opened again. `wrapped_key` seals what an account
    keeps secret; the installation's key opens it (core/keys.py). `privacy_rev` rises with its policy.
    One that is being erased has lost its key and never gets another (core/account_deletion.py).
    """

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint(
            "erased_at IS NULL OR (closed_at IS NOT NULL AND wrapped_key IS NULL)", name="erased_has_no_key"
        ),
    )

    id: Mapped[uuid.UUID] = id_column()
    name: Mapped[str] = content(nullable=False)
    settings: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    privacy_policy: Mapped[dict[str, Any] | None] = policy_column()
    privacy_rev: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()
    closed_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]


class ApiToken(Base):
    """A token that opens its account, or of it what one contact sees, and then it goes with the contact.

    Only its SHA-256 is stored: 256 random bits need no slow hash.
    """

    __tablename__ = "api_tokens"
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "contact_id"], ["contacts.account_id", "contacts.id"], ondelete="CASCADE"
        ),
        Index("ix_api_tokens_contact", "contact_id", postgresql_where=text("contact_id IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    contact_id: Mapped[uuid.UUID | None]
    name: Mapped[str] = content(nullable=False)
    prefix: Mapped[str]
    token_sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default="{}")
    created_at: Mapped[datetime] = created_column()
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_on: Mapped[date | None]


class LoginLink(Base):
    """A code that opens the pages once, for a short time: the UPDATE that reads it sets `used_at`."""

    __tablename__ = "login_links"

    code_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = created_column()
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
