"""Bots: who answers."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, meta_column


class Bot(Base):
    """A personality and a model. At most one default bot per account (partial unique index)."""

    __tablename__ = "bots"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        Index("uq_bots_default", "account_id", unique=True, postgresql_where=text("is_default")),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    is_default: Mapped[bool] = mapped_column(server_default="false")
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    backstory: Mapped[str | None] = content()
    model: Mapped[str | None]
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()
