"""Firing: due tasks become committed runs, each with its conversation and its prompt.

Beside it, in the same run on the same server, the least a scheduler over SQL can do: lock the due rows,
compute the next instant with croniter (memoised or not), move the clock and insert one narrow row.
"""

from __future__ import annotations

import argparse
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import psycopg
from croniter import croniter
from sqlalchemy import event

import core.firing
from benchmarks import support
from cli.local.servers import Servers
from core.context import Context
from core.schedule import occurrences, parse
from models import new_id

TASKS = 20_000
ACCOUNTS = 20
BATCH = 500
ZONES = (
    "UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Sao_Paulo", "America/Los_Angeles",
    "Asia/Tokyo", "Asia/Kolkata", "Australia/Sydney", "Africa/Nairobi",
)  # fmt: skip
PROMPT = (
    "Summarise what changed since yesterday in the projects I follow, the three things that matter first. "
)


def schedules(count: int) -> list[tuple[str, str]]:
    """(schedule, zone): mostly a time of day, some every few minutes, as people write them."""
    draw = random.Random(7)
    kinds = (
        (lambda: f"{draw.choice((0, 0, 0, 15, 30, 45))} {draw.randrange(6, 22)} * * *", 35),
        (lambda: f"{draw.choice((0, 0, 30))} {draw.randrange(6, 20)} * * 1-5", 25),
        (lambda: f"*/{draw.choice((5, 10, 15, 30))} * * * *", 15),
        (lambda: f"{draw.randrange(60)} * * * *", 10),
        (lambda: f"{draw.randrange(60)} {draw.randrange(24)} * * {draw.randrange(7)}", 10),
        (lambda: f"0 8 {draw.randrange(1, 28)} * *", 5),
    )
    makers, weights = zip(*kinds, strict=True)
    return [(make(), draw.choice(ZONES)) for make in draw.choices(makers, weights, k=count)]


def load(context: Context, count: int) -> None:
    """`count` tasks of twenty accounts, all due at the minute that has just begun."""
    accounts = [support.an_account(context, f"Account {number}") for number in range(ACCOUNTS)]
    rows = [
        (new_id(), accounts[number % ACCOUNTS], f"Task {number}", PROMPT * 2, schedule, zone)
        for number, (schedule, zone) in enumerate(schedules(count))
    ]
    columns = list(zip(*rows, strict=True))
    names = ("ids", "accounts", "names", "prompts", "schedules", "zones")
    support.execute(
        context,
        "WITH made AS (INSERT INTO tasks (id, account_id, name, description, schedule, timezone, bot_id)"
        " SELECT d.*, b.id FROM unnest(CAST(:ids AS uuid[]), CAST(:accounts AS uuid[]),"
        " CAST(:names AS text[]), CAST(:prompts AS text[]), CAST(:schedules AS text[]),"
        " CAST(:zones AS text[])) AS d (id, account_id, name, description, schedule, timezone)"
        " JOIN bots b USING (account_id) RETURNING id, account_id)"
        " INSERT INTO task_clocks (task_id, account_id, next_run_at)"
        " SELECT id, account_id, date_trunc('minute', now()) FROM made",
        **dict(zip(names, map(list, columns), strict=True)),
    )
    support.settle_down(context)


def store(context: Context, both: Servers, count: int, due: str) -> None:
    """`count` tasks of twenty accounts, each due at `due`, an SQL expression asked row by row."""
    accounts = [support.an_account(context, f"Account {number}") for number in range(ACCOUNTS)]
    kinds = schedules(min(count, 20_000))
    with psycopg.connect(support.superuser(context, both)) as admin:
        admin.execute(
            "CREATE TEMP TABLE kinds AS SELECT n - 1 AS n, schedule, zone"
            " FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS k (schedule, zone, n)",
            list(map(list, zip(*kinds, strict=True))),
        )
        admin.execute(
            "INSERT INTO tasks (id, account_id, bot_id, name, description, schedule, timezone)"
            " SELECT uuidv7(), b.account_id, b.id, 'Task ' || g.n, %s, k.schedule, k.zone"
            " FROM generate_series(0, %s - 1) AS g (n)"
            " JOIN unnest(%s::uuid[]) WITH ORDINALITY AS a (id, n) ON a.n = 1 + g.n %% %s"
            " JOIN bots b ON b.account_id = a.id JOIN kinds k ON k.n = g.n %% %s",
            [2 * PROMPT, count, accounts, len(accounts), len(kinds)],
        )
        admin.execute(
            "INSERT INTO task_clocks (task_id, account_id, next_run_at)"
            f" SELECT id, account_id, {due} FROM tasks"
        )
    support.settle_down(context, "accounts, bots, tasks, task_clocks")


def fire_all(context: Context, count: int) -> float:
    """Seconds per task. A minute that ends on the way makes a few tasks due again."""
    started = time.perf_counter()
    fired = 0
    while fired < count:
        fired += core.firing.fire(context)
    seconds = time.perf_counter() - started
    assert support.execute(context, "SELECT count(DISTINCT task_id) FROM runs") == count
    return seconds / fired


@lru_cache(maxsize=65536)
def cron_next(schedule: str, zone: str, minute: datetime) -> datetime:
    found: datetime = croniter(schedule, minute.astimezone(ZoneInfo(zone))).get_next(datetime)
    return found


def cron_each_time(schedule: str, zone: str, instant: datetime) -> datetime:
    return cron_next.__wrapped__(schedule, zone, instant)


def bare_all(context: Context, count: int, following: Callable[[str, str, datetime], datetime]) -> float:
    """The bare loop over the same schedules, with psycopg alone."""
    url = support.plain(context.engine.url.render_as_string(hide_password=False))
    with psycopg.connect(url) as connection:
        bare_tables(connection, "date_trunc('minute', now())")
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE bare_clocks")
        connection.autocommit = False
        cron_next.cache_clear()
        started = time.perf_counter()
        fired = 0
        while fired < count:
            fired += bare_batch(connection, following)
        return (time.perf_counter() - started) / fired


def bare_tables(connection: psycopg.Connection[Any], due: str) -> None:
    """A clock per task, due at `due` (an SQL expression), and an empty table of runs."""
    connection.execute("DROP TABLE IF EXISTS bare_clocks, bare_runs")
    connection.execute("CREATE TABLE bare_clocks (id uuid PRIMARY KEY, s text, z text, at timestamptz)")
    connection.execute("CREATE TABLE bare_runs (id uuid PRIMARY KEY, task_id uuid, at timestamptz)")
    connection.execute(f"INSERT INTO bare_clocks SELECT id, schedule, timezone, {due} FROM tasks")
    connection.execute("CREATE INDEX ON bare_clocks (at)")


def bare_pause(connection: psycopg.Connection[Any], tick: float) -> float:
    """Seconds until the next clock is due, at most a tick."""
    row = connection.execute(
        "SELECT extract(epoch FROM min(at) - clock_timestamp())::float8 FROM bare_clocks"
    ).fetchone()
    connection.commit()
    return min(tick, max(0.0, (row and row[0]) or 0.0))


def bare_batch(
    connection: psycopg.Connection[Any], following: Callable[[str, str, datetime], datetime]
) -> int:
    due = connection.execute(
        "SELECT id, s, z, at FROM bare_clocks WHERE at <= now() ORDER BY at LIMIT %s FOR UPDATE SKIP LOCKED",
        [BATCH],
    ).fetchall()
    if due:
        ids = [row[0] for row in due]
        nexts = [following(*row[1:]) for row in due]
        connection.execute(
            "UPDATE bare_clocks c SET at = d.at FROM unnest(%s::uuid[], %s::timestamptz[]) AS d (id, at)"
            " WHERE c.id = d.id",
            [ids, nexts],
        )
        connection.execute(
            "INSERT INTO bare_runs SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[])",
            [[uuid.uuid4() for _ in due], ids, [row[3] for row in due]],
        )
    connection.commit()
    return len(due)


PARTS = {
    "SELECT task_id": "take due clocks",
    "SELECT t.id": "read definitions",
    "WITH d": "insert run, conversation, prompt",
    "INSERT INTO runs": "insert ledger rows",
    "UPDATE task_clocks": "advance clocks",
}


class Split:
    """Where the time of a firing goes."""

    def __init__(self, context: Context) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._began = 0.0
        event.listen(context.engine, "before_cursor_execute", self._before)
        event.listen(context.engine, "after_cursor_execute", self._after)
        dialect = context.engine.dialect
        self._commit = dialect.do_commit
        dialect.do_commit = self._timed_commit  # type: ignore[method-assign]

    def _before(self, *_: Any) -> None:
        self._began = time.perf_counter()

    def _after(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        part = next((name for start, name in PARTS.items() if statement.startswith(start)), "other SQL")
        self.seconds[part] += time.perf_counter() - self._began

    def _timed_commit(self, connection: Any) -> None:
        started = time.perf_counter()
        self._commit(connection)
        self.seconds["commit"] += time.perf_counter() - started

    def plan(self, *arguments: Any) -> Any:
        started = time.perf_counter()
        firing = PLAN(*arguments)
        self.seconds["compute the next instants"] += time.perf_counter() - started
        return firing


PLAN = core.firing.plan


def forget_schedules() -> None:
    """A scheduler that has just started knows no instants."""
    occurrences._next_in_minute.cache_clear()  # noqa: SLF001 (a cold start is what we measure)
    parse.cache_clear()


def split_of(context: Context, count: int) -> dict[str, float]:
    split = Split(context)
    with patch.object(core.firing, "plan", split.plan):
        total = fire_all(context, count) * count
    split.seconds["Python around it"] = total - sum(split.seconds.values())
    return dict(split.seconds)


def measure(both: Servers, tasks: int) -> tuple[float, float, float]:
    """Tasks per second: ours, the bare loop memoised, the bare loop that asks croniter each time."""
    with support.fresh_context(both) as context:
        load(context, tasks)
        forget_schedules()
        ours = fire_all(context, tasks)
        memoised = bare_all(context, tasks, cron_next)
        return 1 / ours, 1 / memoised, 1 / bare_all(context, tasks, cron_each_time)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--repeat", type=int, default=3)
    options, _ = parser.parse_known_args()
    with support.servers() as both:
        runs = [measure(both, options.tasks) for _ in range(options.repeat)]
        with support.fresh_context(both) as context:
            load(context, options.tasks)
            forget_schedules()
            parts = split_of(context, options.tasks)
    runs.append(tuple(support.median(column) for column in zip(*runs, strict=True)))
    names = [*map(str, range(1, len(runs))), "median"]
    support.show(
        f"Firing {options.tasks:,} tasks due in one minute, one scheduler, fsync on",
        ("run", "crontalk /s", "bare, memoised /s", "of it", "bare, croniter each time /s", "of it"),
        [
            (name, f"{ours:,.0f}", f"{memo:,.0f}", f"{ours / memo:.0%}", f"{each:,.0f}", f"{ours / each:.0%}")
            for name, (ours, memo, each) in zip(names, runs, strict=True)
        ],
    )
    total = sum(parts.values())
    support.show(
        "Where the time goes",
        ("part", "µs per task", "share"),
        [
            (name, f"{seconds / options.tasks * 1e6:.0f}", f"{seconds / total:.0%}")
            for name, seconds in sorted(parts.items(), key=lambda part: -part[1])
        ],
    )


if __name__ == "__main__":
    main()
