"""A schedule in words says no more and no less than the schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from core.schedule import in_words, parse, preview


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("never", "never by itself"),
        ("daily", "every day"),
        ("hourly", "every hour"),
        ("twiceweekly", "every 3 days 12 hours"),
        ("@every 90s", "every 1 minute 30 seconds"),
        ("09:30", "every day at 09:30"),
        ("2030-12-25T10:00", "once, on 25 Dec 2030 at 10:00"),
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("0 * * * *", "every hour at :00"),
        ("0 9 * * *", "every day at 09:00"),
        ("0 9,17 * * *", "every day at 09:00 and 17:00"),
        ("0 9 * * MON-FRI", "at 09:00, Monday to Friday"),
        ("0 8 * * 1,3", "at 08:00, Monday and Wednesday"),
        ("30 9 1,15 * *", "at 09:30, on day 1 and 15 of the month"),
        ("30 9 L * *", "at 09:30, on the last day of the month"),
        ("0 9 1 1,7 *", "at 09:00, on day 1 of the month, in January and July"),
        ("0 9 13 * FRI", "at 09:00, on day 13 of the month or on Friday"),
        ("*/15 8-18 * * 1-5", "every 15 minutes from 08:00 to 18:59, Monday to Friday"),
        ("0 */2 * * *", "every 2 hours at :00"),
        ("@weekly", "at 00:00, Sunday"),
    ],
)
def test_common_schedules_are_said_as_people_would(text, words):
    assert in_words(parse(text, "Europe/Lisbon")) == words


@pytest.mark.parametrize("text", ["*/7 * * * *", "0 */5 * * *", "1-5 * * * *", "0 9 * * 5#2", "5/10 * * * *"])
def test_what_words_would_get_wrong_is_shown_as_it_is(text):
    assert in_words(parse(text, None)) == f"cron {text}"


@pytest.mark.parametrize("minutes", [2, 3, 4, 5, 6, 10, 12, 15, 20, 30])
def test_every_n_minutes_is_true_through_the_hour(minutes):
    schedule = parse(f"*/{minutes} * * * *", None)
    due = preview(schedule, datetime(2026, 1, 1, tzinfo=UTC), 100)
    assert {after - before for before, after in pairwise(due)} == {timedelta(minutes=minutes)}
    assert in_words(schedule) == f"every {minutes} minutes"
