"""The rule for a change of the clocks, by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.schedule import Form, next_after, parse, preview


def local(text: str, zone: str, since: str, count: int) -> list[str]:
    schedule = parse(text, zone)
    start = datetime.fromisoformat(since).replace(tzinfo=schedule.tz).astimezone(UTC)
    return [due.astimezone(schedule.tz).strftime("%d %H:%M %Z") for due in preview(schedule, start, count)]


def test_a_fixed_time_in_the_gap_fires_at_the_first_valid_instant():
    assert local("30 2 * * *", "America/New_York", "2026-03-07", 3) == [
        "07 02:30 EST",
        "08 03:00 EDT",
        "09 02:30 EDT",
    ]
    assert local("02:30", "America/New_York", "2026-03-08", 1) == ["08 03:00 EDT"]


def test_fixed_times_in_one_gap_make_one_firing():
    assert local("0,15,30 2 * * *", "America/New_York", "2026-03-08", 2) == ["08 03:00 EDT", "09 02:00 EDT"]


def test_a_firing_moved_out_of_the_gap_joins_a_regular_one():
    assert local("0 2,3 * * *", "America/New_York", "2026-03-08", 2) == ["08 03:00 EDT", "09 02:00 EDT"]


def test_the_second_entry_of_an_hour_list_survives_the_gap():
    assert local("30 2,3 * * *", "America/New_York", "2026-03-08", 2) == ["08 03:00 EDT", "08 03:30 EDT"]


def test_a_fixed_time_in_the_fold_fires_at_the_first_pass_only():
    assert local("30 1 * * *", "America/New_York", "2026-11-01", 2) == ["01 01:30 EDT", "02 01:30 EST"]


def test_a_fixed_time_has_passed_when_asked_between_the_two_passes():
    schedule = parse("30 1 * * *", "America/New_York")
    assert next_after(schedule, datetime(2026, 11, 1, 6, 15, tzinfo=UTC)) == datetime(
        2026, 11, 2, 6, 30, tzinfo=UTC
    )


def test_a_wildcard_runs_in_both_passes_of_the_fold():
    assert local("*/30 * * * *", "America/New_York", "2026-11-01T00:45", 4) == [
        "01 01:00 EDT", "01 01:30 EDT", "01 01:00 EST", "01 01:30 EST",
    ]  # fmt: skip
    assert local("15 */1 * * *", "America/New_York", "2026-11-01T00:45", 2) == [
        "01 01:15 EDT",
        "01 01:15 EST",
    ]


def test_a_wildcard_minute_in_a_skipped_hour_does_not_exist():
    assert local("*/15 2 * * *", "America/New_York", "2026-03-08", 1) == ["09 02:00 EDT"]


def test_every_two_hours_counts_the_hours_the_wall_clock_shows():
    assert local("0 */2 * * *", "America/New_York", "2026-03-08", 2) == ["08 04:00 EDT", "08 06:00 EDT"]


def test_lord_howe_moves_by_half_an_hour():
    spring = preview(parse("*/30 * * * *", "Australia/Lord_Howe"), datetime(2026, 10, 3, 14, tzinfo=UTC), 6)
    assert [due.strftime("%H:%M") for due in spring] == ["14:30", "15:00", "15:30", "16:00", "16:30", "17:00"]
    assert local("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", 1) == ["04 02:30 +11"]
    assert local("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", 2) == ["05 01:45 +11", "06 01:45 +1030"]


def test_what_was_due_on_apias_missing_day_fires_at_the_next_midnight_once():
    assert local("0 9 * * *", "Pacific/Apia", "2011-12-29", 3) == [
        "29 09:00 -10",
        "31 00:00 +14",
        "31 09:00 +14",
    ]
    assert local("0 9,15 * * FRI", "Pacific/Apia", "2011-12-29", 2) == ["31 00:00 +14", "06 09:00 +14"]
    assert local("0 0 * * *", "Pacific/Apia", "2011-12-29T12:00", 2) == ["31 00:00 +14", "01 00:00 +14"]
    assert local("* * 30 12 *", "Pacific/Apia", "2011-12-29", 1) == ["30 00:00 +14"]


def test_midnight_that_does_not_exist_fires_at_one():
    assert local("0 0 * * *", "Asia/Beirut", "2026-03-28T12:00", 2) == ["29 01:00 EEST", "30 00:00 EEST"]
    assert local("@daily", "America/Sao_Paulo", "2018-11-03T12:00", 1) == ["04 01:00 -02"]


def test_ramadan_in_casablanca_moves_the_clock_twice():
    assert local("30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00", 2) == ["15 02:30 +01", "16 02:30 +00"]
    assert local("30 2 * * *", "Africa/Casablanca", "2026-03-21T12:00", 2) == ["22 03:00 +01", "23 02:30 +01"]


def test_a_date_without_an_offset_keeps_the_rule():
    gap = parse("2026-03-08T02:30", "America/New_York")
    fold = parse("2026-11-01 01:30", "America/New_York")
    midnight = parse("2018-11-04", "America/Sao_Paulo")
    assert gap.form is Form.DATE
    assert gap.moment == datetime(2026, 3, 8, 7, tzinfo=UTC)
    assert fold.moment == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert midnight.moment == datetime(2018, 11, 4, 3, tzinfo=UTC)


@pytest.mark.parametrize("text", ["0 * * * *", "* * * * *", "0 0 * * *", "30 0 * * *", "0-59 0 7 1 *"])
def test_offsets_of_odd_seconds_and_changes_off_the_minute_keep_the_order(text):
    # Until 1972 Monrovia was 44 minutes and 30 seconds behind UTC.
    schedule = parse(text, "Africa/Monrovia")
    due = preview(schedule, datetime(1972, 1, 6, 12, 0, 15, tzinfo=UTC), 3000 if text[0] == "*" else 40)
    assert due == sorted(set(due))
    for instant in due[:40]:
        assert next_after(schedule, instant - timedelta(seconds=1)) == instant
