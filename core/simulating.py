"""Simulating: what a rule of retention would do now, and what will come of age soon. Changes nothing.

It asks with the very selections that the rule's jobs are made of, so the two cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.retention import selections_of
from core.rows import database_now
from core.selection import NAMED, PATIENCE, Selection, What
from models import JobKind, RetentionRule

AHEAD = timedelta(days=30)
LAST = "COALESCE(c.last_message_at, c.created_at)"


@dataclass(frozen=True)
class Tally:
    """What a selection comes to. `oldest`: the age that decides, of the oldest of it."""

    conversations: int
    messages: int
    oldest: datetime | None
    held_conversations: int = 0
    held_messages: int = 0


@dataclass(frozen=True)
class Forecast:
    """What a rule does now, and within AHEAD from now if nothing more is said, by what it does."""

    rule: RetentionRule
    now: dict[JobKind, Tally]
    ahead: dict[JobKind, Tally]


def simulate(session: Session, rule: RetentionRule) -> Forecast:
    """What a rule would do, stored or only drafted. Other rules count as they are stored.

    Raises:
        Unavailable: counting takes too long.

    """
    session.execute(text(PATIENCE))
    now = database_now(session)
    return Forecast(
        rule,
        {kind: _tally(session, one) for kind, one in selections_of(rule, now).items()},
        {kind: _tally(session, one) for kind, one in selections_of(rule, now, now + AHEAD).items()},
    )


def _tally(session: Session, selection: Selection) -> Tally:
    free, held = (_counted(session, replace(selection, held=back)) for back in (False, True))
    return replace(free, held_conversations=held.conversations, held_messages=held.messages)


def _counted(session: Session, selection: Selection) -> Tally:
    values = selection.values(session.info["account"])
    row = session.execute(text(_query(selection)), values).one()
    return Tally(row.conversations, int(row.messages), row.oldest)


def _query(selection: Selection) -> str:
    if selection.what is What.MESSAGES:
        return (
            "SELECT count(DISTINCT conversation_id) AS conversations, count(*) AS messages,"  # noqa: S608 (constants)
            f" min(created_at) AS oldest FROM ({selection.source()}) AS it"
        )
    still = f" AND {NAMED[What.MESSAGES]}" if "named" in selection.filter else ""
    return (
        f"SELECT count(*) AS conversations, COALESCE(sum(of.messages), 0) AS messages, min({LAST}) AS oldest"  # noqa: S608 (constants)
        " FROM conversations c CROSS JOIN LATERAL (SELECT count(*) AS messages FROM messages m"
        f"  WHERE m.conversation_id = c.id{still}) AS of WHERE {selection.of_conversations()}"
    )
