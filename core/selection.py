# ruff: noqa: S608 (statements are put together from the constants below)
"""What a deletion selects: a filter, checked once, and the statements that count it and walk through it.

The filter is fixed when the deletion is asked for, and so is what it can reach: nothing that is made later,
whatever time it says it is of. Times are the database's, ids tell when a row came into it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from core.errors import InvalidInput
from core.rows import checked_text, own_ids
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
}
OF_EACH = {
    "before": "{it}.created_at < CAST(:before AS timestamptz)",
    "after": "{it}.created_at >= CAST(:after AS timestamptz)",
    "ids": "{it}.id = ANY(CAST(:ids AS uuid[]))",
    "types": "{it}.type = ANY(CAST(:types AS text[]))",
}
IN_TIME = "{it}.id < :bound AND {it}.created_at <= CAST(:until AS timestamptz)"
NOW = text("SELECT clock_timestamp()")


class What(StrEnum):
    """What is deleted: messages, which leave their conversations, or conversations with all they hold."""

    MESSAGES = "messages"
    CONVERSATIONS = "conversations"


@dataclass(frozen=True)
class Counted:
    """What a selection comes to as things stand."""

    count: int
    conversations: int
    oldest: datetime | None
    newest: datetime | None
    sample: list[uuid.UUID]


@dataclass(frozen=True)
class Selection:
    """A checked filter, and the instant after which nothing belongs to it."""

    what: What
    filter: Mapping[str, Any]
    until: datetime

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Selection:
        """As a job's params hold it."""
        return cls(What(params["what"]), params["filter"], datetime.fromisoformat(params["until"]))

    def params(self) -> dict[str, Any]:
        return {"what": self.what.value, "filter": dict(self.filter), "until": self.until.isoformat()}

    def values(self, account: uuid.UUID) -> dict[str, Any]:
        bound = first_id_of(self.until + MILLISECOND)
        return {**self.filter, "account": account, "until": self.until, "bound": bound}

    @property
    def ids(self) -> list[str] | None:
        """The ids that were named, sorted; None where a filter alone says what goes."""
        found: list[str] | None = self.filter.get("ids")
        return found

    def of_conversations(self) -> str:
        """What holds of a conversation c of which something goes."""
        parts = ["c.account_id = :account", *self._given(OF_CONVERSATIONS)]
        if self.what is What.CONVERSATIONS:
            parts += [IN_TIME.format(it="c"), *self._given(OF_EACH, "c")]
        return " AND ".join(parts)

    def of_messages(self) -> str:
        """What holds of a message m that goes."""
        return " AND ".join([IN_TIME.format(it="m"), *self._given(OF_EACH, "m")])

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
    return Counted(found, row.conversations, row.oldest, row.newest, sample)


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


def messages_from(
    session: Session,
    selection: Selection,
    conversations: Sequence[uuid.UUID],
    *,
    account: uuid.UUID,
    after: tuple[uuid.UUID, int],
    most: int,
) -> Sequence[Row[Any]]:
    """The next messages of these conversations in their order, and whether each of them goes.

    However few go, no statement reads more than `most`.
    """
    query = (
        f"SELECT m.id, m.conversation_id, m.seq, ({selection.of_messages()}) AS goes FROM messages m"
        " WHERE m.conversation_id = ANY(CAST(:in AS uuid[])) AND (m.conversation_id, m.seq) > (:at, :seq)"
        " ORDER BY m.conversation_id, m.seq LIMIT :most"
    )
    at, seq = after
    values = selection.values(account) | {"in": list(conversations), "at": at, "seq": seq, "most": most}
    return session.execute(text(query), values).all()


def selected_of(
    session: Session, selection: Selection, account: uuid.UUID, ids: Sequence[Any]
) -> Sequence[Row[Any]]:
    """Which of these ids belong to the selection, sorted, each with its conversation."""
    query = (
        f"SELECT id, conversation_id FROM ({selection.source()}) AS it"
        " WHERE id = ANY(CAST(:among AS uuid[])) ORDER BY id"
    )
    return session.execute(text(query), {**selection.values(account), "among": list(ids)}).all()


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


def _instant(name: str) -> Callable[[Session, Any], tuple[str, Any]]:
    def checked(session: Session, value: Any) -> tuple[str, Any]:
        del session
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise InvalidInput(f"{name} takes an instant.")
        return name, value.isoformat()

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
