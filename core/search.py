"""Search: conversations by the words of their names, their descriptions and what was said in them.

Bounded: the index answers with so many messages at most, and a search has its own time-out. The planner
knows nothing of the words (their statistics are off), so which way to look is decided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column, or_, select, true
from sqlalchemy import text as sql
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.rows import checked_text
from models import Conversation, Message

# Words that more messages hold are common: then the newest conversations are looked through instead.
RARE = 5000
LONGEST = 1000
TOO_LATE = "57014"
SIMPLE: ColumnElement[Any] = literal_column("'simple'::regconfig")

TIME = sql("SET LOCAL statement_timeout = '2s'")
SAID = sql(
    "SELECT count(*) AS messages, array_agg(DISTINCT conversation_id) AS ids FROM (SELECT conversation_id"
    " FROM messages WHERE account_id = :account AND search @@ websearch_to_tsquery('simple', :words)"
    " LIMIT :most) AS found"
)


def matching(session: Session, words: str) -> ColumnElement[bool]:
    """The condition that a conversation's name, description or one of its messages matches.

    Words must all be there; `or`, `-word` and `"a phrase"` mean what they mean to a search engine.

    Raises:
        InvalidInput: too long, or no text.

    """
    checked_text(words, "The search", longest=LONGEST, empty=True)
    query = select(func.websearch_to_tsquery(SIMPLE, words)).scalar_subquery()
    about = func.concat_ws(" ", Conversation.name, Conversation.description)
    named = func.to_tsvector(SIMPLE, about).bool_op("@@")(query)
    values = {"account": account_of(session), "words": words, "most": RARE + 1}
    found = session.execute(SAID, values).one()
    if found.messages <= RARE:
        return or_(Conversation.id.in_(found.ids or []), named)
    # A LIMIT where EXISTS would do: the planner would hash every match of the installation for an EXISTS.
    said = select(true()).where(
        Message.conversation_id == Conversation.id, Message.search.bool_op("@@")(query)
    )
    return or_(said.limit(1).scalar_subquery().is_(True), named)


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
