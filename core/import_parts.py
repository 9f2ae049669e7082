"""Storing many things so that a bad one takes no good one along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.database import CONTENDED, is_transient
from core.errors import Unavailable
from core.import_rows import Outcome
from core.importers.records import Reject
from core.keys import KeyUnusable
from models import Job

log = structlog.get_logger()

Thing = TypeVar("Thing")


def in_parts(
    session: Session,
    job: Job,
    things: Sequence[Thing],
    *,
    store: Callable[[Sequence[Thing]], Outcome],
    row_of: Callable[[Thing], int],
    forget: Callable[[], None] = lambda: None,
) -> Outcome:
    """Stores all at once; what breaks, one by one. `forget`: what `store` remembers was not committed.

    Raises:
        Unavailable and errors of the database that say nothing against what was to be stored.

    """
    if not things:
        return Outcome()
    try:
        with session.begin_nested():
            return store(things)
    except Exception as error:
        if _passing(error):
            raise
        forget()
        log.warning("import_batch_broke", job=str(job.id), pieces=len(things), error=type(error).__name__)
    if len(things) == 1:
        row = row_of(things[0])
        return Outcome(rejects=[Reject(row, "unstorable")], failed={row})
    whole = Outcome()
    for thing in things:
        whole.add(in_parts(session, job, [thing], store=store, row_of=row_of, forget=forget))
    return whole


def _passing(error: Exception) -> bool:
    if isinstance(error, DBAPIError):
        return is_transient(error) or getattr(error.orig, "sqlstate", None) in CONTENDED
    return isinstance(error, Unavailable | KeyUnusable)
