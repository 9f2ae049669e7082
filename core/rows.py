"""How a tenant's row is found: the account from the session, 403 for a foreign id, 404 for an unknown one."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, cast, false, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput, NotAuthorized, NotFound
from core.texts import checked_text as checked_text  # noqa: PLC0414 (told on: whoever needs rows needs it)
from models import (
    Ability,
    Attachment,
    AuditEvent,
    Base,
    Bot,
    Contact,
    Conversation,
    Dataset,
    Delivery,
    Erasure,
    File,
    Job,
    LegalHold,
    Memory,
    Message,
    Rating,
    Record,
    RetentionRule,
    Run,
    Secret,
    Skillset,
    Subscription,
    Task,
)

Owned = TypeVar(
    "Owned",
    Ability,
    Attachment,
    AuditEvent,
    Bot,
    Contact,
    Conversation,
    Dataset,
    Delivery,
    Erasure,
    File,
    Job,
    LegalHold,
    Memory,
    Message,
    Rating,
    Record,
    RetentionRule,
    Run,
    Secret,
    Skillset,
    Subscription,
    Task,
)
BOOLEANS = {"true": True, "false": False}
OneOrMore = uuid.UUID | str | Sequence[uuid.UUID | str]


@dataclass(frozen=True)
class MetaFilter:
    """A value that meta holds at a path, as a list is asked for it: `true` and `false` are booleans."""

    path: tuple[str, ...]
    value: str


def own(session: Session, table: type[Owned], row_id: uuid.UUID | str, *, lock: bool = False) -> Owned:
    """The row of this session's account.

    Raises:
        NotFound: no such row; a malformed id is an unknown one.
        NotAuthorized: another account's row.

    """
    row = session.get(table, as_id(row_id, table), with_for_update=lock or None, populate_existing=lock)
    if row is None:
        raise not_found(table)
    if row.account_id != account_of(session):
        raise NotAuthorized(f"This {_noun(table)} belongs to another account.")
    return row


def own_ids(session: Session, table: type[Owned], wanted: OneOrMore) -> list[uuid.UUID]:
    """The ids of rows of this session's account, for a filter by one or several of them.

    Raises:
        NotFound, NotAuthorized: as `own`, for the first that is wrong.

    """
    alternatives = [wanted] if isinstance(wanted, uuid.UUID | str) else wanted
    if len(alternatives) > 100:
        raise InvalidInput("A filter takes up to 100 ids.")
    return [own(session, table, row_id).id for row_id in alternatives]


def as_id(value: uuid.UUID | str, table: type[Base]) -> uuid.UUID:
    if isinstance(value, uuid.UUID):
        return value
    try:
        return uuid.UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise not_found(table) from error


def as_array(ids: Iterable[uuid.UUID | str | int]) -> str:
    """Ids or places as PostgreSQL writes an array; element by element the driver takes ten times as long."""
    return "{" + ",".join(map(str, ids)) + "}"


def not_found(table: type[Base]) -> NotFound:
    return NotFound(f"There is no such {_noun(table)}.")


def _noun(table: type[Base]) -> str:
    """`legal hold`, of LegalHold."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", table.__name__).lower()


def page(
    session: Session,
    table: type[Owned],
    *where: ColumnElement[bool],
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Owned]:
    """Rows of this account, newest first or `ascending`; `before` is the last id of the page before.

    Ids sort by time, so a cursor outlives the row it names.
    """
    if not 1 <= take <= 1000:
        raise InvalidInput("A page holds 1 to 1000 items.")
    query = select(table).where(table.account_id == account_of(session), *where)
    if meta:
        # What has no meta has none that equals anything.
        column = table.__table__.columns.get("meta")
        query = query.where(*(has_meta(column, meta) if column is not None else [false()]))
    if before is not None:
        last = as_id(before, table)
        query = query.where(table.id > last if ascending else table.id < last)
    return list(session.scalars(query.order_by(table.id if ascending else table.id.desc()).limit(take)))


def has_meta(column: Any, filters: Sequence[MetaFilter]) -> list[ColumnElement[bool]]:
    """The conditions of a list that is filtered by meta; paths and values travel as parameters.

    Each key is one of its own: SQLAlchemy writes a path as an array literal and quotes nothing in it.

    Raises:
        InvalidInput: no text PostgreSQL can hold.

    """
    found = []
    for wanted in filters:
        for part in (*wanted.path, wanted.value):
            checked_text(part, "A meta filter", longest=10_000, empty=True)
        if wanted.value in BOOLEANS:
            found.append(func.jsonb_extract_path(column, *wanted.path) == cast(BOOLEANS[wanted.value], JSONB))
        else:
            found.append(func.jsonb_extract_path_text(column, *wanted.path) == wanted.value)
    return found


def database_now(session: Session) -> datetime:
    """The database's clock, the only one that schedules and leases are compared with."""
    return session.execute(select(func.now())).scalar_one()
