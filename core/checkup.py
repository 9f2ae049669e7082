"""What `crontalk doctor` looks at: the invariants, and the surroundings that the promises rest on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import Context
from core.database import translated
from core.invariants import EVERYTHING, INVARIANTS, violations
from core.rows import database_now
from core.schema import is_current
from models import first_id_of

MOST_SKEW = 2.0
UNSERVED = 15.0
# A claim leaves a step; the runs of the last hour are the ones somebody would have claimed.
SERVICE = text(
    "SELECT extract(epoch FROM now() - min(run_at) FILTER (WHERE state = 'pending'"
    " AND run_at <= now()))::float8 AS waits,"
    " count(*) FILTER (WHERE state = 'running' AND lease_until > now()) AS held FROM runs"
    " WHERE state IN ('pending', 'running')"
)
CLAIMED = text(
    "SELECT EXISTS (SELECT FROM run_steps WHERE run_id >= :since AND step LIKE 'attempt.%'"
    " AND started_at > now() - interval '60 seconds')"
)


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: a name for programs, a sentence and advice for people."""

    name: str
    sentence: str
    advice: str
    count: int = 1
    sample: tuple[str, ...] = ()


def examine(context: Context, lookback: timedelta | None = None) -> list[Finding]:
    """Everything that is wrong, most basic first; empty when all is well.

    `lookback` limits what is searched to rows made within it; None searches every row.

    Raises:
        Unavailable: the database is away, or a question took longer than a minute.

    """
    with translated():
        current = is_current(context.engine)
    if not current:
        sentence = "The database's schema is not the one of this version."
        return [Finding("schema", sentence, "Run `crontalk migrate`, then ask again.")]
    with context.transaction() as session:
        session.execute(text("SET LOCAL transaction_read_only = on"))
        session.execute(text("SET LOCAL statement_timeout = '60s'"))
        since = first_id_of(database_now(session) - lookback) if lookback else EVERYTHING
        found = violations(session, since=since, attempts=context.settings.attempts, invariants=INVARIANTS)
        surroundings = [*_service(session), *_clocks(session), *_durability(session)]
    broken = [
        Finding(v.invariant.name, v.invariant.promise, v.invariant.advice, v.count, v.sample) for v in found
    ]
    return [*surroundings, *_broker(context), *broken]


def _service(session: Session) -> Iterator[Finding]:
    row = session.execute(SERVICE).one()
    since = first_id_of(database_now(session) - timedelta(hours=1))
    if (row.waits or 0) < UNSERVED or row.held or session.execute(CLAIMED, {"since": since}).scalar_one():
        return
    yield Finding(
        "no_worker",
        f"A run has been due for {row.waits:.0f} seconds and nobody has claimed any for a minute.",
        "Start `crontalk worker`, and `crontalk worker --poll` beside it.",
    )


def _clocks(session: Session) -> Iterator[Finding]:
    """The database's clock against this host's; half of the journey is the measurement's error."""
    before = time.time()
    theirs = session.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8")).scalar_one()
    after = time.time()
    skew = theirs - (before + after) / 2
    if abs(skew) - (after - before) / 2 > MOST_SKEW:
        side = "behind" if skew > 0 else "ahead of"
        yield Finding(
            "clock_skew",
            f"This host's clock is {abs(skew):.0f} seconds {side} the database's.",
            "Runs follow the database's clock and are safe; ids and logs made here are not in step. Use NTP.",
        )


def _durability(session: Session) -> Iterator[Finding]:
    if session.execute(text("SHOW synchronous_commit")).scalar_one() == "off":
        yield Finding(
            "synchronous_commit",
            "PostgreSQL answers before a commit is safe: a crash of the server can lose runs.",
            "Set synchronous_commit = on for this database.",
        )


def _broker(context: Context) -> Sequence[Finding]:
    if context.settings.redis_url is None or context.publisher.waiting("chat") is not None:
        return []
    sentence = "The broker does not answer; poll workers alone carry the load."
    return [Finding("broker", sentence, "Start Valkey or Redis, or correct REDIS_URL.")]
