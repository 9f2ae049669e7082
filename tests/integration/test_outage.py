"""All schedulers are away for a day, or for most of a year: the ledger holds exactly what was due meanwhile.

What was due is computed by the oracle of the schedule tests, which shares no code with the program.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.firing import fire
from core.invariants import ALWAYS, violations
from tests.factories import a_task, execute, one, rows
from tests.unit.cron_oracle import Oracle, instant_of, minute_of
from tests.unit.schedule_cases import INTERVALS

WINDOW = timedelta(hours=1)
CRONS = [
    ("* * * * *", "Europe/Berlin"),
    ("*/15 * * * *", "Australia/Lord_Howe"),
    ("0 * * * *", "America/St_Johns"),
    ("7,37 9-17 * * MON-FRI", "Asia/Kolkata"),
    ("30 2 * * *", "America/New_York"),
    ("0 9 * * MON-FRI", "Africa/Casablanca"),
    ("0 0 L * *", "Pacific/Apia"),
    ("0 0 1 1 *", "UTC"),
    ("0 0 29 2 *", "UTC"),
    ("0,30 1,2,3 * * *", "Europe/London"),
    ("@hourly", "Asia/Kathmandu"),
    ("@daily", "America/Sao_Paulo"),
    ("09:30", "Pacific/Auckland"),
]


def due_between(text: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """What the oracle says is due in (start, end]."""
    if text in INTERVALS:
        step = timedelta(seconds=INTERVALS[text])
        return [start + step * number for number in range(1, (end - start) // step + 1)]
    return [
        instant_of(minute) for minute in Oracle.of(text).fires(zone, minute_of(start) + 1, minute_of(end) + 1)
    ]


def next_due(text: str, zone: str, after: datetime) -> datetime:
    days = 32
    while not (found := due_between(text, zone, after, after + timedelta(days=days))):
        days *= 8
    return found[0]


def stop_the_clock(context, task, first):
    execute(
        context,
        "UPDATE task_clocks SET next_run_at = :first, last_run_at = NULL WHERE task_id = :id",
        first=first,
        id=task.id,
    )


@pytest.mark.parametrize("days", [1, 300])
def test_after_an_outage_the_ledger_holds_exactly_what_was_due(context, account, days):
    stopped = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=days)
    schedules = [*CRONS, *((text, "UTC") for text in INTERVALS)]
    tasks = []
    for text, zone in schedules:
        task = a_task(context, account, schedule=text, timezone=zone)
        stop_the_clock(context, task, next_due(text, zone, stopped))
        tasks.append((task, text, zone))
    assert fire(context) > 0
    assert fire(context) == 0
    fired_at = one(context, "SELECT max(created_at) FROM runs")
    for task, text, zone in tasks:
        expected = due_between(text, zone, stopped, fired_at)
        ledger = rows(
            context,
            "SELECT state, trigger, reason, scheduled_for, covers_from, covers_count FROM runs"
            " WHERE task_id = :id ORDER BY scheduled_for",
            id=task.id,
        )
        assert [one for row in ledger for one in covered(row, expected)] == expected, text
        assert [row["state"] for row in ledger] == states(expected, fired_at), text
        upcoming = next_due(text, zone, expected[-1] if expected else stopped)
        assert one(context, "SELECT next_run_at FROM task_clocks WHERE task_id = :id", id=task.id) == upcoming
    with context.transaction() as session:
        assert violations(session, invariants=ALWAYS) == []


def covered(row, expected: list[datetime]) -> list[datetime]:
    """The due instants a row of the ledger stands for."""
    if row["covers_from"] is None:
        return [row["scheduled_for"]]
    found = [one for one in expected if row["covers_from"] <= one <= row["scheduled_for"]]
    assert len(found) == row["covers_count"]
    return found


def states(expected: list[datetime], now: datetime) -> list[str]:
    """The policy without a setting: the latest runs if it is less than an hour late, the rest is one row."""
    if not expected:
        return []
    if now - expected[-1] > WINDOW:
        return ["missed"]
    return ["missed", "pending"] if len(expected) > 1 else ["pending"]
