"""`/metrics`: read from the rows at scrape time, so every process tells the same and none keeps counters.

Label sets are bounded: queues, states and classes of our own vocabulary; never a tenant, a task or a text.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from api.auth import Credentials, caller_of, context_of
from api.errors import ErrorAnswer
from core import reports
from core.context import Context
from core.errors import NotAuthenticated, Unavailable
from core.privacy.kinds import KINDS
from core.privacy.presets import DENIED
from core.publisher import QUEUES
from core.vitals import Backlog, Vitals, vitals
from models import ErrorClass, JobKind, Reason

router = APIRouter(tags=["metrics"])

CLASSES = frozenset({"", *Reason, *ErrorClass})

NONE = Backlog(0, 0.0)

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "All figures.", "content": {"text/plain": {"schema": {"type": "string"}}}},
    401: {"model": ErrorAnswer, "description": "No valid token, where one is needed."},
    403: {"model": ErrorAnswer, "description": "A token that may not read."},
    503: {"model": ErrorAnswer, "description": "The database is away."},
}


# Without a token too, where the API listens on loopback alone.
OPEN: dict[str, Any] = {"security": [{}]}


@router.get("/metrics", response_class=Response, responses=ANSWERS, openapi_extra=OPEN)
def metrics(request: Request, credentials: Credentials) -> Response:
    """Prometheus text. Open where the API listens on loopback alone; beyond it a token that may read."""
    context = context_of(request)
    if not is_loopback(context.settings.host):
        if credentials is None:
            raise NotAuthenticated("Metrics need a token where the API listens beyond loopback.")
        caller_of(context, credentials.credentials, "read")
    registry = CollectorRegistry(auto_describe=False)
    current = reports.ready(context)
    try:
        registry.register(_Figures(_read(context)))
    except Unavailable:
        if current:
            raise  # else the tables are not those we ask: what can be said then is that alone
    registry.register(_Standing(current))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class _Read:
    work: reports.WorkHealth
    runs: Counter[tuple[str, str]]
    deliveries: list[tuple[str, str, int]]
    undelivered: tuple[int, float]
    totals: dict[str, int]
    found: Counter[str]
    queues: dict[str, int]
    vitals: Vitals
    seconds: float
    high_water: int


class _Standing(Collector):
    """Whether the schema is this code's: told even where nothing else can be read."""

    def __init__(self, current: bool) -> None:
        self.current = current

    def collect(self) -> Iterator[Metric]:
        yield _gauge("schema_current", "Whether the schema is the one of this version.", float(self.current))


class _Figures(Collector):
    """One scrape's figures, read before the registry asks, so that an error is still an answer."""

    def __init__(self, read: _Read) -> None:
        self.read = read

    def collect(self) -> Iterator[Metric]:
        yield from _work(self.read.work)
        yield _labelled("hints_waiting", "Hints in the broker.", "queue", self.read.queues.items())
        most = [(queue, self.read.high_water) for queue in QUEUES]
        yield _labelled("hints_high_water", "Hints of a queue beyond which none is added.", "queue", most)
        yield _gauge("broker_up", "Whether the broker answers.", float(bool(self.read.queues)))
        yield from _database(self.read.vitals, self.read.seconds)
        yield from _backlogs(self.read.vitals)
        runs = GaugeMetricFamily(
            "crontalk_runs_last_hour", "Runs created in the last hour.", labels=["state", "class"]
        )
        for labels, count in sorted(self.read.runs.items()):
            runs.add_metric(list(labels), count)
        yield runs
        yield _labelled(
            "failed_share_last_hour", "Failed ones among those that ended.", "class", _shares(self.read.runs)
        )
        yield from _deliveries(self.read.deliveries, *self.read.undelivered)
        yield from _privacy(self.read.work.annotations, self.read.found)
        for name, count in sorted(self.read.totals.items()):
            words = name.replace("_", " ")
            yield CounterMetricFamily(f"crontalk_{name}", f"All {words} settled so far.", value=count)


def _read(context: Context) -> _Read:
    began = time.monotonic()
    with context.transaction() as session:
        runs: Counter[tuple[str, str]] = Counter()
        for state, cause, count in reports.recent_runs(session):
            runs[state, cause if cause in CLASSES else "other"] += count
        found: Counter[str] = Counter()
        for kind, count in reports.found_totals(session).items():
            # Kinds of a caller's own are words that somebody wrote.
            found[kind if kind in KINDS or kind == DENIED else "other"] += count
        work, totals = reports.work_health(session), reports.usage_totals(session)
        deliveries, undelivered = reports.recent_deliveries(session), reports.due_deliveries(session)
        signs = vitals(session)
    seconds = time.monotonic() - began
    high_water = context.settings.high_water
    return _Read(
        work, runs, deliveries, undelivered, totals, found, _queues(context), signs, seconds, high_water
    )


def _shares(runs: Counter[tuple[str, str]]) -> list[tuple[str, float]]:
    """(class, share) of what succeeded or failed."""
    ended = sum(count for (state, _), count in runs.items() if state in ("succeeded", "failed"))
    return [(cause, count / ended) for (state, cause), count in sorted(runs.items()) if state == "failed"]


def _queues(context: Context) -> dict[str, int]:
    """The length of every queue; nothing when the broker is away, after the first wait for it."""
    lengths: dict[str, int] = {}
    for queue in QUEUES:
        waiting = context.publisher.waiting(queue)
        if waiting is None:
            return {}
        lengths[queue] = waiting
    return lengths


def _work(work: reports.WorkHealth) -> Iterator[Metric]:
    yield _gauge("runs_due", "Pending runs whose time has come.", work.waiting)
    yield _gauge("oldest_due_run_seconds", "How long the oldest of them waits.", work.oldest_seconds)
    yield _gauge("scheduler_lag_seconds", "How late the oldest due clock is.", work.scheduler_lag_seconds)
    yield _gauge("runs_polled", "Runs of five minutes that poll workers had to take.", work.polled)


def _database(signs: Vitals, seconds: float) -> Iterator[Metric]:
    yield _gauge("database_seconds", "How long it took to read these figures.", seconds)
    yield _gauge("database_connections", "Connections that the server has.", signs.connections)
    yield _gauge("database_connections_max", "Connections that it allows.", signs.connections_max)
    yield _gauge("database_bytes", "The size of our database on disk.", signs.database_bytes)


def _backlogs(signs: Vitals) -> Iterator[Metric]:
    yield _gauge(
        "last_claim_seconds", "Since a worker last claimed a run, an hour at most.", signs.claim_seconds
    )
    yield _gauge("runs_retrying", "Runs that wait for another attempt.", signs.retries)
    yield _gauge("deletions_pending", "What is to be deleted and is still there.", signs.deletions.waiting)
    yield _gauge(
        "oldest_deletion_seconds", "How long the oldest of that waits.", signs.deletions.oldest_seconds
    )
    kinds = [(str(kind), signs.jobs.get(kind, NONE)) for kind in JobKind]
    yield _labelled("jobs_unfinished", "Jobs that work.", "kind", ((k, j.waiting) for k, j in kinds))
    yield _labelled(
        "oldest_due_job_seconds",
        "How long the oldest job is due and in nobody's hands.",
        "kind",
        ((k, j.oldest_seconds) for k, j in kinds),
    )
    yield _gauge(
        "subscriptions_failing", "Receivers that refused three times in a row.", signs.subscriptions_failing
    )
    yield _gauge("subscriptions_disabled", "Receivers given up.", signs.subscriptions_disabled)


def _privacy(work: reports.AnnotationHealth, found: Counter[str]) -> Iterator[Metric]:
    counted = CounterMetricFamily(
        "crontalk_pii_entities", "Entities of personal data found so far, by kind.", labels=["kind"]
    )
    for kind, count in sorted(found.items()):
        counted.add_metric([kind], count)
    yield counted
    yield _gauge("annotations_waiting", "Messages that a worker is still to look at.", work.waiting)
    yield _gauge("annotations_failed", "Messages that workers have given up.", work.failed)
    yield _gauge("oldest_due_annotation_seconds", "How long the oldest due one waits.", work.oldest_seconds)


def _deliveries(recent: Iterable[tuple[str, str, int]], due: int, oldest: float) -> Iterator[Metric]:
    told = GaugeMetricFamily(
        "crontalk_deliveries_last_hour",
        "Deliveries announced in the last hour, by what became of them.",
        labels=["event", "state"],
    )
    for event, state, count in sorted(recent):
        told.add_metric([event, state], count)
    yield told
    yield _gauge("deliveries_due", "Deliveries whose time has come.", due)
    yield _gauge("oldest_due_delivery_seconds", "How long the oldest of them waits.", oldest)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"crontalk_{name}", words, value=value)


def _labelled(name: str, words: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(f"crontalk_{name}", words, labels=[label])
    for key, value in values:
        family.add_metric([key], value)
    return family
