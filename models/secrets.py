"""What abilities show to other programs to be let in: written once, used, and never read out again."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, meta_column, one_of
from models.knowledge import Visibility


class SecretType(StrEnum):
    """How a secret is shown: as its ability's headers say, or by itself as `Authorization`."""

    PLAIN = "plain"
    BASIC = "basic"  # "user:password"
    BEARER = "bearer"


class Secret(Base):
    """A secret of an account. `value` is sealed with the account's key (core/keys.py) and has no hint."""

    __tablename__ = "secrets"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        one_of("type", SecretType),
        one_of("visibility", Visibility),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    alias: Mapped[str | None] = content()
    blueprint_id: Mapped[str | None] = content()
    type: Mapped[str] = mapped_column(server_default=SecretType.PLAIN)
    visibility: Mapped[str] = mapped_column(server_default=Visibility.PRIVATE)
    value: Mapped[bytes] = mapped_column(LargeBinary)
    meta: Mapped[dict[str, Any]] = meta_column()
    last_used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()
