"""Read-only questions about the whole installation: is work done, and what do the counters say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import Context
from core.database import translated
from core.rows import database_now
from models import first_id_of

OLDEST = text(
    "SELECT count(*) AS waiting, COALESCE(extract(epoch FROM now() - min(run_at)), 0)::float8 AS oldest"
    " FROM runs WHERE state = 'pending' AND run_at <= now()"
)
LAG = text(
    "SELECT GREATEST(COALESCE(extract(epoch FROM now() - min(next_run_at)), 0), 0)::float8 FROM task_clocks"
)
# Ids are UUIDv7, so "the last hour" is a range of the primary key: the cost follows the hour, not the table.
BY_STATE = text(
    "SELECT state, COALESCE(error_class, reason, '') AS class, count(*) AS runs FROM runs"
    " WHERE id >= :since GROUP BY 1, 2"
)
TOTALS = text(
    "SELECT COALESCE(sum(runs), 0)::bigint AS runs, COALESCE(sum(model_calls), 0)::bigint AS model_calls,"
    " COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,"
    " COALESCE(sum(output_tokens), 0)::bigint AS output_tokens FROM usage_days"
)
# Served by a poll worker: somebody else should have claimed them. Five minutes of the primary key.
POLLED = text("SELECT count(*) FROM runs WHERE id >= :since AND worker LIKE 'poll-%'")
STUCK_AFTER = 30.0
ANNOTATIONS = text(
    "SELECT count(*) FILTER (WHERE state <> 'failed') AS waiting,"
    " count(*) FILTER (WHERE state = 'failed') AS failed,"
    " COALESCE(extract(epoch FROM now() -"
    "  min(run_at) FILTER (WHERE state <> 'failed' AND run_at <= now())), 0)::float8 AS oldest,"
    " count(*) FILTER (WHERE state = 'running' AND lease_until > now()) AS under_way FROM annotations"
)
FOUND = text("SELECT kind, sum(count)::bigint AS found FROM pii_days GROUP BY kind")

DELIVERED = text(
    "SELECT event, state, count(*) AS deliveries FROM deliveries WHERE id >= :since GROUP BY 1, 2"
)
UNDELIVERED = text(
    "SELECT count(*) AS waiting, COALESCE(extract(epoch FROM now() - min(run_at)), 0)::float8 AS oldest"
    " FROM deliveries WHERE state IN ('pending', 'sending') AND run_at <= now()"
)


@dataclass(frozen=True)
class AnnotationHealth:
    """Messages that a worker is still to look at, those it has in its hands, and those it gave up; how many
    seconds the oldest due one waits.
    """

    waiting: int
    under_way: int
    failed: int
    oldest_seconds: float


@dataclass(frozen=True)
class WorkHealth:
    """Whether somebody serves the queue. Ages in seconds; `polled` counts the runs of the last five minutes
    that a poll worker had to serve: a broker or a consumer was away.
    """

    waiting: int
    oldest_seconds: float
    scheduler_lag_seconds: float
    polled: int
    annotations: AnnotationHealth

    @property
    def healthy(self) -> bool:
        """A backlog of annotations is no fault as long as somebody works on it."""
        nobody = 0.0 if self.annotations.under_way else self.annotations.oldest_seconds
        return max(self.oldest_seconds, self.scheduler_lag_seconds, nobody) < STUCK_AFTER


def work_health(session: Session) -> WorkHealth:
    """How long the oldest due row has waited, and how late the scheduler is."""
    row = session.execute(OLDEST).one()
    lag = session.execute(LAG).scalar_one()
    since = first_id_of(database_now(session) - timedelta(minutes=5))
    polled = session.execute(POLLED, {"since": since}).scalar_one()
    return WorkHealth(row.waiting, row.oldest, lag, polled, annotation_health(session))


def annotation_health(session: Session) -> AnnotationHealth:
    """How far workers are behind with what is to be annotated, over all accounts."""
    row = session.execute(ANNOTATIONS).one()
    return AnnotationHealth(row.waiting, row.under_way, row.failed, row.oldest)


def found_totals(session: Session) -> dict[str, int]:
    """How many entities were found since the beginning, by kind, over all accounts."""
    return {row.kind: row.found for row in session.execute(FOUND)}


def ready(context: Context) -> bool:
    """Whether the database answers and stands at this code's schema.

    Raises:
        Unavailable: the database is away.

    """
    from core.schema import is_current

    with translated():
        return is_current(context.engine)


def recent_runs(session: Session) -> list[tuple[str, str, int]]:
    """(state, error class or reason or "", count) of the runs created in the last hour, over all accounts."""
    since = first_id_of(database_now(session) - timedelta(hours=1))
    rows = session.execute(BY_STATE, {"since": since}).mappings()
    return [(row["state"], row["class"], row["runs"]) for row in rows]


def recent_deliveries(session: Session) -> list[tuple[str, str, int]]:
    """(event, state, count) of the deliveries announced in the last hour, over all accounts."""
    since = first_id_of(database_now(session) - timedelta(hours=1))
    rows = session.execute(DELIVERED, {"since": since})
    return [(row.event, row.state, row.deliveries) for row in rows]


def due_deliveries(session: Session) -> tuple[int, float]:
    """How many deliveries are due and wait, and for how many seconds the oldest does."""
    row = session.execute(UNDELIVERED).one()
    return row.waiting, row.oldest


def usage_totals(session: Session) -> dict[str, int]:
    """Runs, model calls and tokens since the beginning, over all accounts."""
    return dict(session.execute(TOTALS).mappings().one())
