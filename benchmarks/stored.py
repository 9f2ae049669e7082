"""A million stored tasks of which none is due: what a scheduler costs that has nothing to do.

A real scheduler process beside them, and the loop's own steps timed in this one: the turn it takes every
fifth of a second, and what it tends every second. The floor is a query that asks for nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import psutil
from sqlalchemy import event, text

from benchmarks import firing, support
from benchmarks.workers import scheduler_process
from cli.local.servers import Servers
from core.context import Context
from core.firing import fire_besides_the_crowd
from core.work import reap
from scheduler.loop import turn

TASKS = 1_000_000
SECONDS = 30.0
ASKED = 200


def milliseconds(step: Callable[[], Any], times: int = ASKED) -> list[float]:
    spans = []
    for _ in range(times):
        began = time.perf_counter()
        step()
        spans.append((time.perf_counter() - began) * 1000)
    return spans


def nothing(context: Context) -> None:
    with context.transaction() as session:
        session.execute(text("SELECT 1"))


@contextmanager
def counted(context: Context) -> Any:
    """How many statements the block sends."""
    sent = []
    listener = lambda *given: sent.append(given[2])  # noqa: E731 (SQLAlchemy takes any callable)
    event.listen(context.engine, "before_cursor_execute", listener)
    yield sent
    event.remove(context.engine, "before_cursor_execute", listener)


def transactions(context: Context) -> int:
    query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    return int(support.execute(context, query))


def idle(context: Context, seconds: float) -> dict[str, float]:
    """A real scheduler process for some seconds of nothing to do."""
    with scheduler_process(context.settings) as process:
        time.sleep(5)
        cpu, database, before = own_cpu(process), support.server_cpu_seconds(), transactions(context)
        began = time.perf_counter()
        time.sleep(seconds)
        passed = time.perf_counter() - began
        time.sleep(1.5)  # a backend reports its counts once a second
        after = transactions(context)
        return {
            "process_rss_mb": process.memory_info().rss / 2**20,
            "process_cpu_share": (own_cpu(process) - cpu) / (passed + 1.5),
            "servers_cpu_share": (support.server_cpu_seconds() - database) / (passed + 1.5),
            "transactions_per_second": (after - before - 1) / (passed + 1.5),
        }


def own_cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def measure(both: Servers, tasks: int, seconds: float) -> dict[str, float]:
    with support.fresh_context(both) as context:
        began = time.perf_counter()
        firing.store(context, both, tasks, due="now() + interval '1 day' + random() * interval '30 days'")
        stored = time.perf_counter() - began
        figures = idle(context, seconds)
        turn(context)
        with counted(context) as in_a_turn:
            turn(context)
        with counted(context) as in_a_tending:
            reap(context)
            fire_besides_the_crowd(context)
        for name, step in {
            "floor": lambda: nothing(context),
            "turn": lambda: turn(context),
            "tending": lambda: (reap(context), fire_besides_the_crowd(context)),
        }.items():
            spans = milliseconds(step)
            figures |= {
                f"{name}_p50_ms": support.median(spans),
                f"{name}_p99_ms": support.percentile(spans, 0.99),
            }
        tick = context.settings.tick.total_seconds()
        figures["statements_in_a_turn"] = len(in_a_turn)
        figures["statements_in_a_tending"] = len(in_a_tending)
        figures["statements_per_second"] = len(in_a_turn) / tick + len(in_a_tending)
        figures["stored_in_s"] = stored
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = support.options(parser)
    with support.servers() as both:
        f = measure(both, options.tasks, options.seconds)
    rows = [
        ("a turn (every 200 ms)", f"{f['turn_p50_ms']:.2f}", f"{f['turn_p99_ms']:.2f}", "< 5 ms"),
        (
            "reap and look for a crowd (every second)",
            f"{f['tending_p50_ms']:.2f}",
            f"{f['tending_p99_ms']:.2f}",
            "",
        ),
        (
            "a transaction that asks for nothing",
            f"{f['floor_p50_ms']:.2f}",
            f"{f['floor_p99_ms']:.2f}",
            "floor",
        ),
    ]
    title = f"{options.tasks:,} stored tasks, none due"
    support.show(title, ("step", "p50 ms", "p99 ms", "goal"), rows)
    support.show(
        f"{title}: a real scheduler process for {options.seconds:g} s",
        ("what", "measured", "goal"),
        [
            ("RSS", f"{f['process_rss_mb']:.0f} MB", "< 150 MB"),
            ("CPU of the process", f"{f['process_cpu_share']:.1%} of a core", ""),
            ("CPU of PostgreSQL and Valkey", f"{f['servers_cpu_share']:.1%} of a core", ""),
            ("transactions per second", f"{f['transactions_per_second']:.1f}", ""),
            ("statements per second, by the loop's steps", f"{f['statements_per_second']:.0f}", ""),
        ],
    )
    support.write("stored", options, f)


if __name__ == "__main__":
    main()
