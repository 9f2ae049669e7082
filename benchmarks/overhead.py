"""What a run costs beside the model: from claim to settled, with the offline provider.

First through `core.turns.carry_out` alone, with several threads in one and in two processes; then through a
real Celery worker that the scheduler's own loop hints.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from benchmarks import firing, support
from benchmarks.workers import celery_worker, scheduling
from cli.local.servers import Servers
from core.context import Context, make_context
from core.settings import Settings
from core.turns import carry_out
from core.work import Leases

RUNS = 2_000
WARM_UP = 100


def pending_runs(context: Context, count: int) -> list[uuid.UUID]:
    firing.load(context, count)
    firing.fire_all(context, count)
    support.settle_down(context)
    with context.engine.connect() as connection:
        return list(connection.exec_driver_sql("SELECT id FROM runs ORDER BY id").scalars())


def serve(context: Context, runs: Sequence[uuid.UUID], threads: int) -> None:
    leases = Leases(context)
    with ThreadPoolExecutor(threads) as pool:
        outcomes = set(pool.map(lambda run: carry_out(context, leases, run, worker="bench"), runs))
    leases.close()
    assert outcomes == {"succeeded"}


def serve_in_process(
    settings: Settings, runs: Sequence[uuid.UUID], threads: int, start: Any, done: Any
) -> None:
    """One of several processes: warm up, wait for the others, tell the CPU seconds used."""
    context = make_context(settings, "bench")
    serve(context, runs[:WARM_UP], threads)
    start.wait()
    before = support.cpu_seconds()
    serve(context, runs[WARM_UP:], threads)
    done.put(support.cpu_seconds() - before)
    context.close()


def direct(both: Servers, processes: int, threads: int, count: int) -> tuple[float, float, float]:
    """(runs/s, our CPU ms per run, the database's CPU ms per run)."""
    spawn = multiprocessing.get_context("spawn")
    with support.fresh_context(both, pool_size=max(20, threads)) as context:
        runs = pending_runs(context, count + processes * WARM_UP)
        start, done = spawn.Barrier(processes + 1), spawn.Queue()
        workers = [
            spawn.Process(
                target=serve_in_process, args=(context.settings, runs[n::processes], threads, start, done)
            )
            for n in range(processes)
        ]
        for worker in workers:
            worker.start()
        start.wait()
        began, database = time.perf_counter(), support.server_cpu_seconds()
        used = sum(done.get() for _ in workers)
        seconds = time.perf_counter() - began
        database = support.server_cpu_seconds() - database
        for worker in workers:
            worker.join()
    return count / seconds, used / count * 1000, database / count * 1000


def through_celery(both: Servers, threads: int, count: int) -> tuple[float, float, float]:
    """The same through a worker process of Celery's, hinted by the scheduler's loop."""
    with support.fresh_context(both) as context, celery_worker(context.settings, threads) as worker:
        pending_runs(context, count)
        before = worker_cpu(worker)
        database = support.server_cpu_seconds()
        began = time.perf_counter()
        with scheduling(context):
            support.wait_for(context, count)
        seconds = time.perf_counter() - began
        database = support.server_cpu_seconds() - database
        return count / seconds, (worker_cpu(worker) - before) / count * 1000, database / count * 1000


def worker_cpu(worker: psutil.Process) -> float:
    used = worker.cpu_times()
    return float(used.user + used.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    options, _ = parser.parse_known_args()
    rows = []
    with support.servers() as both:
        for processes, threads in ((1, 1), (1, 4), (1, 16), (2, 4), (2, 8)):
            figures = direct(both, processes, threads, options.runs)
            rows.append((f"carry_out, {processes} × {threads} threads", *figures))
        rows += [
            (f"Celery worker, {threads} threads", *through_celery(both, threads, options.runs))
            for threads in (8, 32)
        ]
    support.show(
        f"{options.runs:,} runs from claim to settled, offline model, fsync on",
        ("how", "runs/s", "CPU ms per run", "+ PostgreSQL and Valkey, ms"),
        [(name, f"{rate:,.0f}", f"{cpu:.1f}", f"{database:.1f}") for name, rate, cpu, database in rows],
    )


if __name__ == "__main__":
    main()
