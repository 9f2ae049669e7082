"""How the installation goes: what /metrics tells programs, in words and in one chart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth import context_of
from api.dashboard.charts import LAYERS, runs_chart
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
from models import JobKind

router = APIRouter()

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
        now = database_now(session)
    queues = _queues(context)
    return page_for(
        visitor,
        "ops",
        "ops.html",
        healthy=work.healthy,
        figures=[*_work(work, going), *_broker(queues), *_rest(work, due, oldest)],
        chart=runs_chart(going.hours),
        layers=[(layer, words) for layer, words, _ in LAYERS],
        classes=list(going.classes.items()),
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
