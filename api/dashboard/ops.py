"""How the installation goes: what /metrics tells programs, in words and in one chart."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth import context_of
from api.dashboard.charts import LAYERS, runs_chart, strips
from api.dashboard.cookies import Visitor
from api.dashboard.rendering import page_for
from api.dashboard.views import instant
from api.dashboard.views_jobs import KINDS
from core import reports
from core.context import Context
from core.overviews import Going, how_it_goes
from core.publisher import QUEUES
from core.rows import database_now
from core.schedule.words import span
from core.vitals import Vitals, vitals
from models import JobKind

router = APIRouter()

FULL = 0.9  # of the connections
A_DAY = 86_400.0
LATE = 5.0  # seconds after which waiting is shown as trouble


@dataclass(frozen=True)
class Figure:
    name: str
    value: str
    words: str
    bad: bool = False


@router.get("/ops")
def show_ops(request: Request, visitor: Visitor) -> Response:
    context = context_of(request)
    with context.transaction() as session:
        work = reports.work_health(session)
        due, oldest = reports.due_deliveries(session)
        totals = reports.usage_totals(session)
        going = how_it_goes(session)
        began = time.monotonic()
        now = database_now(session)
        answered = time.monotonic() - began
        signs = vitals(session)
    queues = _queues(context)
    return page_for(
        visitor,
        "ops",
        "ops.html",
        healthy=work.healthy,
        figures=[
            *_work(work, going),
            *_broker(queues),
            *_database(signs, answered),
            *_rest(work, due, oldest),
            *_deletions(signs),
        ],
        queues=_ages(work, signs, queues, due, oldest),
        chart=runs_chart(going.hours),
        layers=[(layer, words) for layer, words, _ in LAYERS],
        classes=strips(going.hours),
        workers=[
            (one.name, one.runs, instant(one.latest, None) if one.latest else None) for one in going.workers
        ],
        jobs=[
            (KINDS.get(JobKind(kind), kind), count, _ago(now, oldest_job))
            for kind, (count, oldest_job) in going.jobs.items()
        ],
        totals=sorted((name.replace("_", " "), f"{count:,}") for name, count in totals.items()),
        flower=context.settings.flower_url,
        now=instant(now, None),
    )


def _queues(context: Context) -> dict[str, int] | None:
    """The length of every queue; None when the broker is away, after the first wait for it."""
    lengths = {}
    for queue in QUEUES:
        waiting = context.publisher.waiting(queue)
        if waiting is None:
            return None
        lengths[queue] = waiting
    return lengths


def _work(work: reports.WorkHealth, going: Going) -> list[Figure]:
    return [
        Figure(
            "Scheduler",
            _seconds(work.scheduler_lag_seconds),
            "behind the oldest task that is due" if work.scheduler_lag_seconds else "on time",
            work.scheduler_lag_seconds > LATE,
        ),
        Figure(
            "Runs that wait",
            f"{work.waiting:,}",
            f"the oldest for {_seconds(work.oldest_seconds)}" if work.waiting else "nothing waits",
            work.oldest_seconds > LATE,
        ),
        Figure("Runs under way", f"{going.running:,}", f"{going.retries:,} wait for another attempt"),
        Figure(
            "Served by poll workers",
            f"{work.polled:,}",
            "runs of the last five minutes, which nobody else took",
            work.polled > 0,
        ),
    ]


def _broker(queues: dict[str, int] | None) -> list[Figure]:
    if queues is None:
        return [Figure("Broker", "away", "poll workers serve what is due", bad=True)]
    words = ", ".join(f"{count:,} in {queue}" for queue, count in queues.items())
    return [Figure("Hints in the broker", f"{sum(queues.values()):,}", words)]


def _database(signs: Vitals, answered: float) -> list[Figure]:
    used = f"{signs.connections:,} of {signs.connections_max:,} connections"
    words = f"{used}, {signs.database_bytes / 1e6:,.0f} MB"
    bad = signs.connections > FULL * signs.connections_max
    return [Figure("Database", f"answers in {_seconds(answered)}", words, bad or answered > 1)]


def _deletions(signs: Vitals) -> list[Figure]:
    pending = signs.deletions
    words = f"the oldest for {_seconds(pending.oldest_seconds)}" if pending.waiting else "nothing waits"
    late = pending.oldest_seconds > A_DAY
    return [Figure("Deletions that wait", f"{pending.waiting:,}", words, late)]


def _ages(
    work: reports.WorkHealth, signs: Vitals, queues: dict[str, int] | None, due: int, oldest: float
) -> list[tuple[str, str, str, str]]:
    """(queue, what is due, how long the oldest waits, its hints in the broker)."""
    bulk = max((job.oldest_seconds for job in signs.jobs.values()), default=0.0)
    jobs = sum(job.waiting for job in signs.jobs.values())
    notes = work.annotations
    rows = [
        ("chat", f"{work.waiting:,} runs", work.oldest_seconds),
        ("chat", f"{due:,} deliveries", oldest),
        ("annotate", f"{notes.waiting:,} annotations", notes.oldest_seconds),
        ("bulk", f"{jobs:,} jobs", bulk),
    ]
    return [
        (name, words, _seconds(age), "–" if queues is None else f"{queues[name]:,}")
        for name, words, age in rows
    ]


def _rest(work: reports.WorkHealth, due: int, oldest: float) -> list[Figure]:
    annotations = work.annotations
    return [
        Figure(
            "Annotations that wait",
            f"{annotations.waiting:,}",
            f"{annotations.under_way:,} under way, {annotations.failed:,} given up",
            annotations.failed > 0,
        ),
        Figure(
            "Deliveries that wait",
            f"{due:,}",
            f"the oldest for {_seconds(oldest)}" if due else "nothing waits",
        ),
    ]


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    return f"{seconds:.1f} s" if seconds < 60 else span(timedelta(seconds=round(seconds)))


def _ago(now: datetime, at: datetime) -> str:
    return _seconds(max(0.0, (now - at).total_seconds()))
