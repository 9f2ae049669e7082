# ruff: noqa: S608 (statements are put together from the constants below)
"""What a deletion selects: a filter, checked once, and the statements that count it and walk through it.

The filter is fixed when the deletion is asked for, and so is what it can reach: nothing that is made later,
whatever time it says it is of. Times are the database's, ids tell when a row came into it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, TextClause, text
from sqlalchemy.orm import Session

from core.errors import InvalidInput
from core.holds import HELD, NOT_HELD, any_hold
from core.rows import as_array, checked_text, own_ids
from models import Bot, Contact, Conversation, ConversationStatus, MessageType, Task, first_id_of

MOST_IDS = 10_000
SAMPLE = 10
PATIENCE = "SET LOCAL statement_timeout = '30s'"  # counting reads all there is
MILLISECOND = timedelta(milliseconds=1)

# By the name in a filter: what holds of the conversation c, and of the message m.
OF_CONVERSATIONS = {
    "conversations": "c.id = ANY(CAST(:conversations AS uuid[]))",
    "tasks": "c.task_id = ANY(CAST(:tasks AS uuid[]))",
    "bots": "c.bot_id = ANY(CAST(:bots AS uuid[]))",
    "contacts": "c.contact_id = ANY(CAST(:contacts AS uuid[]))",
    "source": "c.source = :source",
    "status": "c.status = :status",
    # What a rule of retention adds: no rule of a narrower scope fits it (3 task, 2 bot, 1 source), and
    # nothing was said in it from an instant on, but after another.
    "broader": (
        "NOT EXISTS (SELECT FROM retention_rules r WHERE r.account_id = c.account_id"
        " AND (r.task_id = c.task_id AND :broader < 3 OR r.bot_id = c.bot_id AND :broader < 2"
        " OR r.source = c.source AND :broader < 1))"
    ),
    "idle": "COALESCE(c.last_message_at, c.created_at) < CAST(:idle AS timestamptz)",
    "active": "COALESCE(c.last_message_at, c.created_at) >= CAST(:active AS timestamptz)",
}
OF_EACH = {
    "before": "{it}.created_at < CAST(:before AS timestamptz)",
    "after": "{it}.created_at >= CAST(:after AS timestamptz)",
    "ids": "{it}.id = ANY(CAST(:ids AS uuid[]))",
    "types": "{it}.type = ANY(CAST(:types AS text[]))",
}
HOLDS: Mapping[bool | None, tuple[str, ...]] = {False: (NOT_HELD,), True: (HELD,), None: ()}
# What is not anonymous yet.
NAMED = {
    "messages": "m.anonymised_at IS NULL",
    "conversations": "c.anonymised_seq IS DISTINCT FROM c.next_seq",
}
IN_TIME = "{it}.id < :bound AND {it}.created_at <= CAST(:until AS timestamptz)"
NOW = text("SELECT clock_timestamp()")


# The lateral part reads each conversation over the index of its order, whatever the planner thinks of them.
STRETCH = (
    "WITH page AS MATERIALIZED (SELECT c.id, c.next_seq, CASE WHEN c.id = :at THEN CAST(:seq AS int)"
    "  ELSE 0 END AS behind FROM conversations c WHERE {of_conversations} AND c.id >= :at"
    "  ORDER BY c.id LIMIT :page),"
    " among AS MATERIALIZED (SELECT id, behind FROM (SELECT id, behind, sum(GREATEST(0, next_seq - behind))"
    "  OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM page) AS p"
    "  WHERE before IS NULL OR before <= :read),"
    " seen AS (SELECT m.conversation_id, m.seq, m.goes FROM among a CROSS JOIN LATERAL ("
    "  SELECT m.conversation_id, m.seq, ({of_messages}) AS goes FROM messages m"
    "  WHERE m.conversation_id = a.id AND m.seq > a.behind ORDER BY m.seq LIMIT :read) AS m"
    "  ORDER BY m.conversation_id, m.seq LIMIT :read),"
    " counted AS (SELECT *, count(*) FILTER (WHERE goes) OVER (ORDER BY conversation_id, seq"
    "  ROWS UNBOUNDED PRECEDING) AS number FROM seen),"
    " each AS MATERIALIZED (SELECT conversation_id, count(*) AS read,"
    "  count(*) FILTER (WHERE goes) AS matched,"
    "  count(*) FILTER (WHERE number <= :most) AS kept, max(seq) FILTER (WHERE number <= :most) AS upto,"
    "  count(*) FILTER (WHERE goes AND number <= :most) AS goes,"
    "  min(seq) FILTER (WHERE goes AND number <= :most) AS first,"
    "  max(seq) FILTER (WHERE goes AND number <= :most) AS last FROM counted GROUP BY conversation_id),"
    " total AS (SELECT CAST(COALESCE(sum(read), 0) AS int) AS read,"
    "  CAST(COALESCE(sum(matched), 0) AS int) AS matched, CAST(COALESCE(sum(kept), 0) AS int) AS kept,"
    "  CAST(COALESCE(sum(goes), 0) AS int) AS goes FROM each),"
    " doomed AS (SELECT CAST(array_agg(conversation_id) AS text) AS conversations,"
    "  CAST(array_agg(first) AS text) AS firsts, CAST(array_agg(last) AS text) AS lasts FROM"
    "  (SELECT conversation_id, first, last FROM each WHERE goes > 0 ORDER BY conversation_id) AS going),"
    " behind AS (SELECT conversation_id AS at, upto FROM each WHERE kept > 0"
    "  ORDER BY conversation_id DESC LIMIT 1)"
    " SELECT (SELECT count(*) FROM page) AS paged, (SELECT count(*) FROM among) AS among,"
    " (SELECT id FROM among ORDER BY id DESC LIMIT 1) AS last, total.*, doomed.*, behind.*"
    " FROM total CROSS JOIN doomed LEFT JOIN behind ON true"
)


class What(StrEnum):
    """What is deleted: messages, which leave their conversations, or conversations with all they hold."""

    MESSAGES = "messages"
    CONVERSATIONS = "conversations"


@dataclass(frozen=True)
class Bounds:
    """From where a look goes on, and how much it takes in: conversations, messages read, messages that go."""

    at: uuid.UUID
    seq: int
    page: int
    read: int
    most: int


@dataclass(frozen=True)
class Counted:
    """What a selection comes to as things stand."""

    count: int
    conversations: int
    oldest: datetime | None
    newest: datetime | None
    sample: list[uuid.UUID]
    held: int = 0  # beside those that are counted


@dataclass(frozen=True)
class Selection:
    """A checked filter, and the instant after which nothing belongs to it.

    `held` false leaves out what a legal hold is on, as whoever deletes must; true is that alone, and none
    asks for no holds, as whoever only reads may.
    """

    what: What
    filter: Mapping[str, Any]
    until: datetime
    held: bool | None = False

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Selection:
        """As a job's params hold it."""
        return cls(What(params["what"]), params["filter"], datetime.fromisoformat(params["until"]))

    def params(self) -> dict[str, Any]:
        return {"what": self.what.value, "filter": dict(self.filter), "until": self.until.isoformat()}

    def values(self, account: uuid.UUID) -> dict[str, Any]:
        bound = first_id_of(self.until + MILLISECOND)
        values = {**self.filter, "account": account, "until": self.until, "bound": bound}
        return values if self.ids is None else {**values, "ids": as_array(self.ids)}

    @property
    def ids(self) -> list[str] | None:
        """The ids that were named, sorted; None where a filter alone says what goes."""
        found: list[str] | None = self.filter.get("ids")
        return found

    def of_conversations(self) -> str:
        """What holds of a conversation c of which something goes."""
        parts = ["c.account_id = :account", *HOLDS[self.held], *self._given(OF_CONVERSATIONS)]
        if self.what is What.CONVERSATIONS:
            parts += self._named()
            parts += [IN_TIME.format(it="c"), *self._given(OF_EACH, "c")]
        return " AND ".join(parts)

    def of_messages(self) -> str:
        """What holds of a message m that goes."""
        return " AND ".join([IN_TIME.format(it="m"), *self._named(), *self._given(OF_EACH, "m")])

    def source(self) -> str:
        """Everything that goes, as `it`, with its conversation."""
        if self.what is What.CONVERSATIONS:
            return (
                "SELECT c.id, c.created_at, c.id AS conversation_id FROM conversations c"
                f" WHERE {self.of_conversations()}"
            )
        return (
            "SELECT m.id, m.created_at, m.conversation_id FROM messages m"
            f" JOIN conversations c ON c.id = m.conversation_id WHERE {self.of_conversations()}"
            f" AND {self.of_messages()}"
        )

    def _named(self) -> list[str]:
        return [NAMED[self.what]] if "named" in self.filter else []

    def _given(self, clauses: Mapping[str, str], it: str = "") -> list[str]:
        return [clause.format(it=it) for name, clause in clauses.items() if name in self.filter]


def select_for_deletion(session: Session, what: str, wanted: Mapping[str, Any]) -> Selection:
    """A selection of what is there now. `wanted` has the names that FIELDS lists; what is null is left out.

    Raises:
        InvalidInput: an unknown `what` or a value that is none; nothing to select by, without `all`.
        NotFound, NotAuthorized: what is filtered by.

    """
    try:
        kind = What(what)
    except ValueError:
        raise InvalidInput(f"What is deleted is one of {', '.join(What)}.") from None
    given = {name: value for name, value in wanted.items() if value is not None}
    everything = given.pop("all", False)
    if unknown := given.keys() - FIELDS.keys():
        raise InvalidInput(f"There is no filter {min(unknown)}.")
    wrong = "status" if kind is What.MESSAGES else "type"
    if wrong in given:
        raise InvalidInput(f"{kind.value.capitalize()} are not filtered by {wrong}.")
    if bool(given) == bool(everything):
        raise InvalidInput("Say what is to be deleted: a filter, ids, or all.")
    checked = dict(FIELDS[name](session, value) for name, value in given.items())
    if checked.get("after", "") and checked.get("before", "9") <= checked["after"]:
        raise InvalidInput("Nothing is before the one time and after the other.")
    return Selection(kind, checked, session.execute(NOW).scalar_one())


def count_selected(session: Session, selection: Selection, account: uuid.UUID) -> Counted:
    """Counts what a selection comes to, and names some of it, the oldest ids."""
    session.execute(text(PATIENCE))
    values = selection.values(account)
    query = (
        "SELECT count(*) AS found, count(DISTINCT conversation_id) AS conversations,"
        f" min(created_at) AS oldest, max(created_at) AS newest FROM ({selection.source()}) AS it"
    )
    row = session.execute(text(query), values).one()
    found = int(row.found)
    first = f"SELECT id FROM ({selection.source()}) AS it ORDER BY id LIMIT :sample"
    sample = list(session.scalars(text(first), {**values, "sample": SAMPLE})) if found else []
    held = 0
    if any_hold(session):
        back = f"SELECT count(*) FROM ({replace(selection, held=True).source()}) AS it"
        held = session.execute(text(back), values).scalar_one()
    return Counted(found, row.conversations, row.oldest, row.newest, sample, held)


def conversations_from(
    session: Session, selection: Selection, account: uuid.UUID, begin: uuid.UUID, most: int
) -> Sequence[Row[Any]]:
    """The next conversations of which something may go, by id, each with how many places it has."""
    query = (
        "SELECT c.id, c.next_seq FROM conversations c"
        f" WHERE {selection.of_conversations()} AND c.id >= :begin ORDER BY c.id LIMIT :most"
    )
    values = {**selection.values(account), "begin": begin, "most": most}
    return session.execute(text(query), values).all()


def stretch_of(session: Session, selection: Selection, account: uuid.UUID, bounds: Bounds) -> Row[Any]:
    """Looks at the next messages behind a place, in their order, and tells of them in a row.

    It reads the conversations that begin there until they have room for as many messages as are to be read;
    however few go, no more messages than that. `paged` conversations were looked up, `among` of them read,
    the last of which was `last`; `read` messages were read, of which `matched` are selected. Of those up to
    the last that is granted: `kept` were read, the last at (`at`, `upto`), and `goes` go: in `conversations`,
    from `firsts` to `lasts`, three arrays in the same order.
    """
    statement = _stretch(selection.of_conversations(), selection.of_messages())
    return session.execute(statement, {**selection.values(account), **asdict(bounds)}).one()


@lru_cache(maxsize=256)
def _stretch(of_conversations: str, of_messages: str) -> TextClause:
    return text(STRETCH.format(of_conversations=of_conversations, of_messages=of_messages))


def part_of(session: Session, selection: Selection, account: uuid.UUID, among: str) -> Row[Any]:
    """How many of the messages with these ids, an array, belong to the selection, and where they are."""
    query = (
        "SELECT count(*) AS goes, CAST(COALESCE(array_agg(DISTINCT conversation_id), '{}') AS text)"
        f" AS conversations FROM ({selection.source()}) AS it WHERE id = ANY(CAST(:among AS uuid[]))"
    )
    return session.execute(text(query), {**selection.values(account), "among": among}).one()


def lock_selected(
    session: Session, selection: Selection, account: uuid.UUID, ids: Sequence[uuid.UUID]
) -> list[uuid.UUID]:
    """Which of these conversations still belong to the selection, now that nobody else writes in them."""
    query = (
        f"SELECT c.id FROM conversations c WHERE {selection.of_conversations()}"
        " AND c.id = ANY(CAST(:among AS uuid[])) ORDER BY c.id FOR NO KEY UPDATE OF c"
    )
    values = {**selection.values(account), "among": sorted(set(ids))}
    return list(session.scalars(text(query), values))


def _links(name: str, table: Any) -> Callable[[Session, Any], tuple[str, Any]]:
    def checked(session: Session, value: Any) -> tuple[str, Any]:
        if not value:
            raise InvalidInput("A filter by ids names at least one.")
        return name, sorted(str(one) for one in own_ids(session, table, value))

    return checked


def _ids(session: Session, value: Any) -> tuple[str, Any]:
    """Unknown and foreign ids select nothing: what has gone meanwhile is no error."""
    del session
    if not 1 <= len(value) <= MOST_IDS:
        raise InvalidInput(f"ids takes 1 to {MOST_IDS} ids.")
    try:
        return "ids", sorted({str(uuid.UUID(one)) for one in value})
    except (ValueError, AttributeError, TypeError):
        raise InvalidInput("ids holds something that is no id.") from None


def _types(session: Session, value: Any) -> tuple[str, Any]:
    del session
    found = [value] if isinstance(value, str) else list(value)
    if not found or set(found) - set(MessageType):
        raise InvalidInput(f"A message's type is one of {', '.join(MessageType)}.")
    return "types", sorted(set(found))


def _status(session: Session, value: Any) -> tuple[str, Any]:
    del session
    if value not in set(ConversationStatus):
        raise InvalidInput(f"A conversation's status is one of {', '.join(ConversationStatus)}.")
    return "status", value


def _source(session: Session, value: Any) -> tuple[str, Any]:
    del session
    return "source", checked_text(value, "The source", longest=1000, empty=True)


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:  # at either end of time, where no other instant is near
        return value.replace(tzinfo=UTC)


def _instant(name: str) -> Callable[[Session, Any], tuple[str, Any]]:
    def checked(session: Session, value: Any) -> tuple[str, Any]:
        del session
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise InvalidInput(f"{name} takes an instant.")
        return name, _in_utc(value).isoformat()

    return checked


FIELDS: dict[str, Callable[[Session, Any], tuple[str, Any]]] = {
    "conversation_id": _links("conversations", Conversation),
    "task_id": _links("tasks", Task),
    "bot_id": _links("bots", Bot),
    "contact_id": _links("contacts", Contact),
    "source": _source,
    "status": _status,
    "type": _types,
    "before": _instant("before"),
    "after": _instant("after"),
    "ids": _ids,
}
