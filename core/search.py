"""Search: conversations by the words of their names, their descriptions and what was said in them.

Bounded: the indexes answer with so many rows at most, and a search has its own time-out. The planner knows
nothing of the words (their statistics are off), so which way to look is decided here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import ARRAY, ColumnElement, Uuid, any_, func, literal, literal_column, or_, select, true
from sqlalchemy import text as sql
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.rows import checked_text
from models import ABOUT, Conversation, Message, PiiState

# Words that more rows hold are common: then the newest conversations are looked through instead.
RARE = 5000
LONGEST = 1000
TOO_LATE = "57014"

TIME = sql("SET LOCAL statement_timeout = '2s'")
FOUND = (
    "SELECT count(*) AS rows, array_agg(DISTINCT id) AS ids FROM (SELECT {id} AS id FROM {table}"
    " WHERE account_id = :account AND {words} @@ websearch_to_tsquery('simple', :words){besides}"
    " LIMIT :most) AS found"
)
# What nobody may see before it was annotated is not found either.
SEEN = "pii_state IS DISTINCT FROM 'blocked'"
SAID = sql(FOUND.format(id="conversation_id", table="messages", words="search", besides=f" AND {SEEN}"))
NAMED = sql(FOUND.format(id="id", table="conversations", words=ABOUT, besides=""))


def matching(session: Session, words: str) -> ColumnElement[bool]:
    """The condition that a conversation's name and description, or one of its messages, matches.

    Words must all be there; `or`, `-word` and `"a phrase"` mean what they mean to a search engine.

    Raises:
        InvalidInput: too long, or no text.

    """
    query = _read(words)
    values = {"account": account_of(session), "words": words, "most": RARE + 1}
    rare: set[uuid.UUID] = set()
    common: list[ColumnElement[bool]] = []
    for statement, condition in ((SAID, _said(query)), (NAMED, _named(query))):
        rows, ids = session.execute(statement, values).one()
        if rows > RARE:
            common.append(condition)
        else:
            rare.update(ids or ())
    return or_(Conversation.id == any_(literal(list(rare), ARRAY(Uuid()))), *common)


def matching_each(words: str) -> ColumnElement[bool]:
    """The same for a few conversations that are looked at one by one: no index is asked about the words.

    Raises:
        InvalidInput: too long, or no text.

    """
    query = _read(words)
    return or_(_said(query), _named(query))


def _read(words: str) -> ColumnElement[str]:
    checked_text(words, "The search", longest=LONGEST, empty=True)
    simple: ColumnElement[str] = literal_column("'simple'::regconfig")
    return select(func.websearch_to_tsquery(simple, words)).scalar_subquery()


def _named(query: ColumnElement[str]) -> ColumnElement[bool]:
    """IS TRUE keeps the index out of it: the planner expects few matches, and would sort them all."""
    return literal_column(ABOUT).bool_op("@@")(query).is_(True)


def _said(query: ColumnElement[str]) -> ColumnElement[bool]:
    """A LIMIT where EXISTS would do: the planner would hash every match of the installation for an EXISTS.
    IS TRUE as above: it would have the index list a common word's places anew for every conversation.
    """
    found = select(true()).where(
        Message.conversation_id == Conversation.id,
        Message.search.bool_op("@@")(query).is_(True),
        Message.pii_state.is_distinct_from(PiiState.BLOCKED),
    )
    return found.limit(1).scalar_subquery().is_(True)


@contextmanager
def within_time(session: Session, words: str | None) -> Iterator[None]:
    """Ends a search that takes long, as one for something that is everywhere and nowhere may.

    Raises:
        InvalidInput: it did; a try again would be no shorter.

    """
    if words is None:
        yield
        return
    session.execute(TIME)
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == TOO_LATE:
            raise InvalidInput("The search takes too long; look for rarer words, or filter.") from error
        raise


class TooLong(InvalidInput):
    """What was asked for takes longer than it may."""


@contextmanager
def briefly(session: Session, milliseconds: int) -> Iterator[None]:
    """Gives statements so long; what takes longer is rolled back to here, and the transaction goes on.

    Raises:
        TooLong: it did.

    """
    try:
        with session.begin_nested():
            session.execute(sql(f"SET LOCAL statement_timeout = {milliseconds:d}"))
            yield
            session.execute(sql("SET LOCAL statement_timeout TO DEFAULT"))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == TOO_LATE:
            raise TooLong("This takes too long.") from error
        raise
