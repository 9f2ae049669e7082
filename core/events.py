"""The event log: what conversations and runs tell of themselves (contract sections 4.4 and 6).

No table of its own. An event's id is its instant in microseconds, its kind and a part of the id of the row
that tells it: ids sort as the events do, and a cursor outlives its row. What is deleted is in no log.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.rows import MetaFilter, database_now
from models import RunState

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# The bits of an event's id behind its instant.
REST = 76
END = uuid.UUID(int=2**128 - 1)
MOST_HISTORY = 1000
# An event is seen when its transaction has committed, which is after its instant: within this, as a rule.
OVERLAP = timedelta(seconds=15)
PAGE = 1000


class EventType(StrEnum):
    """The types of the contract that our rows tell."""

    CONVERSATION_CREATE = "conversation.create"
    INTERACT = "task.interact"
    COMPLETED = "task.interact.completed"
    ABORTED = "task.interact.aborted"
    SKIPPED = "task.interact.skipped"


ENDED = {
    RunState.SUCCEEDED: EventType.COMPLETED,
    RunState.FAILED: EventType.ABORTED,
    RunState.CANCELLED: EventType.ABORTED,
    RunState.SKIPPED: EventType.SKIPPED,
    RunState.MISSED: EventType.SKIPPED,
}


@dataclass(frozen=True)
class Event:
    """Something that happened, and the rows it is about. `reason`: why a run was skipped or gave nothing."""

    id: uuid.UUID
    type: EventType
    at: datetime
    conversation_id: uuid.UUID | None
    task_id: uuid.UUID | None
    bot_id: uuid.UUID | None
    contact_id: uuid.UUID | None
    run_id: uuid.UUID | None
    reason: str | None


@dataclass
class Following:
    """What somebody who follows the log has been told of the latest events."""

    told: frozenset[uuid.UUID]


def _event_id(microseconds: str, kind: int, row: str) -> str:
    """13 digits of the instant, one of the kind, 18 of the row's id, without its time and its last."""
    return (
        f"CAST(lpad(to_hex({microseconds}), 13, '0') || '{kind}'"
        f" || substr(replace(CAST({row} AS text), '-', ''), 14, 18) AS uuid)"
    )


def _microseconds(instant: str) -> str:
    return f"CAST(extract(epoch FROM {instant}) * 1000000 AS bigint)"


# A conversation began when its id was made: ids are UUIDv7, and an import gives older times to `created_at`.
BORN = (
    "LEAST(CAST(CAST('x0000' || left(replace(CAST(c.id AS text), '-', ''), 12) AS bit(64)) AS bigint) * 1000,"
    " 4503599627370495)"
)
CREATED = (
    "SELECT {id} AS id, 'created' AS state, c.id AS conversation_id, c.task_id, c.run_id,"
    " CAST(NULL AS text) AS reason FROM conversations c"
    " WHERE c.account_id = :account AND c.id {reaches} :row AND {id} {beyond} :cursor"
    " ORDER BY c.id {order} LIMIT :take"
)
# Many runs of one batch share an instant, and the index does not order those as their events are.
OF_RUN = (
    "SELECT {id} AS id, {state} AS state, r.conversation_id, r.task_id, r.id AS run_id,"
    " {reason} AS reason FROM runs r"
    " WHERE r.account_id = :account AND r.task_id IS NOT NULL AND {instant} IS NOT NULL"
    " AND {instant} {reaches} :at AND {id} {beyond} :cursor"
    " ORDER BY {instant} {order} FETCH FIRST :take ROWS WITH TIES"
)
EVENTS = (
    "SELECT e.*, COALESCE(c.bot_id, t.bot_id) AS bot_id, COALESCE(c.contact_id, t.contact_id) AS contact_id"
    " FROM (SELECT * FROM (({created}) UNION ALL ({begun}) UNION ALL ({ended})) AS every"
    "  ORDER BY id {order} LIMIT :take) AS e"
    " LEFT JOIN conversations c ON c.id = e.conversation_id LEFT JOIN tasks t ON t.id = e.task_id"
    " ORDER BY e.id {order}"
)


def _query(*, ascending: bool) -> TextClause:
    way = (
        {"reaches": ">=", "beyond": ">", "order": "ASC"}
        if ascending
        else {"reaches": "<=", "beyond": "<", "order": "DESC"}
    )

    def of_run(instant: str, kind: int, state: str, reason: str) -> str:
        event = _event_id(_microseconds(instant), kind, "r.id")
        return OF_RUN.format(id=event, instant=instant, state=state, reason=reason, **way)

    return text(
        EVENTS.format(
            created=CREATED.format(id=_event_id(BORN, 1, "c.id"), **way),
            begun=of_run("r.started_at", 2, "'begun'", "CAST(NULL AS text)"),
            ended=of_run("r.finished_at", 3, "r.state", "COALESCE(r.reason, r.error_class)"),
            **way,
        )
    )


DOWNWARD, UPWARD = _query(ascending=False), _query(ascending=True)


def list_events(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Event]:
    """The account's events, newest first or `ascending`. They are not kept with a meta to filter by."""
    if meta:
        return []
    cursor = before or (uuid.UUID(int=0) if ascending else END)
    found = session.execute(
        UPWARD if ascending else DOWNWARD,
        {
            "account": account_of(session),
            "take": take,
            "cursor": cursor,
            "at": _instant_of(cursor),
            "row": _row_bound(cursor, ascending=ascending),
        },
    )
    return [
        Event(
            id=row.id,
            type=_type_of(row.state),
            at=_instant_of(row.id),
            conversation_id=row.conversation_id,
            task_id=row.task_id,
            bot_id=row.bot_id,
            contact_id=row.contact_id,
            run_id=row.run_id,
            reason=row.reason,
        )
        for row in found
    ]


def follow(session: Session, history: int | None = None) -> tuple[Following, list[Event]]:
    """Begins to follow the log: up to `history` events there are, oldest first, and what `news` goes on from.

    Raises:
        InvalidInput: a history longer than 1000.

    """
    if history is not None and not 0 <= history <= MOST_HISTORY:
        raise InvalidInput(f"The history is a number of events from 0 to {MOST_HISTORY}.")
    # Read in this order nothing falls between the two: what is committed meanwhile is in the history.
    latest = {event.id for event in _latest(session)}
    past = list_events(session, take=history)[::-1] if history else []
    return Following(frozenset(latest | {event.id for event in past})), past


def news(session: Session, following: Following) -> list[Event]:
    """What has happened since it was asked last, oldest first; each event once.

    What a transaction of more than `OVERLAP` did is in the log and is not told.
    """
    latest = _latest(session)
    fresh = [event for event in latest if event.id not in following.told]
    following.told = frozenset(event.id for event in latest)
    return fresh


def _latest(session: Session) -> list[Event]:
    """All events of the last `OVERLAP`, oldest first."""
    since = (database_now(session) - OVERLAP - EPOCH) // MICROSECOND
    found: list[Event] = []
    cursor = uuid.UUID(int=since << REST)
    while page := list_events(session, take=PAGE, before=cursor, ascending=True):
        found += page
        cursor = page[-1].id
        if len(page) < PAGE:
            break
    return found


def _type_of(state: str) -> EventType:
    if state == "created":
        return EventType.CONVERSATION_CREATE
    return EventType.INTERACT if state == "begun" else ENDED[RunState(state)]


def _instant_of(event: uuid.UUID) -> datetime:
    return EPOCH + (event.int >> REST) * MICROSECOND


def _row_bound(event: uuid.UUID, *, ascending: bool) -> uuid.UUID:
    """The first or the last UUIDv7 of the event's millisecond."""
    first = ((event.int >> REST) // 1000) << 80
    return uuid.UUID(int=first if ascending else first | (2**80 - 1))
