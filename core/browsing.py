"""Conversations as people look through them: found by a query, each with a glimpse of it, in bounded time."""

from __future__ import annotations

import uuid
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Uuid, and_, any_, func, literal, select, text, true
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import TextClause

from core.context import account_of
from core.errors import InvalidInput
from core.queries import Query
from core.rows import as_id, checked_text, page
from core.search import RARE, TooLong, briefly, matching, matching_each, within_time
from core.selection import MOST_IDS
from models import Bot, Contact, Conversation, Dataset, Message, MessageType, PiiState, Skillset, Task

MOST_NAMED = 100  # rows that one name may mean
COUNTED = 100  # messages of a conversation that a list counts
LENGTH = 240
# What is written around a word that was searched for; taken out of what people wrote.
BEGIN, END = "\x02", "\x03"

# Of the messages that match, the first: what people look for mostly begins there.
SNIPPETS = text(
    "SELECT c.id, m.seq, ts_headline('simple', translate(left(m.text, 20000), :marks, ''),"
    "  CAST(:query AS tsquery), :options) AS said"
    " FROM unnest(CAST(:ids AS uuid[])) AS c (id) CROSS JOIN LATERAL (SELECT seq, text FROM messages"
    "  WHERE conversation_id = c.id AND account_id = :account AND (search @@ CAST(:query AS tsquery)) IS TRUE"
    "  AND pii_state IS DISTINCT FROM 'blocked' ORDER BY seq LIMIT 1) AS m"
)
OPTIONS = (
    f'StartSel="{BEGIN}", StopSel="{END}", MaxFragments=2, MaxWords=20, MinWords=8, ShortWord=0,'
    ' FragmentDelimiter=" … "'
)
READ_WORDS = text("SELECT CAST(websearch_to_tsquery('simple', :words) AS text)")
LAST = text(
    "SELECT c.id, m.seq, m.type, n.messages,"
    " left(m.text, :length) || CASE WHEN length(m.text) > :length THEN '…' ELSE '' END AS said"
    " FROM unnest(CAST(:ids AS uuid[])) AS c (id)"
    " LEFT JOIN LATERAL (SELECT seq, type, text FROM messages WHERE conversation_id = c.id"
    "  AND account_id = :account AND type IN ('user', 'bot') AND pii_state IS DISTINCT FROM 'blocked'"
    "  ORDER BY seq DESC LIMIT 1) AS m ON true"
    " CROSS JOIN LATERAL (SELECT count(*) AS messages FROM (SELECT FROM messages"
    "  WHERE conversation_id = c.id LIMIT :counted) AS few) AS n"
)
SNIPPET_TIME = 700  # milliseconds

# The newest conversations, and of their messages so many, are looked through before an index is asked: what a
# page needs of common words is there, and an index would first list each of their places.
NEWEST = 1000
LOOKED_THROUGH = (1000, 20_000)

# In which conversations a kind of message is that most have none of; the newest, from an index alone.
PRIVATE = text(
    "SELECT conversation_id FROM messages WHERE account_id = :account AND pii_types IS NOT NULL"
    " ORDER BY conversation_id DESC LIMIT :most"
)
UNSPOKEN = text(
    "SELECT conversation_id FROM messages WHERE account_id = :account AND type = :type"
    " AND type NOT IN ('user', 'bot') ORDER BY conversation_id DESC LIMIT :most"
)


@dataclass(frozen=True)
class Glimpse:
    """What a list shows of a conversation: how it goes on or what was found in it, (words, found) by parts;
    where that stands; and how many messages it has, COUNTED at most.
    """

    parts: tuple[tuple[str, bool], ...] = ()
    seq: int | None = None
    speaker: str | None = None
    messages: int = 0


def find_conversations(
    session: Session, query: Query, *, take: int = 50, before: uuid.UUID | str | None = None
) -> list[Conversation]:
    """The account's conversations that a query is about, newest first.

    Raises:
        InvalidInput: a value that is none, or a search that takes too long. NotFound: the cursor.

    """
    with within_time(session, query.text or None):
        where = _filtered(session, query)
        if query.words:
            found = _among_the_newest(session, query.words, where, take, before)
            if found is not None:
                return found
            where.append(matching(session, query.words))
        return page(session, Conversation, *where, take=take, before=before)


def selected_by(session: Session, query: Query) -> dict[str, Any]:
    """A query as a deletion selects: by its filters where they say it all, or by the ids it finds.

    Raises:
        InvalidInput: nothing is found, or more than a deletion takes by ids; as `find_conversations`.

    """
    if not query.words and not query.filters:
        return {"all": True}
    if not query.words and query.filters.keys() <= {"task", "bot", "contact", "source", "status"} | TIMES:
        sources = query.filters.get("source", ())
        if len(sources) < 2:
            links = {
                f"{key}_id": [str(one) for one in _meant(session, key, query.filters[key])]
                for key in LINKS
                if key in query.filters
            }
            if not all(links.values()):
                raise InvalidInput("Nothing matches this search.")
            times = {key: query.instant(key) for key in TIMES if key in query.filters}
            return {**links, **times, "source": query.first("source"), "status": query.first("status")}
    with within_time(session, query.text):
        where = _filtered(session, query)
        if query.words:
            where.append(matching(session, query.words))
        found = select(Conversation.id).where(Conversation.account_id == account_of(session), *where)
        ids = list(session.scalars(found.order_by(Conversation.id.desc()).limit(MOST_IDS + 1)))
    if not ids:
        raise InvalidInput("Nothing matches this search.")
    if len(ids) > MOST_IDS:
        raise InvalidInput(f"More than {MOST_IDS} conversations match; add a filter, such as before:.")
    return {"ids": [str(one) for one in ids]}


def glimpses_of(session: Session, ids: Sequence[uuid.UUID], words: str) -> dict[uuid.UUID, Glimpse]:
    """What a list shows of these conversations; where words were searched for, where they stand.

    A snippet that takes long to make is left out.
    """
    values = {"ids": list(ids), "account": account_of(session)}
    rows = session.execute(LAST, {**values, "length": LENGTH, "counted": COUNTED})
    found = {row.id: Glimpse(((row.said or "", False),), row.seq, row.type, row.messages) for row in rows}
    for one, (seq, said) in _snippets(session, values, words).items():
        found[one] = Glimpse(parts_of(said), seq, None, found[one].messages)
    return found


def parts_of(said: str) -> tuple[tuple[str, bool], ...]:
    """A snippet as the database marks it, in parts: (words, whether they were searched for)."""
    parts: list[tuple[str, bool]] = []
    for number, piece in enumerate(said.split(BEGIN)):
        inside, end, after = piece.partition(END)
        if number and end:
            parts += [(inside, True), (after, False)]
        else:
            parts.append((piece, False))
    return tuple((words.replace(END, ""), found) for words, found in parts if words)


def names_of(
    session: Session, table: type[Bot | Contact | Task | Dataset | Skillset], ids: Sequence[uuid.UUID | None]
) -> dict[uuid.UUID, str | None]:
    """The names of the account's rows among these ids."""
    wanted = {one for one in ids if one is not None}
    if not wanted:
        return {}
    mine = select(table.id, table.name).where(table.account_id == account_of(session), table.id.in_(wanted))
    return {row.id: row.name for row in session.execute(mine)}


def _snippets(session: Session, values: Mapping[str, Any], words: str) -> dict[uuid.UUID, tuple[int, str]]:
    if not words:
        return {}
    query = session.execute(READ_WORDS, {"words": words}).scalar_one()
    if not query:
        return {}
    try:
        with briefly(session, SNIPPET_TIME):
            rows = session.execute(
                SNIPPETS, {**values, "query": query, "options": OPTIONS, "marks": BEGIN + END}
            ).all()
    except TooLong:
        return {}
    return {row.id: (row.seq, row.said) for row in rows}


LINKS: Mapping[str, tuple[type[Bot | Contact | Task], ColumnElement[Any]]] = {
    "task": (Task, Conversation.__table__.c.task_id),
    "bot": (Bot, Conversation.__table__.c.bot_id),
    "contact": (Contact, Conversation.__table__.c.contact_id),
}
TIMES = frozenset({"before", "after"})
SPOKEN = frozenset({MessageType.USER, MessageType.BOT})


def _among_the_newest(
    session: Session,
    words: str,
    where: Sequence[ColumnElement[bool]],
    take: int,
    before: uuid.UUID | str | None,
) -> list[Conversation] | None:
    """The page, if so few messages have to be read for it; None: the words are too rare to say."""
    newest = select(Conversation.id, Conversation.next_seq).where(
        Conversation.account_id == account_of(session), *where
    )
    if before is not None:
        newest = newest.where(Conversation.id < as_id(before, Conversation))
    rows = session.execute(newest.order_by(Conversation.id.desc()).limit(NEWEST)).all()
    for most in LOOKED_THROUGH:
        read = list(accumulate(row.next_seq for row in rows))
        reached = bisect_right(read, most)
        whole = reached == len(rows) < NEWEST
        if not reached:
            return [] if whole else None
        since = Conversation.id >= rows[reached - 1].id
        found = page(session, Conversation, *where, since, matching_each(words), take=take, before=before)
        if whole or len(found) == take:
            return found
        if len(found) * 4 < take:  # an index lists the places of such words sooner
            break
    return None


def _filtered(session: Session, query: Query) -> list[ColumnElement[bool]]:
    """The conditions of the filters, without the words."""
    where: list[ColumnElement[bool]] = [
        column.in_(_meant(session, key, query.filters[key]))
        for key, (_, column) in LINKS.items()
        if key in query.filters
    ]
    if sources := query.filters.get("source"):
        names = [checked_text(one, "The source", longest=1000, empty=True) for one in sources]
        where.append(Conversation.source.in_(names))
    if status := query.first("status"):
        where.append(Conversation.status == status)
    if before := query.instant("before"):
        where.append(Conversation.created_at < before)
    if after := query.instant("after"):
        where.append(Conversation.created_at >= after)
    if query.first("has"):
        where.append(_rarely(session, [(PRIVATE, {})], Message.pii_types.is_not(None)))
    if types := query.filters.get("type"):
        condition = Message.type.in_(types)
        if SPOKEN.isdisjoint(types):
            asked = [(UNSPOKEN, {"type": one}) for one in sorted(set(types))]
            where.append(_rarely(session, asked, condition & Message.type.not_in(sorted(SPOKEN))))
        else:
            where.append(_holds(condition))
    return where


def _rarely(
    session: Session,
    asked: Sequence[tuple[TextClause, Mapping[str, Any]]],
    condition: ColumnElement[bool],
) -> ColumnElement[bool]:
    """As `_holds`, of what most conversations have none of: where they are few, among those that are known;
    otherwise from the newest of them on.
    """
    values = {"account": account_of(session), "most": RARE + 1}
    lists = [list(session.scalars(statement, {**values, **more})) for statement, more in asked]
    ids = {one for found in lists for one in found}
    if all(len(found) <= RARE for found in lists):
        return and_(Conversation.id == any_(literal(list(ids), ARRAY(Uuid()))), _holds(condition))
    return and_(Conversation.id <= max(ids), _holds(condition))


def _holds(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """A LIMIT where EXISTS would do, and IS TRUE: the conversations are gone through newest first."""
    found = select(true()).where(
        Message.account_id == Conversation.account_id,
        Message.conversation_id == Conversation.id,
        condition,
        Message.pii_state.is_distinct_from(PiiState.BLOCKED),
    )
    return found.limit(1).scalar_subquery().is_(True)


def _meant(session: Session, key: str, values: Sequence[str]) -> list[uuid.UUID]:
    """The ids of the rows that are meant, by their ids or their names; none is no error, it finds nothing."""
    table, _ = LINKS[key]
    ids, names = [], []
    for value in values:
        try:
            ids.append(uuid.UUID(value))
        except ValueError:
            names.append((checked_text(value, f"The {key}", longest=1000, empty=True) or "").lower())
    mine = select(table.id).where(table.account_id == account_of(session))
    found = list(session.scalars(mine.where(table.id.in_(ids)))) if ids else []
    if names:
        named = mine.where(func.lower(table.name).in_(names)).order_by(table.id.desc()).limit(MOST_NAMED)
        found += session.scalars(named)
    return sorted(set(found))
