"""What bots know and can do: datasets with their records, skillsets with their abilities."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
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
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, meta_column, one_of


class Visibility(StrEnum):
    PRIVATE = "private"
    PROTECTED = "protected"
    PUBLIC = "public"


class Language(StrEnum):
    """What words are reduced to their stems by: PostgreSQL's own configurations, of version 15 on."""

    ARABIC = "arabic"
    ARMENIAN = "armenian"
    BASQUE = "basque"
    CATALAN = "catalan"
    DANISH = "danish"
    DUTCH = "dutch"
    ENGLISH = "english"
    FINNISH = "finnish"
    FRENCH = "french"
    GERMAN = "german"
    GREEK = "greek"
    HINDI = "hindi"
    HUNGARIAN = "hungarian"
    INDONESIAN = "indonesian"
    IRISH = "irish"
    ITALIAN = "italian"
    LITHUANIAN = "lithuanian"
    NEPALI = "nepali"
    NORWEGIAN = "norwegian"
    PORTUGUESE = "portuguese"
    ROMANIAN = "romanian"
    RUSSIAN = "russian"
    SERBIAN = "serbian"
    SIMPLE = "simple"
    SPANISH = "spanish"
    SWEDISH = "swedish"
    TAMIL = "tamil"
    TURKISH = "turkish"
    YIDDISH = "yiddish"


SEARCHED = "left(text, 100000)"
STEMS = " ".join(
    f"WHEN '{one}' THEN to_tsvector('{one}', {SEARCHED})" for one in Language if one != Language.SIMPLE
)
# The dataset itself, the words as they are written, and their stems. The dataset is a word like any other, so
# that the index intersects it with them: a word that is everywhere in other datasets costs nothing here.
WORDS = (
    f"array_to_tsvector(ARRAY[dataset_id::text]) || to_tsvector('simple', {SEARCHED})"
    f" || CASE language {STEMS} ELSE ''::tsvector END"
)


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
    """A piece of text of a dataset; with a file, one that a synchronisation made of it.

    `language` is what its words were reduced to stems by; the dataset says what they are to be.
    """

    __tablename__ = "records"
    __mapper_args__ = {"eager_defaults": False}  # noqa: RUF012 (SQLAlchemy's own protocol; `search` is not read back)
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(
            ["account_id", "dataset_id"], ["datasets.account_id", "datasets.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["account_id", "file_id"], ["files.account_id", "files.id"], ondelete="SET NULL (file_id)"
        ),
        Index("ix_records_dataset", "dataset_id", "id"),
        Index("ix_records_file", "file_id", "dataset_id", postgresql_where=text("file_id IS NOT NULL")),
        Index("ix_records_search", "search", postgresql_using="gin"),
        CheckConstraint("octet_length(text) <= 262144", name="text_size"),
        one_of("language", Language),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID]
    dataset_id: Mapped[uuid.UUID]
    file_id: Mapped[uuid.UUID | None]
    text: Mapped[str] = content(nullable=False)
    source: Mapped[str | None] = content()
    meta: Mapped[dict[str, Any]] = meta_column()
    language: Mapped[str] = mapped_column(server_default=Language.ENGLISH)
    search: Mapped[str] = mapped_column(
        TSVECTOR,
        Computed(WORDS, persisted=True),
        deferred=True,
        info={"content": True},
    )
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
    blueprint_id: Mapped[str | None] = content()
    visibility: Mapped[str] = mapped_column(server_default=Visibility.PRIVATE)
    enabled: Mapped[bool] = mapped_column(server_default="true")
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class Ability(Base):
    """Something a bot can do. `action` is how it is done and `parameters` the JSON schema of its arguments;
    without an action it is an instruction that the model is given when it asks. `links` names what it uses,
    by kind: secret, bot, file.
    """

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
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}", info={"content": True})
    action: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}", info={"content": True})
    links: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}", info={"content": True})
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()
