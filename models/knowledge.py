"""What bots know and can do: datasets with their records, skillsets with their abilities."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, meta_column, one_of


class Visibility(StrEnum):
    PRIVATE = "private"
    PROTECTED = "protected"
    PUBLIC = "public"


class Dataset(Base):
    """A collection of records. `config` holds the contract's search settings as they were given."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("account_id", "id"), one_of("visibility", Visibility))

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    alias: Mapped[str | None] = content()
    store: Mapped[str]
    visibility: Mapped[str] = mapped_column(server_default=Visibility.PRIVATE)
    config: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}", info={"content": True})
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class Record(Base):
    """A piece of text of a dataset."""

    __tablename__ = "records"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(
            ["account_id", "dataset_id"], ["datasets.account_id", "datasets.id"], ondelete="CASCADE"
        ),
        Index("ix_records_dataset", "dataset_id", "id"),
        CheckConstraint("octet_length(text) <= 262144", name="text_size"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID]
    dataset_id: Mapped[uuid.UUID]
    text: Mapped[str] = content(nullable=False)
    source: Mapped[str | None] = content()
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class Skillset(Base):
    """A collection of abilities."""

    __tablename__ = "skillsets"
    __table_args__ = (UniqueConstraint("account_id", "id"), one_of("visibility", Visibility))

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    alias: Mapped[str | None] = content()
    visibility: Mapped[str] = mapped_column(server_default=Visibility.PRIVATE)
    enabled: Mapped[bool] = mapped_column(server_default="true")
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class Ability(Base):
    """Something a bot can do, as its instruction says. `links` names what it uses, by kind: bot, file."""

    __tablename__ = "abilities"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(
            ["account_id", "skillset_id"], ["skillsets.account_id", "skillsets.id"], ondelete="CASCADE"
        ),
        Index("ix_abilities_skillset", "skillset_id", "id"),
        CheckConstraint("octet_length(instruction) <= 262144", name="instruction_size"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID]
    skillset_id: Mapped[uuid.UUID]
    name: Mapped[str] = content(nullable=False)
    description: Mapped[str] = content(nullable=False)
    instruction: Mapped[str] = content(nullable=False)
    links: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}", info={"content": True})
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()
