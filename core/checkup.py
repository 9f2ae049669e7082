"""What `crontalk doctor` looks at: the invariants, and the surroundings that the promises rest on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import Context
from core.database import translated
from core.invariants import EVERYTHING, INVARIANTS, violations
from core.rows import database_now
from core.schedule.words import span
from core.schema import is_current, standing_of
from core.vitals import vitals
from models import first_id_of

MOST_SKEW = 2.0
UNSERVED = 15.0
# A claim leaves a step; the runs of the last hour are the ones somebody would have claimed.
SERVICE = text(
    "SELECT min(run_at) FILTER (WHERE state = 'pending' AND run_at <= now()) AS since,"
    " count(*) FILTER (WHERE state = 'running' AND lease_until > now()) AS held FROM runs"
    " WHERE state IN ('pending', 'running')"
)
CLAIMED = text(
    "SELECT EXISTS (SELECT FROM run_steps WHERE run_id >= :since AND step LIKE 'attempt.%'"
    " AND started_at > now() - interval '60 seconds')"
)
FIRED = text("SELECT min(next_run_at) FROM task_clocks WHERE next_run_at <= now()")
BULKY = 120.0


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: a name for programs, a sentence and advice for people, and since
    when, where that is known.
    """

    name: str
    sentence: str
    advice: str
    count: int = 1
    sample: tuple[str, ...] = ()
    since: datetime | None = None


def examine(context: Context, lookback: timedelta | None = None) -> list[Finding]:
    """Everything that is wrong, most basic first; empty when all is well.

    `lookback` limits what is searched to rows made within it; None searches every row.

    Raises:
        Unavailable: the database is away, or a question took longer than a minute.

    """
    other = _schema(context)
    if other:
        return other
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


def troubles(context: Context) -> list[Finding]:
    """The part of `examine` that costs nothing: schema, scheduler, workers, broker. For `crontalk status`.

    Raises:
        Unavailable: the database is away.

    """
    other = _schema(context)
    if other:
        return other
    with context.transaction() as session:
        served = list(_service(session))
    return [*served, *_broker(context)]


def _schema(context: Context) -> list[Finding]:
    with translated():
        if is_current(context.engine):
            return []
        theirs, ours, behind = standing_of(context.engine)
    if theirs is None:
        return [Finding("schema", "The database is empty.", "Run `crontalk migrate`, then ask again.")]
    sentence = f"The database's schema is not the one of this version: it stands at {theirs}, not at {ours}."
    advice = "Run `crontalk migrate`, then ask again."
    if not behind:
        advice = "A newer version has migrated it: install that version here."
    return [Finding("schema", sentence, advice)]


def _service(session: Session) -> Iterator[Finding]:
    """Whether somebody fires, claims and carries out what is due."""
    now = database_now(session)
    fired = session.execute(FIRED).scalar_one()
    if fired and (now - fired).total_seconds() >= UNSERVED:
        yield Finding(
            "no_scheduler",
            f"A task has been due for {_age(now, fired)} and no scheduler has fired it.",
            "Start `crontalk scheduler`; if one runs, its log says `turn_failed` or `clock_stands`.",
            since=fired,
        )
    yield from _claims(session, now)
    signs = vitals(session)
    overdue = max((job.oldest_seconds for job in signs.jobs.values()), default=0.0)
    if overdue >= BULKY:
        due = now - timedelta(seconds=overdue)
        yield Finding(
            "no_bulk_worker",
            f"A job has been due for {_age(now, due)} and no worker has taken it.",
            "Start `crontalk worker --queues annotate,bulk`.",
            since=due,
        )
    if signs.connections > 0.9 * signs.connections_max:
        yield Finding(
            "connections",
            f"PostgreSQL has {signs.connections} connections of {signs.connections_max}.",
            "Lower CRONTALK_POOL_SIZE or the number of processes, or raise max_connections.",
        )


def _claims(session: Session, now: datetime) -> Iterator[Finding]:
    row = session.execute(SERVICE).one()
    since = first_id_of(now - timedelta(hours=1))
    if row.since is None or (now - row.since).total_seconds() < UNSERVED or row.held:
        return
    if not session.execute(CLAIMED, {"since": since}).scalar_one():
        yield Finding(
            "no_worker",
            f"A run has been due for {_age(now, row.since)} and nobody has claimed any for a minute.",
            "Start `crontalk worker`, and `crontalk worker --poll` beside it. One that hangs: see its log.",
            since=row.since,
        )


def _age(now: datetime, since: datetime) -> str:
    return span(timedelta(seconds=round((now - since).total_seconds())))


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
    return [
        Finding("broker", sentence, "Start Valkey or Redis, or correct REDIS_URL; nothing is lost meanwhile.")
    ]
