"""Read-only questions of whoever is on call: is the database at ease, who claims, what deletion waits.

Over the whole installation, and each bounded: a partial index, an hour of the primary key, or a small table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.holds import NOT_HELD
from core.rows import database_now
from models import SLICED, first_id_of

AN_HOUR = 3600.0
DATABASE = text(
    "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,"
    " current_setting('max_connections')::int AS most, pg_database_size(current_database()) AS bytes"
)
# Of the last hour's runs, and of what is held now however old it is: so a backlog of a day is seen as served.
CLAIMED = text(
    "SELECT extract(epoch FROM now() - GREATEST("
    " (SELECT max(started_at) FROM run_steps WHERE run_id >= :since AND step LIKE 'attempt.%'),"
    " (SELECT max(started_at) FROM runs WHERE state = 'running' AND lease_until > now())))::float8"
)
RETRIES = text("SELECT count(*) FROM runs WHERE state = 'pending' AND attempt > 0")
# Paused ones too: whoever asked for a deletion was promised it.
DELETIONS = text(
    "SELECT count(*) AS waiting, COALESCE(extract(epoch FROM now() - min(since)), 0)::float8 AS oldest FROM ("  # noqa: S608 (a constant)
    " SELECT created_at AS since FROM jobs WHERE kind IN ('delete', 'anonymise')"
    "  AND state IN ('pending', 'running', 'paused')"
    f" UNION ALL SELECT c.expires_at FROM conversations c WHERE c.expires_at <= now() AND {NOT_HELD}"
    " UNION ALL SELECT due_at FROM blob_leftovers WHERE due_at <= now()) AS pending"
)
JOBS = text(
    "SELECT kind, count(*) AS unfinished,"
    " COALESCE(extract(epoch FROM now() - min(run_at) FILTER (WHERE run_at <= now()"
    " AND kind = ANY(CAST(:sliced AS text[])))), 0)::float8 AS oldest"
    " FROM jobs WHERE state IN ('pending', 'running') GROUP BY kind"
)
FAILING = text(
    "SELECT count(*) FILTER (WHERE state = 'active' AND consecutive_failures >= 3) AS failing,"
    " count(*) FILTER (WHERE disabled_reason IN ('gone', 'failing')) AS disabled FROM subscriptions"
)


@dataclass(frozen=True)
class Backlog:
    """How many wait, and for how many seconds the oldest does."""

    waiting: int
    oldest_seconds: float


@dataclass(frozen=True)
class Vitals:
    """`claim_seconds`: since the last claim; an hour where there was none for longer. `jobs`: those that have
    not ended and are not paused, by kind; the age is since they were due and in nobody's hands.
    """

    connections: int
    connections_max: int
    database_bytes: int
    claim_seconds: float
    retries: int
    deletions: Backlog
    jobs: dict[str, Backlog]
    subscriptions_failing: int
    subscriptions_disabled: int


def vitals(session: Session) -> Vitals:
    """All of them, over all accounts."""
    database = session.execute(DATABASE).one()
    since = first_id_of(database_now(session) - timedelta(seconds=AN_HOUR))
    claimed = session.execute(CLAIMED, {"since": since}).scalar_one()
    told = session.execute(FAILING).one()
    deletions = session.execute(DELETIONS).one()
    jobs = session.execute(JOBS, {"sliced": list(SLICED)})
    return Vitals(
        connections=database.used,
        connections_max=database.most,
        database_bytes=database.bytes,
        claim_seconds=AN_HOUR if claimed is None else max(0.0, min(claimed, AN_HOUR)),
        retries=session.execute(RETRIES).scalar_one(),
        deletions=Backlog(deletions.waiting, deletions.oldest),
        jobs={row.kind: Backlog(row.unfinished, row.oldest) for row in jobs},
        subscriptions_failing=told.failing,
        subscriptions_disabled=told.disabled,
    )
