"""Microseconds per next occurrence: ours, memoised and not, beside bare croniter and cronsim in the same run.

    python benchmarks/schedule.py

Each figure is the median of five rounds over the same random instants in one zone. "cold" computes with the
expression parsed and no memo of the answer; "calendar too" has also forgotten which days match; "memo" asks
again; the others parse the expression each time, as a scheduler without a cache has to.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

from core.schedule import cron, next_after, occurrences, parse

ZONE = "America/New_York"
EXPRESSIONS = [
    "* * * * *",
    "*/5 * * * *",
    "0 * * * *",
    "0 9 * * 1-5",
    "30 2 * * *",
    "15 14 1 * *",
    "0 0 1 1 *",
    "0 0 29 2 *",
    "0 0 * * 5#2",
]


def microseconds(ask: Callable[[datetime], object], instants: list[datetime]) -> float:
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for instant in instants:
            ask(instant)
        rounds.append((time.perf_counter() - start) / len(instants) * 1e6)
    return statistics.median(rounds)


def row(text: str, instants: list[datetime]) -> list[float]:
    schedule, zone = parse(text, ZONE), ZoneInfo(ZONE)
    local = [instant.astimezone(zone) for instant in instants]

    def cold(instant: datetime) -> object:
        return occurrences._next_cron(schedule.cron, schedule.tz, instant)  # noqa: SLF001

    def forgetful(instant: datetime) -> object:
        cron._next_day.cache_clear()  # noqa: SLF001
        return cold(instant)

    return [
        microseconds(lambda instant: next_after(schedule, instant), instants),
        microseconds(cold, instants),
        microseconds(forgetful, instants),
        microseconds(lambda instant: croniter(text, instant).get_next(datetime), local),
        microseconds(lambda instant: next(CronSim(text, instant)), local),
    ]


def main() -> None:
    dice = random.Random(1)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    instants = [start + timedelta(minutes=dice.randrange(366 * 24 * 60)) for _ in range(500)]
    print(
        f"{'us per next, ' + ZONE:24}{'memo':>8}{'cold':>8}{'calendar too':>14}{'croniter':>10}{'cronsim':>9}"
    )
    for text in EXPRESSIONS:
        memo, cold, forgetful, theirs, sim = row(text, instants)
        print(f"{text:24}{memo:8.1f}{cold:8.1f}{forgetful:14.1f}{theirs:10.1f}{sim:9.1f}")


if __name__ == "__main__":
    main()
