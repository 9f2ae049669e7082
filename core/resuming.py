"""Resuming: what somebody who was away has missed, from the last message seen of each conversation on."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from core.context import account_of
from core.conversing import Reach
from core.news import MESSAGE, OVERLAP
from models import PiiState, first_id_of

MOST = 500  # messages in all
MOST_BYTES = 1024 * 1024  # of text, about
PLACE = re.compile(r"([0-9A-Fa-f-]{36})(?::(\d{1,9}))?")
REACHED = (
    " c.account_id = :account AND (CAST(:contact AS uuid) IS NULL OR c.contact_id = :contact)"
    " AND (CAST(:conversation AS uuid) IS NULL OR c.id = :conversation)"
)
SEEN = text(
    "SELECT m.conversation_id, max(m.seq) AS seq, max(m.created_at) AS at, count(*) AS known FROM messages m"  # noqa: S608 (constants)
    f" JOIN conversations c ON c.id = m.conversation_id WHERE m.id = ANY(CAST(:ids AS uuid[])) AND {REACHED}"
    " GROUP BY m.conversation_id"
)
PLACES = text(
    "SELECT c.id AS conversation_id, LEAST(d.seq, c.next_seq - 1) AS seq, 1 AS known,"  # noqa: S608
    "  (SELECT created_at FROM messages WHERE conversation_id = c.id AND seq <= d.seq"
    "   ORDER BY seq DESC LIMIT 1) AS at"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS int[])) AS d (id, seq)"
    f" JOIN conversations c ON c.id = d.id WHERE {REACHED}"
)
# The first of what is found, as much as is told at once; `found` says how many there are.
TIME = "m.created_at, m.seq, c.id"
SIZED = (
    f"SELECT * FROM (SELECT c.id, {MESSAGE}, count(*) OVER () AS found,"  # noqa: S608 (constants)
    f" sum(octet_length(m.text)) OVER (ORDER BY {TIME}) - octet_length(m.text) AS before %s"
    f" ORDER BY {TIME} LIMIT {MOST}) AS sized WHERE before < {MOST_BYTES} ORDER BY id, seq"
)
SINCE = text(
    SIZED
    % (
        "FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS int[])) AS d (id, seq)"  # noqa: S608 (constants)
        " JOIN conversations c ON c.id = d.id CROSS JOIN LATERAL (SELECT * FROM messages"
        f"  WHERE conversation_id = d.id AND seq > d.seq AND type IN ('user', 'bot')"
        f"  ORDER BY seq LIMIT {MOST + 1}) AS m"
    )
)
# What was said elsewhere since the latest message that is named.
ELSEWHERE = text(
    SIZED
    % (
        "FROM messages m JOIN conversations c ON c.id = m.conversation_id"
        f" WHERE m.id >= :first AND m.created_at > :at AND m.account_id = :account AND {REACHED}"
        " AND m.type IN ('user', 'bot') AND c.id <> ALL(CAST(:ids AS uuid[]))"
    )
)
# Said elsewhere before it, and perhaps committed after it: whoever has seen the one may not have the other.
DOUBTFUL = text(
    "SELECT EXISTS (SELECT FROM messages m JOIN conversations c ON c.id = m.conversation_id"  # noqa: S608 (constants)
    " WHERE m.id >= :first AND m.id < :beyond AND m.created_at > :since AND m.created_at <= :at"
    f" AND m.account_id = :account AND {REACHED}"
    " AND m.type IN ('user', 'bot') AND c.id <> ALL(CAST(:ids AS uuid[])))"
)
BUSY = text(
    "SELECT conversation_id FROM runs WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"
    " AND state IN ('pending', 'running')"
)


@dataclass(frozen=True)
class Missed:
    """Messages in the order of time, `(conversation, row)`; up to where each conversation is told now.

    Not `whole`: there is more, or a place is not known any more, and the history has it.
    """

    messages: Sequence[tuple[uuid.UUID, Row[Any]]]
    places: Mapping[uuid.UUID, int]
    busy: frozenset[uuid.UUID] = field(default=frozenset())
    whole: bool = True


def missed(session: Session, reach: Reach, after: Sequence[str]) -> Missed:
    """What people and bots said after these messages, `<message id>` or `<conversation id>:<seq>`, in their
    conversations, and in others since the latest of them. Places that mean nothing, or somebody else's, are
    left out, and it is not whole. Nor is it where something was said in others just before the latest, since
    nobody knows then whether it was seen.
    """
    who = {
        "account": account_of(session),
        "contact": reach.contact_id,
        "conversation": reach.conversation_id,
    }
    named, all_known = _named(session, who, after)
    if not named:
        return Missed((), {}, whole=all_known)
    seqs = {conversation: seq for conversation, (seq, _) in named.items()}
    found = [session.execute(SINCE, {"ids": list(seqs), "seqs": list(seqs.values())}).all()]
    instants = [at for _, at in named.values() if at is not None]
    if instants:
        latest = max(instants)
        elsewhere = {"first": first_id_of(latest - OVERLAP), "at": latest, "ids": list(seqs), **who}
        found.append(session.execute(ELSEWHERE, elsewhere).all())
        doubtful = session.scalar(DOUBTFUL, {**elsewhere, **_just_before(latest)})
        all_known = all_known and not doubtful
    rows = [row for some in found for row in some]
    shown = [row for _, group in groupby(rows, key=lambda row: row.id) for row in _until_held(list(group))]
    shown.sort(key=lambda row: (row.created_at, row.seq))
    told = shown[:MOST]
    for row in told:
        seqs[row.id] = max(seqs.get(row.id, 0), row.seq)
    busy = frozenset(session.scalars(BUSY, {"ids": list(seqs)}))
    whole = all_known and len(told) == sum(some[0].found for some in found if some)
    return Missed([(row.id, row) for row in told], seqs, busy, whole)


def _just_before(latest: datetime) -> dict[str, Any]:
    """The window in which doubt is, and the ids that are minted about then."""
    return {"since": latest - OVERLAP, "beyond": first_id_of(latest + OVERLAP)}


def _named(
    session: Session, who: Mapping[str, Any], after: Sequence[str]
) -> tuple[dict[uuid.UUID, tuple[int, Any]], bool]:
    """Up to where each conversation was seen, and whether every place is known."""
    ids: set[uuid.UUID] = set()
    places: dict[uuid.UUID, int] = {}
    strange = False
    for one in after:
        found = PLACE.fullmatch(one)
        try:
            given = uuid.UUID(found[1] if found else "")
        except ValueError:
            strange = True
            continue
        if found is None or found[2] is None:
            ids.add(given)
        else:
            places[given] = min(int(found[2]), 2**31 - 1)
    seen = list(session.execute(SEEN, {"ids": list(ids), **who})) if ids else []
    if places:
        seen += session.execute(PLACES, {"ids": list(places), "seqs": list(places.values()), **who})
    named: dict[uuid.UUID, tuple[int, Any]] = {}
    for row in seen:
        earlier = named.get(row.conversation_id)
        if earlier is None or row.seq > earlier[0]:
            named[row.conversation_id] = (row.seq, row.at)
    return named, not strange and sum(row.known for row in seen) == len(ids) + len(places)


def _until_held(rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Up to what nobody may see before it was annotated: that is told when it may be seen."""
    held = next((at for at, row in enumerate(rows) if row.pii_state == PiiState.BLOCKED), None)
    return rows[:held]
