"""Resuming: what somebody who was away has missed, from the last message seen of each conversation on."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from core.context import account_of
from core.conversing import Reach
from core.news import MESSAGE, OVERLAP
from models import PiiState, first_id_of

MOST = 500  # messages in all
PLACE = re.compile(r"([0-9A-Fa-f-]{36})(?::(\d{1,9}))?")
REACHED = (
    " c.account_id = :account AND (CAST(:contact AS uuid) IS NULL OR c.contact_id = :contact)"
    " AND (CAST(:conversation AS uuid) IS NULL OR c.id = :conversation)"
)
SEEN = text(
    "SELECT m.conversation_id, max(m.seq) AS seq, max(m.created_at) AS at FROM messages m"  # noqa: S608 (constants)
    f" JOIN conversations c ON c.id = m.conversation_id WHERE m.id = ANY(CAST(:ids AS uuid[])) AND {REACHED}"
    " GROUP BY m.conversation_id"
)
PLACES = text(
    "SELECT c.id AS conversation_id, d.seq, (SELECT created_at FROM messages WHERE conversation_id = c.id"  # noqa: S608
    "  AND seq <= d.seq ORDER BY seq DESC LIMIT 1) AS at"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS int[])) AS d (id, seq)"
    f" JOIN conversations c ON c.id = d.id WHERE {REACHED}"
)
SINCE = text(
    f"SELECT c.id, {MESSAGE} FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS int[])) AS d (id, seq)"  # noqa: S608
    " JOIN conversations c ON c.id = d.id CROSS JOIN LATERAL (SELECT * FROM messages"
    f"  WHERE conversation_id = d.id AND seq > d.seq ORDER BY seq LIMIT {MOST + 1}) AS m"
    " ORDER BY c.id, m.seq"
)
# What was said elsewhere since the latest message that is named.
ELSEWHERE = text(
    f"SELECT c.id, {MESSAGE} FROM messages m JOIN conversations c ON c.id = m.conversation_id"  # noqa: S608
    f" WHERE m.id >= :first AND m.created_at > :at AND m.account_id = :account AND {REACHED}"
    f" AND c.id <> ALL(CAST(:ids AS uuid[])) ORDER BY c.id, m.seq LIMIT {MOST + 1}"
)
BUSY = text(
    "SELECT conversation_id FROM runs WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"
    " AND state IN ('pending', 'running')"
)


@dataclass(frozen=True)
class Missed:
    """Messages in the order of time, `(conversation, row)`; up to where each conversation is told now.

    Not `whole`: there is more, and the history has it.
    """

    messages: Sequence[tuple[uuid.UUID, Row[Any]]]
    places: Mapping[uuid.UUID, int]
    busy: frozenset[uuid.UUID] = field(default=frozenset())
    whole: bool = True


def missed(session: Session, reach: Reach, after: Sequence[str]) -> Missed:
    """What was said after these messages, `<message id>` or `<conversation id>:<seq>`, in their
    conversations, and in others since the latest of them. Places that mean nothing, or somebody else's, are
    left out.
    """
    who = {
        "account": account_of(session),
        "contact": reach.contact_id,
        "conversation": reach.conversation_id,
    }
    named = _named(session, who, after)
    if not named:
        return Missed((), {})
    seqs = {conversation: seq for conversation, (seq, _) in named.items()}
    rows = list(session.execute(SINCE, {"ids": list(seqs), "seqs": list(seqs.values())}))
    instants = [at for _, at in named.values() if at is not None]
    if instants:
        latest = max(instants)
        elsewhere = {"first": first_id_of(latest - OVERLAP), "at": latest, "ids": list(seqs), **who}
        rows += session.execute(ELSEWHERE, elsewhere)
    shown = [row for _, group in groupby(rows, key=lambda row: row.id) for row in _until_held(list(group))]
    shown.sort(key=lambda row: (row.created_at, row.seq))
    for row in shown[:MOST]:
        seqs[row.id] = max(seqs.get(row.id, 0), row.seq)
    busy = frozenset(session.scalars(BUSY, {"ids": list(seqs)}))
    return Missed([(row.id, row) for row in shown[:MOST]], seqs, busy, whole=len(shown) <= MOST)


def _named(
    session: Session, who: Mapping[str, Any], after: Sequence[str]
) -> dict[uuid.UUID, tuple[int, Any]]:
    ids, places = [], {}
    for one in after:
        found = PLACE.fullmatch(one)
        try:
            given = uuid.UUID(found[1] if found else "")
        except ValueError:
            continue
        if found is None or found[2] is None:
            ids.append(given)
        else:
            places[given] = min(int(found[2]), 2**31 - 1)
    seen = list(session.execute(SEEN, {"ids": ids, **who})) if ids else []
    if places:
        seen += session.execute(PLACES, {"ids": list(places), "seqs": list(places.values()), **who})
    named: dict[uuid.UUID, tuple[int, Any]] = {}
    for row in seen:
        earlier = named.get(row.conversation_id)
        if earlier is None or row.seq > earlier[0]:
            named[row.conversation_id] = (row.seq, row.at)
    return named


def _until_held(rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Up to what nobody may see before it was annotated: that is told when it may be seen."""
    held = next((at for at, row in enumerate(rows) if row.pii_state == PiiState.BLOCKED), None)
    return rows[:held]
