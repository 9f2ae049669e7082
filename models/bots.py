"""Bots: who answers."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, meta_column, one_of, policy_column
from models.knowledge import Visibility


class Bot(Base):
    """A personality and a model. At most one default bot per account (partial unique index)."""

    __tablename__ = "bots"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(
            ["account_id", "dataset_id"],
            ["datasets.account_id", "datasets.id"],
            ondelete="SET NULL (dataset_id)",
        ),
        ForeignKeyConstraint(
            ["account_id", "skillset_id"],
            ["skillsets.account_id", "skillsets.id"],
            ondelete="SET NULL (skillset_id)",
        ),
        one_of("visibility", Visibility),
        Index("uq_bots_default", "account_id", unique=True, postgresql_where=text("is_default")),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    is_default: Mapped[bool] = mapped_column(server_default="false")
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    backstory: Mapped[str | None] = content()
    model: Mapped[str | None]
    dataset_id: Mapped[uuid.UUID | None]
    skillset_id: Mapped[uuid.UUID | None]
    privacy: Mapped[bool] = mapped_column(server_default="false")
    privacy_policy: Mapped[dict[str, Any] | None] = policy_column()
    privacy_rev: Mapped[int] = mapped_column(server_default="0")
    moderation: Mapped[bool] = mapped_column(server_default="false")
    visibility: Mapped[str] = mapped_column(server_default=Visibility.PRIVATE)
    alias: Mapped[str | None] = content()
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()
