"""Rows found by their names, whichever case: contacts by how a name begins, which an index knows, however
many there are; bots and tasks by any part of it, looked through newest first.
"""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, func, literal, literal_column, select
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.rows import checked_text, page
from core.search import RARE, TooLong, briefly
from models import NAMED, Bot, Contact, Task

Named = TypeVar("Named", Bot, Contact, Task)

LONGEST = 100  # bytes; NAMED holds so many characters
TIME = 2000  # milliseconds
LAST = "\U0010ffff"  # no text goes on with it


def page_named(
    session: Session,
    table: type[Named],
    name: str | None,
    *where: ColumnElement[bool],
    before: uuid.UUID | str | None = None,
    **window: Any,
) -> list[Named]:
    """`page`, of the rows that are named so; of all of them where no name is asked for.

    Raises:
        InvalidInput: no name, one that is too long, or looking takes too long. NotFound: the cursor.

    """
    if name is None:
        return page(session, table, *where, before=before, **window)
    words = checked_text(name, "The name", longest=LONGEST) or ""
    try:
        with briefly(session, TIME):
            wanted = _begins(session, words) if table is Contact else _holds(table, words)
            return page(session, table, *where, wanted, before=before, **window)
    except TooLong:
        raise InvalidInput("The search takes too long; write more of the name.") from None


def _holds(table: type[Named], words: str) -> ColumnElement[bool]:
    return func.strpos(func.lower(table.name), func.lower(words)) > 0


def _begins(session: Session, words: str) -> ColumnElement[bool]:
    """A range where LIKE would do: a plan for any pattern could not use the index. The planner knows nothing
    of names: of few the ids are looked up, and the newest are looked through (IS TRUE) where many begin so.
    """
    name: ColumnElement[str] = literal_column(NAMED)
    begins = and_(
        name.bool_op("~>=~")(func.lower(literal(words))),
        name.bool_op("~<~")(func.lower(literal(words + LAST))),
    )
    some = select(Contact.id).where(Contact.account_id == account_of(session), begins).limit(RARE + 1)
    if session.execute(select(func.count()).select_from(some.subquery())).scalar_one() > RARE:
        return begins.is_(True)
    return Contact.id == func.any(func.array(some.scalar_subquery()))
