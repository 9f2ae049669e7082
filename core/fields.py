"""Fields that several nouns have: how they are checked, and how an update changes them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.meta import checked_meta, merged_meta
from core.rows import Owned, checked_text, database_now, not_found, own
from models import Visibility

NAME = 1000
ALIAS = 1000
LONG = 64 * 1024
TEXTS = {
    "name": ("The name", NAME),
    "description": ("The description", LONG),
    "alias": ("The alias", ALIAS),
    "blueprint_id": ("The blueprintId", ALIAS),
}


def checked_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The common ones among these, as they are stored; an empty text is none.

    Raises:
        InvalidInput: in a sentence that does not repeat what was sent.

    """
    checked = dict(fields)
    for name, (label, longest) in TEXTS.items():
        if name in fields:
            checked[name] = checked_text(fields[name], label, longest=longest, empty=True) or None
    if "visibility" in fields:
        checked["visibility"] = fields["visibility"] or Visibility.PRIVATE
        if checked["visibility"] not in list(Visibility):
            raise InvalidInput(f"The visibility must be one of {', '.join(Visibility)}.")
    if "meta" in fields:
        checked["meta"] = checked_meta(fields["meta"])
    return checked


def update_row(session: Session, row: Any, fields: Mapping[str, Any]) -> None:
    """Writes the fields of an update onto a locked row: checked, and meta merged (contract 8.1).

    Raises:
        InvalidInput: as `checked_fields`.

    """
    changed = checked_fields({name: value for name, value in fields.items() if name != "meta"})
    if "meta" in fields:
        changed["meta"] = merged_meta(row.meta, fields["meta"])
    for name, value in changed.items():
        setattr(row, name, value)
    row.updated_at = database_now(session)
    session.flush()


def find_named(session: Session, table: type[Owned], name_or_id: uuid.UUID | str) -> Owned:
    """The account's own row with this id, or the only one with this name.

    Raises:
        NotFound, NotAuthorized: as `own`. InvalidInput: several have this name.

    """
    name = checked_text(str(name_or_id), "The name", longest=NAME, empty=True)
    mine = select(table).where(table.account_id == account_of(session), table.name == name)  # type: ignore[attr-defined]
    named = list(session.scalars(mine.limit(2)))
    if len(named) > 1:
        raise InvalidInput("Several have this name; use the id.")
    return named[0] if named else own(session, table, name_or_id)


def kept(session: Session, table: type[Owned], row_id: uuid.UUID | str) -> Owned:
    """As `own`, and nobody deletes the row before this transaction ends: for whoever hangs something on it.

    Raises:
        NotFound, NotAuthorized.

    """
    row = own(session, table, row_id)
    lock = select(table.id).where(table.id == row.id).with_for_update(read=True, key_share=True)
    if session.execute(lock).one_or_none() is None:
        raise not_found(table)
    return row
