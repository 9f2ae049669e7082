"""The rule for a change of the clocks against an oracle that shares no code with it.

The comparison covers 46 zones x 226 expressions (crons, aliases, times of day) x 10 years. A day on which a
zone's clocks do not change is its UTC day shifted, so it is enough to compare: every wall-clock day of twelve
years, once per expression; every occurrence around every change of the clocks, in every zone, with every
expression (test_schedule_changes.py); every occurrence of the whole ten years for expressions with few; and
the next occurrence after random instants for all. `python -m tests.unit.exhaustive` leaves nothing out: each
occurrence of each expression in thirty zones.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from cronsim import CronSim, CronSimError

from core.schedule import due_through, parse, preview
from core.schedule.occurrences import _next_cron
from tests.unit.cron_oracle import DAY, Oracle, instant_of, minute_of, offsets, scan
from tests.unit.schedule_cases import EXPRESSIONS, INTERVALS, THIRTY, ZONES, changes, occurrences, ten_years


def test_the_oracle_comparison_is_as_wide_as_promised():
    assert len(set(ZONES) & set(THIRTY)) == len(THIRTY) == 30
    assert len(set(EXPRESSIONS)) == len(EXPRESSIONS) >= 200


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_every_wall_clock_day_of_twelve_years_agrees_with_the_oracle(text):
    schedule, oracle = parse(text, None), Oracle.of(text)
    assert tuple(60 * h + m for h in schedule.cron.hours for m in schedule.cron.minutes) == oracle.times
    start, end = (minute_of(datetime(year, 1, 1, tzinfo=UTC)) for year in (2016, 2028))
    expected = replace(oracle, times=oracle.times[:1]).walls(start, end)
    got, wall = [], instant_of(start - 1).replace(tzinfo=None)
    while (wall := schedule.cron.next_wall(wall)) is not None and wall.year < 2028:
        got.append(minute_of(wall.replace(tzinfo=UTC)))
        wall = datetime.combine(wall.date(), schedule.cron.last_time)
    assert got == expected


@pytest.mark.parametrize("zone", ZONES)
def test_whole_ten_years_of_rare_schedules_agree_with_the_oracle(zone):
    start, end = ten_years(zone)
    compared = 0
    for text in EXPRESSIONS:
        oracle = Oracle.of(text)
        expected = (
            oracle.fires(zone, start, end) if len(oracle.walls(start, start + 366 * DAY)) <= 13 else None
        )
        if expected is not None:
            assert occurrences(text, zone, start, end) == expected, text
            compared += 1
    assert compared >= 20


@pytest.mark.parametrize("zone", ZONES)
def test_the_next_occurrence_after_any_instant_agrees_with_the_oracle(zone):
    dice = random.Random(zone)
    start, end = ten_years(zone)
    for text in EXPRESSIONS:
        schedule, oracle = parse(text, zone), Oracle.of(text)
        for _ in range(3):
            minute = dice.randrange(start, end)
            due = _next_cron(
                schedule.cron, schedule.tz, instant_of(minute) + timedelta(seconds=dice.randrange(60))
            )
            stop = min(minute_of(due), minute + 400 * DAY) + 1
            expected = oracle.fires(zone, minute + 1, stop)
            assert expected[:1] == [minute_of(due)][: len(expected)], (text, instant_of(minute))
            assert expected or stop == minute + 400 * DAY + 1


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("America/New_York", "2026-03-08"),
        ("America/New_York", "2026-11-01"),
        ("America/Sao_Paulo", "2018-11-04"),
        ("America/Sao_Paulo", "2018-02-18"),
        ("Australia/Lord_Howe", "2026-10-04"),
        ("Australia/Lord_Howe", "2026-04-05"),
        ("Antarctica/Troll", "2026-03-29"),
        ("Pacific/Apia", "2011-12-30"),
    ],
)
def test_the_oracle_agrees_with_looking_at_the_clock_every_minute(zone, day):
    middle = minute_of(datetime.fromisoformat(day).replace(tzinfo=UTC))
    window = (middle - DAY, middle + 2 * DAY)
    for text in EXPRESSIONS[::9]:
        assert Oracle.of(text).fires(zone, *window) == scan(text, zone, *window), text


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "America/Havana", "Pacific/Auckland"])
@pytest.mark.parametrize(
    "text", ["*/30 * * * *", "0 * * * *", "30 2 * * *", "30 1 * * *", "0 9 * * MON-FRI", "0 0 L * *"]
)
def test_cronsim_agrees(text, zone):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    theirs = CronSim(text, start.astimezone(parse("daily", zone).tz))
    got = preview(parse(text, zone), start, 800)
    assert got == [due.astimezone(UTC) for due in islice(theirs, 800)]


# A step from '*' in a day field is a restriction to us, as to croniter; to Debian's cron it is still a '*'.
READ_OTHERWISE_BY_DEBIAN = {"0 0 */2 * 1", "0 0 */10 * MON", "0 0 1 * */3"}


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Pacific/Auckland"])
def test_cronsim_agrees_about_every_expression_it_reads(zone):
    start, end = minute_of(datetime(2027, 6, 1, tzinfo=UTC)), minute_of(datetime(2029, 6, 1, tzinfo=UTC))
    tz, compared = parse("daily", zone).tz, 0
    for text in set(EXPRESSIONS) - READ_OTHERWISE_BY_DEBIAN:
        with suppress(CronSimError):
            theirs = CronSim(Oracle.of(text).text, instant_of(start).astimezone(tz))
            due = [minute_of(one) for one in islice(theirs, 100)]
            expected = [one for one in due if one < end]
            stop = end if len(expected) < len(due) else due[-1] + 1
            assert occurrences(text, zone, start + 1, stop) == expected, text
            compared += 1
    assert compared >= 200


@pytest.mark.parametrize("zone", ZONES)
def test_intervals_count_the_same_seconds_in_every_zone(zone):
    anchor = instant_of(ten_years(zone)[0]) + timedelta(seconds=17)
    for text, seconds in INTERVALS.items():
        grid = [anchor + timedelta(seconds=seconds * number) for number in range(1, 101)]
        assert preview(parse(text, zone), anchor, 100) == grid, text


@pytest.mark.parametrize("zone", ZONES)
def test_dates_around_every_change_of_the_clocks_run_once_where_the_oracle_says(zone):
    before = {begin: previous for begin, _, _, previous in offsets(zone)}
    for change in changes(zone):
        for minutes in (-DAY, -61, -1, 0, 1, 15, 45, 59, 61, 119, DAY):
            date = f"{instant_of(change + before[change] + minutes):%Y-%m-%dT%H:%M}"
            window = (change - 3 * DAY, change + 3 * DAY)
            assert occurrences(date, zone, *window) == Oracle.of(date).fires(zone, *window), date


@pytest.mark.parametrize(
    "text", ["* * * * *", "*/30 * * * *", "0,30 1,2,3 * * *", "30 2 * * *", "0 9 30 12 *", "0-59 0-3 * * *"]
)
@pytest.mark.parametrize(
    "zone", ["America/New_York", "Pacific/Apia", "Australia/Lord_Howe", "America/Sao_Paulo"]
)
def test_a_span_counts_what_the_oracle_lists_across_changes_of_the_clocks(text, zone):
    oracle, schedule, dice = Oracle.of(text), parse(text, zone), random.Random(text + zone)
    for change in changes(zone):
        start, end = change - dice.randrange(5 * DAY), change + dice.randrange(5 * DAY)
        due = oracle.fires(zone, start, end + 1)
        if due:
            span = due_through(schedule, instant_of(due[0]), instant_of(end) + timedelta(seconds=59))
            assert (span.count, span.last, span.exact) == (len(due), instant_of(due[-1]), True)
