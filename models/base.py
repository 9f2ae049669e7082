"""What all tables share: the metadata, ids, times, and how columns that hold user content are marked."""

from __future__ import annotations

import os
import time
import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, MetaData, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

_RANDOM = (0xFFF << 64) | ((1 << 62) - 1)  # the bits of a UUIDv7 that are drawn


class Base(DeclarativeBase):
    """The declarative base; every id is a `uuid`, every time a UTC `timestamptz`."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own protocol)
        uuid.UUID: Uuid(),
        datetime: DateTime(timezone=True),
        str: Text(),
        dict[str, Any]: JSONB(),
    }


def new_id() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): sorts by the millisecond of its making, 74 bits of it are random."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value)


def new_ids(count: int) -> list[uuid.UUID]:
    """As many UUIDv7s of the same millisecond, ascending, for one statement; cheaper than one by one."""
    stamp = ((time.time_ns() // 1_000_000) << 80) | (0x7 << 76) | (0x2 << 62)
    random = os.urandom(10 * count)
    drawn = sorted(int.from_bytes(random[at : at + 10]) & _RANDOM for at in range(0, 10 * count, 10))
    return [uuid.UUID(int=stamp | one) for one in drawn]


def first_id_of(instant: datetime) -> uuid.UUID:
    """The smallest UUIDv7 made at or after an instant: turns a time into a range of primary keys."""
    return uuid.UUID(int=(int(instant.timestamp() * 1000) << 80) | (0x7 << 76) | (0x2 << 62))


def id_column() -> Mapped[uuid.UUID]:
    return mapped_column(primary_key=True, default=new_id)


def created_column() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


def content(*, nullable: bool = True) -> Any:
    """A text column that can hold what a user wrote.

    Migrations set its statistics target to 0: otherwise the planner keeps samples of deleted text
    in `pg_statistic`.
    """
    return mapped_column(Text, nullable=nullable, info={"content": True})


def meta_column() -> Mapped[dict[str, Any]]:
    return mapped_column(JSONB, server_default="{}", info={"content": True})


def policy_column() -> Any:
    """A privacy policy as its owner wrote it (core/privacy/policy.py); it may name people. Null: none."""
    return mapped_column(JSONB, info={"content": True})


def one_of(column: str, values: type[StrEnum], *, name: str | None = None) -> CheckConstraint:
    """A CHECK that the column holds one of the enum's values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name or column)
