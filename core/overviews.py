"""Read-only questions that pages ask beside the reports: what ran in a conversation, how tasks fare, how the
installation goes. Bounded: each reads so many rows of an index at most.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.context import account_of, settings_of
from core.explain import Upcoming, upcoming
from core.rows import database_now
from core.schedule import check_future, check_minimum, next_after, parse, preview
from core.search import TooLong, briefly
from models import Conversation, Run, RunStep, first_id_of

STEPS = 200  # of all runs that a page shows
STRIP = 24
HOURS = 24
OUTCOMES = text(
    "SELECT asked.id AS task_id, r.id, r.state, COALESCE(r.error_class, r.reason) AS why,"
    " COALESCE(r.scheduled_for, r.created_at) AS at FROM unnest(CAST(:ids AS uuid[])) AS asked (id)"
    " CROSS JOIN LATERAL (SELECT * FROM runs WHERE task_id = asked.id AND account_id = :account"
    "  ORDER BY id DESC LIMIT :take) AS r ORDER BY r.id"
)
SIZE = text(
    "SELECT (SELECT count(*) FROM messages WHERE conversation_id = :id) AS messages,"
    " (SELECT count(*) FROM attachments WHERE conversation_id = :id) AS attachments"
)
TIME = 1500  # milliseconds
# A range of the primary key, which is in the order of time.
BY_HOUR = text(
    "SELECT CAST(extract(epoch FROM date_trunc('hour', created_at)) AS bigint) AS hour, state,"
    " COALESCE(error_class, '') AS class, count(*) AS runs FROM runs WHERE id >= :since GROUP BY 1, 2, 3"
)
WORKERS = text(
    "SELECT worker, count(*) AS runs, max(started_at) AS latest FROM runs WHERE id >= :since"
    " AND worker IS NOT NULL GROUP BY worker ORDER BY max(started_at) DESC NULLS LAST LIMIT 50"
)
WORK = text(
    "SELECT count(*) FILTER (WHERE state = 'pending' AND attempt > 0) AS retries,"
    " count(*) FILTER (WHERE state = 'running') AS running FROM runs WHERE state IN ('pending', 'running')"
)
JOBS_DUE = text(
    "SELECT kind, count(*) AS jobs, min(created_at) AS oldest FROM jobs"
    " WHERE state IN ('pending', 'running') GROUP BY kind ORDER BY kind"
)


@dataclass(frozen=True)
class Outcome:
    """What came of one occurrence of a task."""

    id: uuid.UUID
    state: str
    why: str | None
    at: datetime


@dataclass(frozen=True)
class Hour:
    """How many runs were begun in an hour, by state; and those that failed, by class."""

    begin: datetime
    runs: Mapping[str, int]
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Worker:
    """A worker that claimed something in the last hour."""

    name: str
    runs: int
    latest: datetime | None


@dataclass(frozen=True)
class Going:
    """How the installation goes, over all accounts. `hours` is empty where counting them takes too long."""

    hours: tuple[Hour, ...]
    classes: Mapping[str, int]
    workers: tuple[Worker, ...]
    running: int
    retries: int
    jobs: Mapping[str, tuple[int, datetime]]


def runs_in(
    session: Session, conversation: Conversation, take: int = 10
) -> tuple[list[Run], dict[uuid.UUID, list[RunStep]]]:
    """The latest runs in a conversation of the account's, newest first, and the steps of each."""
    mine = select(Run).where(Run.conversation_id == conversation.id, Run.account_id == account_of(session))
    runs = list(session.scalars(mine.order_by(Run.id.desc()).limit(take)))
    steps: dict[uuid.UUID, list[RunStep]] = {run.id: [] for run in runs}
    query = select(RunStep).where(RunStep.run_id.in_(steps)).order_by(RunStep.started_at, RunStep.step)
    for step in session.scalars(query.limit(STEPS)) if runs else ():
        steps[step.run_id].append(step)
    return runs, steps


def size_of(session: Session, conversation: Conversation) -> tuple[int, int]:
    """How many messages and attachments a conversation of the account's holds."""
    row = session.execute(SIZE, {"id": conversation.id}).one()
    return row.messages, row.attachments


def outcomes_of(
    session: Session, task_ids: Sequence[uuid.UUID], take: int = STRIP
) -> dict[uuid.UUID, list[Outcome]]:
    """What came of the latest occurrences of these tasks of the account's, oldest first."""
    found: dict[uuid.UUID, list[Outcome]] = {one: [] for one in task_ids}
    if found:
        values = {"ids": list(task_ids), "account": account_of(session), "take": take}
        for row in session.execute(OUTCOMES, values):
            found[row.task_id].append(Outcome(row.id, row.state, row.why, row.at))
    return found


def preview_schedule(session: Session, words: str, zone: str | None, count: int = 10) -> list[Upcoming]:
    """When a schedule that is being written would be due next.

    Raises:
        InvalidInput: it is none, can never fire or fires too often; or the zone is unknown.

    """
    schedule, now = parse(words, zone), database_now(session)
    check_future(schedule, now)
    check_minimum(schedule, settings_of(session).minimum_interval)
    first = next_after(schedule, now)
    instants = [] if first is None else [first, *preview(schedule, first, count - 1)]
    return upcoming(session, instants, zone)


def how_it_goes(session: Session) -> Going:
    """The figures of the operations page that a scrape of the metrics does not read."""
    now = database_now(session)
    counted: dict[datetime, dict[str, int]] = {}
    classes: dict[str, int] = {}
    failed: dict[datetime, dict[str, int]] = {}
    begin = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    for hour, state, why, runs in _by_hour(session, begin):
        at = datetime.fromtimestamp(hour, begin.tzinfo)
        states = counted.setdefault(at, {})
        states[state] = states.get(state, 0) + runs
        if state == "failed":
            classes[why] = classes.get(why, 0) + runs
            failed.setdefault(at, {})[why] = runs
    hours = [begin + timedelta(hours=n) for n in range(HOURS)]
    workers = session.execute(WORKERS, {"since": first_id_of(now - timedelta(hours=1))})
    work = session.execute(WORK).one()
    jobs = session.execute(JOBS_DUE)
    return Going(
        hours=tuple(Hour(at, counted.get(at, {}), failed.get(at, {})) for at in hours),
        classes=dict(sorted(classes.items(), key=lambda item: -item[1])),
        workers=tuple(Worker(row.worker, row.runs, row.latest) for row in workers),
        running=work.running,
        retries=work.retries,
        jobs={row.kind: (row.jobs, row.oldest) for row in jobs},
    )


def _by_hour(session: Session, begin: datetime) -> list[tuple[int, str, str, int]]:
    try:
        with briefly(session, TIME):
            rows = session.execute(BY_HOUR, {"since": first_id_of(begin)}).all()
    except TooLong:
        return []
    return [(row.hour, row.state, row[2], row.runs) for row in rows]
