"""What an account has used, as its owner is told: in all, by day, by bot (contract section 6)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import account_of
from core.rows import MetaFilter
from core.schedule import read_instant

SERIES_DAYS = 90
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, tzinfo=UTC)

TOTALS = text(
    "SELECT COALESCE(sum(input_tokens + output_tokens), 0)::bigint AS tokens,"
    " COALESCE(sum(conversations), 0)::bigint AS conversations,"
    " COALESCE(sum(messages), 0)::bigint AS messages FROM usage_days WHERE account_id = :account"
)
KEPT = text(
    "SELECT (SELECT count(*) FROM datasets WHERE account_id = :account) AS datasets,"
    " (SELECT count(*) FROM records WHERE account_id = :account) AS records,"
    " (SELECT count(*) FROM skillsets WHERE account_id = :account) AS skillsets,"
    " (SELECT count(*) FROM abilities WHERE account_id = :account) AS abilities"
)
BY_DAY = text(
    "SELECT CAST(d.day AS date) AS day, COALESCE(sum(u.input_tokens + u.output_tokens), 0)::bigint AS tokens,"
    " COALESCE(sum(u.conversations), 0)::bigint AS conversations,"
    " COALESCE(sum(u.messages), 0)::bigint AS messages"
    " FROM generate_series(current_date - CAST(:back AS int), current_date, interval '1 day') AS d (day)"
    " LEFT JOIN usage_days u ON u.account_id = :account AND u.day = d.day GROUP BY d.day ORDER BY d.day"
)
# A day says one to three things. Each that is looked at says one at least, so a page is full or the last.
ITEMS = (
    "SELECT days.day, said.place, said.type, said.count FROM (SELECT day,"
    "   sum(input_tokens + output_tokens)::bigint AS tokens, sum(conversations)::bigint AS conversations,"
    "   sum(messages)::bigint AS messages FROM usage_days"
    "  WHERE account_id = :account AND day {reaches} :day GROUP BY day"
    "  HAVING sum(input_tokens + output_tokens + conversations + messages) > 0"
    "  ORDER BY day {order} LIMIT :take + 1) AS days"
    " CROSS JOIN LATERAL (VALUES (1, 'conversation', conversations), (2, 'message', messages),"
    "  (3, 'token', tokens)) AS said (place, type, count)"
    " WHERE said.count > 0 AND (days.day, said.place) {beyond} (:day, :place)"
    " ORDER BY days.day {order}, said.place {order} LIMIT :take"
)
DOWNWARD = text(ITEMS.format(reaches="<=", beyond="<", order="DESC"))
UPWARD = text(ITEMS.format(reaches=">=", beyond=">", order="ASC"))
BY_BOT = text(
    "SELECT (SELECT count(*) FROM conversations c WHERE c.bot_id = :bot"
    "  AND c.created_at >= :since AND c.created_at < :until) AS conversations,"
    " (SELECT count(*) FROM conversations c JOIN messages m ON m.conversation_id = c.id"
    "  WHERE c.bot_id = :bot AND m.created_at >= :since AND m.created_at < :until) AS messages,"
    " (SELECT COALESCE(sum(r.input_tokens + r.output_tokens), 0)::bigint FROM conversations c"
    "  JOIN runs r ON r.conversation_id = c.id"
    "  WHERE c.bot_id = :bot AND r.created_at >= :since AND r.created_at < :until) AS tokens"
)


@dataclass(frozen=True)
class Span:
    """From an instant up to another, which does not belong to it."""

    since: datetime = BEGINNING
    until: datetime = END


@dataclass(frozen=True)
class UsedItem:
    """How many tokens, conversations or messages a UTC day saw; the id tells the day and the type."""

    id: uuid.UUID
    day: date
    type: str
    count: int


def read_span(since: str, until: str) -> Span:
    """Two dates or times, UTC without an offset; a date's whole day belongs to the span, nothing is no bound.

    Raises:
        InvalidInput: something else.

    """
    first = read_instant(since, None) if since.strip() else BEGINNING
    last = read_instant(until, None) if until.strip() else END
    if len(until.strip()) == len("2030-12-25") and last < END:
        last += timedelta(days=1)
    return Span(first, last)


def used(session: Session) -> dict[str, int]:
    """Tokens, conversations and messages of the account since it began."""
    return dict(session.execute(TOTALS, {"account": account_of(session)}).mappings().one())


def kept(session: Session) -> dict[str, int]:
    """How many datasets, records, skillsets and abilities the account has."""
    return dict(session.execute(KEPT, {"account": account_of(session)}).mappings().one())


def used_by_day(session: Session) -> list[tuple[datetime, dict[str, int]]]:
    """The last 90 UTC days, today the last of them: midnight, and what was used until the next."""
    values = {"account": account_of(session), "back": SERIES_DAYS - 1}
    return [
        (_midnight(row["day"]), {name: row[name] for name in ("tokens", "conversations", "messages")})
        for row in session.execute(BY_DAY, values).mappings()
    ]


def list_used(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[UsedItem]:
    """What each day saw, newest first or `ascending`. It has no meta."""
    if meta:
        return []
    day, place = _place_of(before, ascending=ascending)
    values = {"account": account_of(session), "take": take, "day": day, "place": place}
    found = session.execute(UPWARD if ascending else DOWNWARD, values).mappings()
    return [
        UsedItem(_id_of(row["day"], row["place"]), row["day"], row["type"], row["count"]) for row in found
    ]


def used_by_bot(session: Session, bot_id: uuid.UUID, span: Span) -> dict[str, int]:
    """What the bot's conversations came to within a span, those that are still there."""
    values = {"bot": bot_id, "since": span.since, "until": span.until}
    return dict(session.execute(BY_BOT, values).mappings().one())


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _id_of(day: date, place: int) -> uuid.UUID:
    return uuid.UUID(int=(int(_midnight(day).timestamp() * 1000) << 80) | place)


def _place_of(cursor: uuid.UUID | None, *, ascending: bool) -> tuple[date, int]:
    """The day and the place within it that an id tells, the nearest there is for an id of something else."""
    if cursor is None:
        return (date(1970, 1, 1), 0) if ascending else (END.date(), 0)
    try:
        day = datetime.fromtimestamp((cursor.int >> 80) / 1000, UTC).date()
    except (ValueError, OverflowError, OSError):
        return END.date(), 4
    return day, min(cursor.int & (2**80 - 1), 4)
