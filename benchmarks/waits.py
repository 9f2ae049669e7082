"""500 model calls at once in one worker process: waiting costs memory, not slots."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from itertools import accumulate

import psutil

from benchmarks import firing, support
from benchmarks.workers import celery_worker, scheduling
from cli.local.servers import Servers
from core.context import Context

WAITS = 500
# Long enough that the last run is claimed before the first one ends.
LATENCY = 5.0


@dataclass(frozen=True)
class Figures:
    """Seconds and megabytes."""

    settled: float
    p50: float
    p99: float
    at_once: int
    idle: float
    height: float


def measure(both: Servers, waits: int, latency: float) -> Figures:
    with (
        support.fresh_context(both, high_water=2 * waits) as context,
        celery_worker(context.settings, waits) as worker,
    ):
        firing.load(context, waits)
        support.execute(context, f"UPDATE bots SET model = 'offline/latency={latency:g}'")
        firing.fire_all(context, waits)
        idle = megabytes(worker)
        height = [idle]
        began = time.perf_counter()
        with scheduling(context):
            support.wait_for(context, waits, meanwhile=lambda: height.append(megabytes(worker)))
        seconds = time.perf_counter() - began
        spans = spans_of(context)
    lengths = [end - start for start, end in spans]
    return Figures(
        seconds,
        support.median(lengths),
        support.percentile(lengths, 0.99),
        most_at_once(spans),
        idle,
        max(height),
    )


def spans_of(context: Context) -> list[tuple[float, float]]:
    """When each call to the model began and its run was settled."""
    query = (
        "SELECT extract(epoch FROM s.started_at)::float8, extract(epoch FROM r.finished_at)::float8"
        " FROM run_steps s JOIN runs r ON r.id = s.run_id WHERE s.step = 'model.1'"
    )
    with context.engine.connect() as connection:
        return [(start, end) for start, end in connection.exec_driver_sql(query)]


def most_at_once(spans: list[tuple[float, float]]) -> int:
    changes = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    return max(accumulate(change for _, change in changes))


def megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waits", type=int, default=WAITS)
    parser.add_argument("--latency", type=float, default=LATENCY)
    parser.add_argument("--repeat", type=int, default=3)
    options, _ = parser.parse_known_args()
    with support.servers() as both:
        runs = [measure(both, options.waits, options.latency) for _ in range(options.repeat)]
    support.show(
        f"{options.waits} runs of a model that takes {options.latency:g} s, one worker process",
        (
            "run",
            "all settled after s",
            "call → settled p50 s",
            "p99 s",
            "at once",
            "RSS idle MB",
            "at most MB",
        ),
        [
            (n, *(f"{f:.2f}" for f in (r.settled, r.p50, r.p99)), r.at_once, round(r.idle), round(r.height))
            for n, r in enumerate(runs, 1)
        ],
    )


if __name__ == "__main__":
    main()
