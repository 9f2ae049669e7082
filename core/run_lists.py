"""The runs as people look through them: filtered, newest first, in bounded time however many there are."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, literal_column, or_, select
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.rows import as_id, checked_text, page
from core.schedule import read_instant
from core.search import TooLong, briefly
from models import OPEN, UNHAPPY, ErrorClass, Reason, Run, RunState, Task, Trigger, first_id_of

UNDER_WAY = "open"  # beside the states: whatever has not ended
STATES = (UNDER_WAY, *RunState)
WHYS = tuple(dict.fromkeys((*ErrorClass, *Reason)))
TIME = 2000  # milliseconds
MOST_NAMED = 100  # tasks that one name may mean
NEWS = 100  # newer runs that are counted


@dataclass(frozen=True)
class Wanted:
    """Which runs are asked for; `task` is an id or a name, `why` a class of error or a reason.

    `after` and `before` are about when a run was begun, or written down as not having run.
    """

    state: str | None = None
    why: str | None = None
    trigger: str | None = None
    task: str | None = None
    after: datetime | None = None
    before: datetime | None = None


def read_wanted(given: Mapping[str, str]) -> Wanted:
    """Reads filters as an address holds them; what is empty is not asked for.

    Raises:
        InvalidInput: a value that is none of its filter.

    """
    state, why = _among(given, "state", STATES), _among(given, "error", WHYS)
    trigger = _among(given, "trigger", tuple(Trigger))
    task = checked_text(given.get("task") or None, "The task", longest=1000)
    after, before = (_instant(given.get(name)) for name in ("after", "before"))
    return Wanted(state, why, trigger, task, after, before)


def find_runs(
    session: Session, wanted: Wanted, *, take: int = 50, before: uuid.UUID | str | None = None
) -> list[Run]:
    """The account's runs that are wanted, newest first; `before` is the last id of the page before.

    Raises:
        InvalidInput: it takes too long. NotFound: the cursor.

    """
    try:
        with briefly(session, TIME):
            return page(session, Run, *_conditions(session, wanted), take=take, before=before)
    except TooLong:
        raise InvalidInput("This takes too long; add a filter, such as a task or a time.") from None


def count_newer(session: Session, wanted: Wanted, than: uuid.UUID | str) -> int:
    """How many of the wanted runs are newer than this one: NEWS at most, none where counting takes long."""
    last = as_id(than, Run)
    where = (Run.account_id == account_of(session), Run.id > last, *_conditions(session, wanted))
    few = select(Run.id).where(*where).limit(NEWS).subquery()
    try:
        with briefly(session, TIME):
            return session.execute(select(func.count()).select_from(few)).scalar_one()
    except TooLong:
        return 0


def _among(given: Mapping[str, str], name: str, known: tuple[str, ...]) -> str | None:
    value = given.get(name) or None
    if value is not None and value not in known:
        raise InvalidInput(f"{name} is one of {', '.join(known)}.")
    return value


def _instant(value: str | None) -> datetime | None:
    return read_instant(value, None) if value else None


def _conditions(session: Session, wanted: Wanted) -> list[ColumnElement[bool]]:
    """Words of ours are written into the statement: a plan for any value could use no partial index."""
    where: list[ColumnElement[bool]] = []
    if wanted.state == UNDER_WAY:
        where.append(Run.state.in_(OPEN))
    elif wanted.state:
        where.append(Run.state == _word(wanted.state))
    if wanted.why:
        columns = [Run.error_class] * (wanted.why in set(ErrorClass)) + [Run.reason] * (
            wanted.why in set(Reason)
        )
        where += [literal_column(UNHAPPY), or_(*(column == _word(wanted.why) for column in columns))]
    if wanted.trigger:
        where.append(Run.trigger == _word(wanted.trigger))
    if wanted.task:
        where.append(Run.task_id.in_(_meant(session, wanted.task)))
    if wanted.after:
        where.append(Run.id >= first_id_of(wanted.after))
    if wanted.before:
        where.append(Run.id < first_id_of(wanted.before))
    return where


def _word(value: str) -> Any:
    return bindparam(None, str(value), literal_execute=True)


def _meant(session: Session, name: str) -> list[uuid.UUID]:
    """The account's tasks of this id or name; none is no error, it finds nothing."""
    mine = select(Task.id).where(Task.account_id == account_of(session))
    try:
        mine = mine.where(Task.id == uuid.UUID(name))
    except ValueError:
        mine = mine.where(func.lower(Task.name) == name.lower()).order_by(Task.id.desc()).limit(MOST_NAMED)
    return list(session.scalars(mine))
