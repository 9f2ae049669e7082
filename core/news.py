"""News: what has happened in conversations since somebody looked, read from their rows in one statement.

Announcements (core/announcing.py) say where to look. What was told of a conversation is a place in its order,
so that each message is told once and none is left out, however often it is announced and by whom. Messages
of a conversation are committed in their order; only where it begins to be followed does time decide, and a
message that was said that recently and committed later is waited for (`OVERLAP`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from core.rows import database_now
from models import PiiState, first_id_of

# What was said is committed within this of being said, and the clocks of machines differ by less.
OVERLAP = timedelta(seconds=10)
MOST = 200  # messages of a conversation at one look, and about so many bytes of text as it is told
MOST_BYTES = 512 * 1024
SPOKEN = ("user", "bot")

MESSAGE = (
    "m.id AS message_id, m.seq, m.type, m.text, m.meta, m.pii, m.pii_state, m.run_id, m.step, m.created_at"
)
# The messages of one snapshot with what goes on beside them: an answer and its turn's end are one commit.
LOOK = text(
    "SELECT c.id, c.account_id, c.contact_id, c.bot_id, base.seq AS base, busy.id AS busy,"  # noqa: S608 (constants)
    f" last.id AS ended, last.state, last.error_class, last.finished_at, m.upto, {MESSAGE}"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS int[]), CAST(:sinces AS timestamptz[]))"
    "  AS d (id, seq, since)"
    " JOIN conversations c ON c.id = d.id"
    " CROSS JOIN LATERAL (SELECT COALESCE(d.seq, (SELECT seq FROM messages WHERE conversation_id = d.id"
    "  AND created_at <= d.since ORDER BY seq DESC LIMIT 1), 0) AS seq) AS base"
    " LEFT JOIN LATERAL (SELECT id FROM runs WHERE conversation_id = d.id"
    "  AND state IN ('pending', 'running') LIMIT 1) AS busy ON true"
    " LEFT JOIN LATERAL (SELECT id, state, error_class, finished_at FROM runs WHERE conversation_id = d.id"
    "  AND finished_at IS NOT NULL ORDER BY id DESC LIMIT 1) AS last ON true"
    " LEFT JOIN LATERAL (SELECT * FROM (SELECT *, sum(size) OVER (ORDER BY seq) AS upto"
    "   FROM (SELECT *, octet_length(to_json(text)::text) AS size FROM messages"
    "    WHERE conversation_id = d.id AND seq > base.seq"
    f"   ORDER BY seq LIMIT {MOST}) AS newer) AS sized WHERE upto - size < {MOST_BYTES}) AS m"
    " ON true"
    " ORDER BY c.id, m.seq"
)
# Messages' ids sort by time, so that this reads what is new and nothing else.
BEGUN = text(
    "SELECT conversation_id, max(seq) AS seq, max(created_at) AS at FROM messages"
    " WHERE id >= :first AND account_id = :account GROUP BY conversation_id"
)
# What may not be seen yet, of the latest thousand that wait to be annotated: it is told when it may be.
HELD = text(
    "SELECT m.conversation_id, min(m.seq) AS seq FROM (SELECT message_id FROM annotations"
    "  WHERE account_id = :account AND state IN ('pending', 'running') ORDER BY run_at DESC LIMIT 1000) AS a"
    " JOIN messages m ON m.id = a.message_id AND m.pii_state = 'blocked' GROUP BY m.conversation_id"
)
SWEEP = text(
    "SELECT account_id, conversation_id, max(seq) AS seq FROM messages"
    " WHERE id >= :first AND account_id = ANY(CAST(:accounts AS uuid[])) GROUP BY 1, 2"
)


@dataclass
class Place:
    """What was told of a conversation: up to a message, said at an instant, and of a turn that it ended."""

    seq: int | None = None  # None: whatever is said from `since` on
    at: datetime | None = None
    ended: uuid.UUID | None = None
    ended_at: datetime | None = None
    busy: bool = False
    held: bool = False  # something of it may not be seen before it was annotated


@dataclass
class Found:
    """What is new in a conversation: messages in order, whether a turn is under way, and how one failed."""

    conversation_id: uuid.UUID
    account_id: uuid.UUID
    contact_id: uuid.UUID | None
    bot_id: uuid.UUID | None
    messages: Sequence[Row[Any]]
    busy: bool
    was_busy: bool
    failure: str | None = None
    more: bool = False


@dataclass
class Followed:
    """An account that somebody here follows: since when, and what was told of its conversations.

    Conversations in which nothing happens are forgotten as time goes on; what is said there later is newer
    than `since`.
    """

    account_id: uuid.UUID
    since: datetime
    began: datetime
    places: dict[uuid.UUID, Place] = field(default_factory=dict)

    def open(self) -> list[uuid.UUID]:
        """Conversations that are looked at though nobody says so: a turn of theirs may have ended."""
        return [one for one, place in self.places.items() if place.busy or place.held]

    def forget_before(self, instant: datetime) -> None:
        """Everything up to this instant was looked at."""
        self.since = max(self.since, instant)
        quiet = [
            one
            for one, place in self.places.items()
            if not place.busy
            and not place.held
            and (place.at is None or place.at <= self.since)
            and (place.ended_at is None or place.ended_at <= self.since)
        ]
        for one in quiet:
            del self.places[one]


def begin_following(session: Session, account: uuid.UUID) -> Followed:
    """Follows an account from now on: what is there already is not told, but for what nobody may see yet."""
    began = database_now(session)
    since = began - OVERLAP
    rows = session.execute(BEGUN, {"first": first_id_of(since - OVERLAP), "account": account})
    places = {row.conversation_id: Place(row.seq, row.at) for row in rows}
    for row in session.execute(HELD, {"account": account}):
        places[row.conversation_id] = Place(row.seq - 1, held=True)
    return Followed(account, since, began, places)


def swept(
    session: Session, accounts: Iterable[uuid.UUID], since: datetime
) -> tuple[datetime, list[tuple[uuid.UUID, uuid.UUID, int]]]:
    """The instant of the look, and (account, conversation, last place) of whatever was said since another."""
    now = database_now(session)
    values = {"first": first_id_of(since - OVERLAP), "accounts": list(accounts)}
    found = session.execute(SWEEP, values)
    return now, [(row.account_id, row.conversation_id, row.seq) for row in found]


def look(session: Session, wanted: Sequence[tuple[Followed, uuid.UUID]]) -> list[Found]:
    """What is new in these conversations, and moves what was told of them there.

    A message that nobody may see yet, and what was said after it, is told once it may be seen.
    """
    places = {one: followed.places.get(one) or Place() for followed, one in wanted}
    followed_of = {one: followed for followed, one in wanted}
    rows = session.execute(
        LOOK,
        {
            "ids": list(places),
            "seqs": [place.seq for place in places.values()],
            "sinces": [followed_of[one].since for one in places],
        },
    ).all()
    found = []
    for conversation, group in groupby(rows, key=lambda row: row.id):
        told = list(group)
        followed = followed_of[conversation]
        if told[0].account_id == followed.account_id:
            found.append(_found(followed, conversation, places[conversation], told))
    for conversation in places.keys() - {one.conversation_id for one in found}:
        followed_of[conversation].places.pop(conversation, None)  # it is gone
    return found


def _found(followed: Followed, conversation: uuid.UUID, place: Place, rows: Sequence[Row[Any]]) -> Found:
    first = rows[0]
    messages = [row for row in rows if row.message_id is not None]
    held = next((at for at, row in enumerate(messages) if row.pii_state == PiiState.BLOCKED), None)
    seen = messages[:held]
    failed = first.ended is not None and first.ended != place.ended and first.state == "failed"
    recent = first.finished_at is not None and first.finished_at > max(followed.since, followed.began)
    found = Found(
        conversation,
        first.account_id,
        first.contact_id,
        first.bot_id,
        seen,
        busy=first.busy is not None,
        was_busy=place.busy,
        failure=first.error_class if failed and recent and held is None else None,
        more=held is None and bool(messages) and (len(messages) == MOST or messages[-1].upto >= MOST_BYTES),
    )
    place.seq = seen[-1].seq if seen else first.base
    place.at = seen[-1].created_at if seen else place.at
    place.busy, place.held = found.busy, held is not None
    if held is None:
        place.ended, place.ended_at = first.ended, first.finished_at
    followed.places[conversation] = place
    return found
