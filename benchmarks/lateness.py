"""Lateness: from the instant a task is scheduled for to the commit of its run, by a real scheduler process.

Due times are drawn at random over the minutes, so many a minute; then a burst, all due in one instant. Every
task fires once, under the schedules people write. No worker runs: runs pile up, as they do before a slow
model. PostgreSQL itself says when each transaction was committed (track_commit_timestamp).

The floor, in the same run on the same server: a bare loop over SQL alone, which claims, computes the next
instant with croniter (memoised), moves the clock and inserts one narrow row, and sleeps as ours does.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg

from benchmarks import firing, support
from benchmarks.workers import scheduler_process
from cli.local.servers import Servers
from core.context import Context

RATES = (10_000, 100_000)
GOALS = {10_000: "p99 ≤ 50 ms", 100_000: "p99 ≤ 250 ms"}
BURST = 10_000
LEAD = 12  # seconds to start a process in, before the first task is due
PATIENCE = 120.0

OURS = (
    "SELECT extract(epoch FROM pg_xact_commit_timestamp(c.xmin) - r.scheduled_for)::float8"
    " FROM runs r JOIN conversations c ON c.run_id = r.id"
)
BARE = "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - at)::float8 FROM bare_runs"


@dataclass(frozen=True)
class Lateness:
    """Milliseconds, and what it cost."""

    p50: float
    p95: float
    p99: float
    max: float
    cpu_share: float

    @classmethod
    def of(cls, seconds: list[float], cpu_share: float) -> Lateness:
        late = [1000 * one for one in seconds]
        return cls(*(support.percentile(late, share) for share in (0.5, 0.95, 0.99, 1)), cpu_share)


def load(context: Context, both: Servers, count: int, minutes: float) -> None:
    """`count` tasks due over so many minutes (0: at one instant), the first of them in a few seconds."""
    spread = f"random() * {60 * minutes} * interval '1 second'"
    start = f"date_trunc('second', now()) + interval '{600 + LEAD} seconds'"
    firing.store(context, both, count, due=f"{start} + {spread}")


def begin(connection: psycopg.Connection[Any], table: str, column: str) -> None:
    """Moves the clocks, so that the first is due a few seconds from now."""
    connection.execute(
        f"UPDATE {table} SET {column} = {column} - (SELECT date_trunc('second', min({column})) FROM {table})"
        f" + date_trunc('second', now()) + interval '{LEAD} seconds'"
    )
    connection.execute(f"VACUUM ANALYZE {table}")
    connection.execute("CHECKPOINT")


def ours(context: Context, both: Servers, count: int, minutes: float) -> Lateness:
    load(context, both, count, minutes)
    with psycopg.connect(support.superuser(context, both), autocommit=True) as admin:
        begin(admin, "task_clocks", "next_run_at")
        with scheduler_process(context.settings) as process:
            time.sleep(LEAD - 1)
            before, began = cpu_of(process), time.monotonic()
            wait_until_counted(admin, "conversations", count, minutes)
            share = (cpu_of(process) - before) / (time.monotonic() - began)
        return Lateness.of([row[0] for row in admin.execute(OURS)], share)


def bare(context: Context, both: Servers, count: int, minutes: float) -> Lateness:
    """The same due times by the bare loop, in this process."""
    load(context, both, count, minutes)
    url = support.plain(context.engine.url.render_as_string(hide_password=False))
    with psycopg.connect(support.superuser(context, both), autocommit=True) as admin:
        firing.bare_tables(admin, "(SELECT next_run_at FROM task_clocks WHERE task_id = tasks.id)")
        admin.execute("ALTER TABLE bare_clocks OWNER TO crontalk")
        admin.execute("ALTER TABLE bare_runs OWNER TO crontalk")
        begin(admin, "bare_clocks", "at")
        with psycopg.connect(url) as connection:
            used, began = support.cpu_seconds(), time.monotonic()
            fired = 0
            while fired < count:
                taken = firing.bare_batch(connection, firing.cron_next)
                fired += taken
                if taken < firing.BATCH:
                    time.sleep(firing.bare_pause(connection, context.settings.tick.total_seconds()))
            share = (support.cpu_seconds() - used) / (time.monotonic() - began)
        return Lateness.of([row[0] for row in admin.execute(BARE)], share)


def wait_until_counted(connection: psycopg.Connection[Any], table: str, count: int, minutes: float) -> None:
    end = time.monotonic() + 60 * minutes + LEAD + PATIENCE
    time.sleep(60 * minutes)
    while connection.execute(f"SELECT count(*) FROM {table}").fetchone() != (count,):
        assert time.monotonic() < end, "The tasks were not fired in time."
        time.sleep(0.5)


def cpu_of(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def measure(both: Servers, count: int, minutes: float) -> tuple[Lateness, Lateness]:
    with support.fresh_context(both) as context:
        measured = ours(context, both, count, minutes)
    with support.fresh_context(both) as context:
        return measured, bare(context, both, count, minutes)


def row(name: str, goal: str, late: Lateness) -> tuple[str, ...]:
    return (
        name,
        *(f"{ms:,.1f}" for ms in (late.p50, late.p95, late.p99, late.max)),
        f"{late.cpu_share:.0%}",
        goal,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rates", type=int, nargs="*", default=RATES, help="tasks a minute")
    parser.add_argument("--burst", type=int, default=BURST)
    parser.add_argument("--repeat", type=int, default=3, help="bursts")
    options = support.options(parser)
    rows, figures = [], {}
    with support.servers(commit_times=True) as both:
        for rate in options.rates:
            pair = measure(both, int(rate * options.minutes), options.minutes)
            figures[f"rate_{rate}"] = pair
            rows.append(row(f"{rate:,} a minute", GOALS.get(rate, ""), pair[0]))
            rows.append(row("  bare loop", "", pair[1]))
        bursts = [measure(both, options.burst, 0) for _ in range(options.repeat)] if options.burst else []
    for number, pair in enumerate(sorted(bursts, key=lambda pair: pair[0].max), 1):
        figures[f"burst_{number}"] = pair
    if bursts:
        middle = sorted(bursts, key=lambda pair: pair[0].max)[len(bursts) // 2]
        rows.append(row(f"burst of {options.burst:,} (median of {len(bursts)})", "max ≤ 2,500 ms", middle[0]))
        rows.append(row("  bare loop", "", middle[1]))
    support.show(
        f"Scheduled → run committed, {options.minutes:g} minutes, one scheduler process, fsync on",
        ("due", "p50 ms", "p95 ms", "p99 ms", "max ms", "CPU", "goal"),
        rows,
    )
    support.write("lateness", options, figures)


if __name__ == "__main__":
    main()
