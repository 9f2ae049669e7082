"""The forms of a schedule, what is refused and why, and the questions asked of it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from core.errors import InvalidInput
from core.schedule import Form, Span, check_future, check_minimum, due_through, next_after, parse, preview

NOW = datetime(2026, 5, 6, 10, 7, 30, tzinfo=UTC)  # a Wednesday


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def upcoming(text: str, count: int = 3, zone: str | None = None, start: datetime = NOW) -> list[str]:
    return [due.strftime("%Y-%m-%d %H:%M") for due in preview(parse(text, zone), start, count)]


def refusal(text: str, zone: str | None = None) -> str:
    with pytest.raises(InvalidInput) as refused:
        parse(text, zone)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "interval"),
    [
        ("quarterhourly", timedelta(minutes=15)),
        ("halfhourly", timedelta(minutes=30)),
        ("hourly", timedelta(hours=1)),
        ("twicedaily", timedelta(hours=12)),
        ("daily", timedelta(hours=24)),
        ("twiceweekly", timedelta(hours=84)),
        ("weekly", timedelta(days=7)),
        ("twicemonthly", timedelta(days=15)),
        ("monthly", timedelta(days=30)),
    ],
)
def test_a_named_interval_is_elapsed_time_from_the_previous_occurrence(name, interval):
    schedule = parse(name, "Europe/Berlin")
    assert schedule.form is Form.INTERVAL
    assert next_after(schedule, NOW) == NOW + interval


def test_never_has_no_next_occurrence_and_is_no_mistake():
    schedule = parse("never", None)
    assert schedule.form is Form.NEVER
    assert next_after(schedule, NOW) is None
    assert preview(schedule, NOW, 5) == []
    check_future(schedule, NOW)
    check_minimum(schedule, timedelta(days=99))


@pytest.mark.parametrize(
    "text", ["Daily", "HOURLY", "Never", "fortnightly", "hello", "2026", "1 2", "* * * *"]
)
def test_a_text_in_no_form_is_refused_with_the_forms_there_are(text):
    assert "one of never, quarterhourly" in refusal(text)
    assert "in lower case" in refusal(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/20 * * * *", ["2026-05-06 10:20", "2026-05-06 10:40", "2026-05-06 11:00"]),
        ("5/20 * * * *", ["2026-05-06 10:25", "2026-05-06 10:45", "2026-05-06 11:05"]),
        ("0 9 * * 1-5", ["2026-05-07 09:00", "2026-05-08 09:00", "2026-05-11 09:00"]),
        ("30 14 * * 1,3,5", ["2026-05-06 14:30", "2026-05-08 14:30", "2026-05-11 14:30"]),
        ("0 9 * * mon-fri", ["2026-05-07 09:00", "2026-05-08 09:00", "2026-05-11 09:00"]),
        ("0 0 * * SAT,SUN", ["2026-05-09 00:00", "2026-05-10 00:00", "2026-05-16 00:00"]),
        ("0 0 * * FRI-MON", ["2026-05-08 00:00", "2026-05-09 00:00", "2026-05-10 00:00"]),
        ("0 0 * * 7", ["2026-05-10 00:00", "2026-05-17 00:00", "2026-05-24 00:00"]),
        ("0 0 1 JAN *", ["2027-01-01 00:00", "2028-01-01 00:00", "2029-01-01 00:00"]),
        ("0 0 L * *", ["2026-05-31 00:00", "2026-06-30 00:00", "2026-07-31 00:00"]),
        ("0 0 * * 5#2", ["2026-05-08 00:00", "2026-06-12 00:00", "2026-07-10 00:00"]),
        ("0 0 * * L5", ["2026-05-29 00:00", "2026-06-26 00:00", "2026-07-31 00:00"]),
        ("0 0 ? * MON", ["2026-05-11 00:00", "2026-05-18 00:00", "2026-05-25 00:00"]),
        ("0 22-1 * * *", ["2026-05-06 22:00", "2026-05-06 23:00", "2026-05-07 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
    ],
)
def test_a_cron_of_five_fields(text, expected):
    assert parse(text, None).form is Form.CRON
    assert upcoming(text) == expected


def test_either_day_field_may_match_when_both_are_restricted():
    assert upcoming("0 0 13 * 5", 5) == [f"2026-05-{day} 00:00" for day in ("08", "13", "15", "22", "29")]


@pytest.mark.parametrize(
    ("alias", "cron"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@Midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ],
)
def test_an_alias_is_the_cron_it_stands_for(alias, cron):
    assert upcoming(alias, zone="Asia/Tokyo") == upcoming(cron, zone="Asia/Tokyo")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("2d", 172800),
        ("1d1h1m1s", 90061),
        ("366d", 366 * 86400),
    ],
)
def test_every_counts_elapsed_time(text, seconds):
    assert next_after(parse(f"@every {text}", None), NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["@every", "@every x", "@every 5", "@every -5s", "@every 1.5h", "@every 5m1h", "@every 5w"]
)
def test_every_without_a_readable_duration_is_refused(text):
    assert "'@every 1h30m'" in refusal(text)


@pytest.mark.parametrize("text", ["@every 0s", "@every 0d0h", "@every 367d", "@every 99999999h"])
def test_every_is_longer_than_nothing_and_at_most_a_year(text):
    assert "at most 366d" in refusal(text)


def test_a_time_is_daily_and_local():
    schedule = parse("9:30", "America/New_York")
    assert (schedule.text, schedule.form) == ("09:30", Form.TIME)
    assert preview(schedule, NOW, 2) == [at("2026-05-06 13:30"), at("2026-05-07 13:30")]


@pytest.mark.parametrize("text", ["24:00", "12:60", "99:99"])
def test_a_time_beyond_the_day_is_refused(text):
    assert refusal(text) == "A daily time lies between 00:00 and 23:59."


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-12-25", "2026-12-25 05:00"),
        ("2026-12-25T10:00", "2026-12-25 15:00"),
        ("2026-12-25 10:00:30", "2026-12-25 15:00:30"),
        ("2026-12-25T10:00:00.000Z", "2026-12-25 10:00"),
        ("2026-12-25T10:00:00+02:00", "2026-12-25 08:00"),
        ("2026-12-25t10:00z", "2026-12-25 10:00"),
        ("Fri, 25 Dec 2026 10:00:00 +0100", "2026-12-25 09:00"),
        ("25 Dec 2026 10:00 GMT", "2026-12-25 10:00"),
        ("25 Dec 2026 10:00:00 -0000", "2026-12-25 10:00"),
        ("25 Dec 2026 10:00:00", "2026-12-25 15:00"),
    ],
)
def test_a_date_runs_once_and_is_local_unless_it_has_an_offset(text, moment):
    schedule = parse(text, "America/New_York")
    assert schedule.form is Form.DATE
    assert preview(schedule, NOW, 3) == [at(moment)]
    assert next_after(schedule, at(moment)) is None


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "2026-13-01",
        "2026-12-25T25:00",
        "2026-12-25T10:00+25:00",
        "0000-01-01",
        "9999-12-31T23:59",
        "0001-01-01",
        "32 Dec 2026 10:00",
        "25 Foo 2026 10:00",
    ],
)
def test_a_day_that_does_not_exist_is_refused(text):
    zone = "Asia/Tokyo" if text.startswith("0001") else "America/New_York"
    assert refusal(text, zone) == "The schedule looks like a date, but there is no such day or time."


def test_a_weekday_that_belies_its_date_is_refused():
    assert "do not belong together" in refusal("Mon, 25 Dec 2026 10:00:00 +0000")


def test_a_past_date_is_refused_only_when_asked():
    schedule = parse("2020-01-01", None)
    with pytest.raises(InvalidInput, match="lies in the past"):
        check_future(schedule, NOW)
    check_future(parse("2030-01-01", None), NOW)
    check_future(parse("0 9 * * *", None), NOW)


@pytest.mark.parametrize("text", ["0 0 31 2 *", "0 0 30 FEB *", "0 0 31 4,6,9,11 *"])
def test_a_cron_that_can_never_fire_is_refused(text):
    assert "can never fire" in refusal(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0 * * * * *", "this one has 6"),
        ("0 0 * * * * 2030", "this one has 7"),
        ("60 * * * *", "The minute field of a cron takes 0 to 59"),
        ("* 24 * * *", "The hour field of a cron takes 0 to 23"),
        ("* * 0 * *", "The day-of-month field of a cron takes 1 to 31"),
        ("* * * 13 *", "The month field of a cron takes 1 to 12"),
        ("* * * * 8", "The day-of-week field of a cron takes 0 to 7"),
        ("* * * FOO *", "JAN to DEC"),
        ("MON * * * *", "The minute field"),
        ("H * * * *", "The minute field"),
        ("H(0-5) * * * *", "The minute field"),
        ("R * * * *", "The minute field"),
        ("* R/2 * * *", "The hour field"),
        ("0 0 15W * *", "The day-of-month field"),
        ("0 0 * * MON#6", "The day-of-week field"),
        ("-5 * * * *", "The minute field"),
        ("1,,2 * * * *", "The minute field"),
        ("? * * * *", "The minute field"),
        ("*/0 * * * *", "must lie between 1 and 59"),
        ("*/90 * * * *", "'@every 90m'"),
        ("0 */24 * * *", "must lie between 1 and 23"),
        ("9-9 * * * *", "starts where it ends"),
        ("0 0 * * MON-1", "starts where it ends"),
        ("0 0 * * 7-0", "starts where it ends"),
        ("0 22-2/2 * * *", "backward range with a step"),
        ("0 0 10 * 5#2", "needs '*' as its day-of-month field"),
        ("0 0 * * 5#2,1", "cannot mix plain weekdays"),
        ("0 0 2-31,L * *", "leave 'L' out"),
        ("@reboot", "'@reboot' is not a time"),
        ("@fortnightly", "there are @yearly"),
    ],
)
def test_a_cron_that_cannot_be_read_is_refused_with_the_reason(text, sentence):
    assert sentence in refusal(text)


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_text_is_refused(text):
    assert "empty" in refusal(text)


@pytest.mark.parametrize("text", ["daily\0", "0 9 * *\t*", "daily\n", "dаily", "٠ ٩ * * *", "\ud800"])
def test_anything_but_one_line_of_ascii_is_refused(text):
    assert "plain ASCII" in refusal(text)


def test_a_long_text_is_refused():
    assert "at most 200 characters" in refusal(",".join(["1"] * 101) + " * * * *")


@pytest.mark.parametrize(
    "zone",
    [
        "",
        "../x",
        "../../etc/passwd",
        "/etc/localtime",
        "localtime",
        "posixrules",
        "Factory",
        "Europe",
        "America/",
        "x\0y",
        "Europe/Berlin\n",
        "a" * 5000,
        "\ud800",
        "UTC+1",
        "tzdata.zi",
    ],
)
def test_a_name_that_is_no_zone_is_refused(zone):
    assert "not an IANA name" in refusal("daily", zone)


@pytest.mark.parametrize(
    ("zone", "close"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("New York", "America/New_York"),
    ],
)
def test_an_unknown_zone_comes_with_a_suggestion(zone, close):
    assert close in refusal("daily", zone)[len("The time zone is not an IANA name such as Europe/Berlin.") :]


def test_no_zone_means_utc():
    assert parse("0 9 * * *", None).zone == "UTC"
    assert parse("0 9 * * *", None) == parse("  0 9  * * * ", "UTC")


def test_equal_texts_in_equal_zones_are_equal_and_parsed_once():
    assert parse("0 9 * * *", "Asia/Tokyo") is parse("0 9 * * *", "Asia/Tokyo")
    assert hash(parse("0 9 * * mon", None)) == hash(parse("0 9 * * MON", None))
    assert parse("0 9 * * *", "Asia/Tokyo") != parse("0 9 * * *", None)


def test_a_naive_instant_is_a_mistake():
    with pytest.raises(ValueError, match="offset from UTC"):
        next_after(parse("daily", None), datetime(2026, 1, 1))  # noqa: DTZ001


def test_an_instant_in_another_zone_is_the_same_instant():
    schedule = parse("0 9 * * *", "Asia/Tokyo")
    elsewhere = NOW.astimezone(parse("daily", "America/New_York").tz)
    assert next_after(schedule, elsewhere) == next_after(schedule, NOW)
    assert next_after(parse("hourly", None), elsewhere).tzinfo is UTC


def test_the_end_of_the_calendar_has_no_next_occurrence():
    last = datetime.max.replace(tzinfo=UTC)
    for text in ("daily", "* * * * *", "0 0 29 2 *", "@every 366d", "2030-01-01"):
        assert next_after(parse(text, "Asia/Tokyo"), last) is None


def test_a_span_of_intervals_is_arithmetic():
    schedule = parse("@every 90s", None)
    assert due_through(schedule, NOW, NOW) == Span(NOW, NOW, 1)
    assert due_through(schedule, NOW, NOW + timedelta(seconds=181)) == Span(
        NOW, NOW + timedelta(seconds=180), 3
    )


def test_a_span_of_a_date_is_one():
    schedule = parse("2026-01-01", None)
    assert due_through(schedule, at("2026-01-01"), NOW) == Span(at("2026-01-01"), at("2026-01-01"), 1)


def test_a_span_of_a_cron_counts_across_days():
    span = due_through(parse("*/10 9-17 * * MON-FRI", None), at("2026-05-01 09:30"), NOW)
    assert span == Span(at("2026-05-01 09:30"), at("2026-05-06 10:00"), 51 + 2 * 54 + 7)


def test_a_stored_occurrence_that_the_zones_new_rules_do_not_know_counts_as_one():
    schedule, stored = parse("0 9,17 * * *", None), at("2026-05-04 08:00")
    assert due_through(schedule, stored, stored + timedelta(minutes=5)) == Span(stored, stored, 1)
    assert due_through(schedule, stored, at("2026-05-05 10:00")) == Span(stored, at("2026-05-05 09:00"), 4)


def test_a_span_too_long_to_count_still_ends_at_the_last_occurrence():
    span = due_through(parse("* * * * *", "America/New_York"), at("1970-01-01"), NOW)
    assert not span.exact
    assert 10_000_000 < span.count < (NOW - at("1970-01-01")) / timedelta(minutes=1)
    assert span.last == at("2026-05-06 10:07")


def test_a_span_begins_with_an_occurrence_that_is_due():
    with pytest.raises(ValueError, match="must be due"):
        due_through(parse("daily", None), NOW + timedelta(seconds=1), NOW)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("@every 5m", 5),
        ("hourly", 60),
        ("*/5 * * * *", 5),
        ("0,7 * * * *", 7),
        ("50,10 * * * *", 20),
        ("0 9,17 * * *", 8 * 60),
        ("0 0,23 * * *", 60),
        ("0 0,23 * * MON", 23 * 60),
        ("0 0,23 * * MON,TUE", 60),
        ("30 9 * * *", 24 * 60),
        ("0 0 1,L * *", 24 * 60),
        ("0 9 * * MON", 7 * 24 * 60),
        ("0 0 1 * *", 28 * 24 * 60),
        ("0 0 29 2 *", 1461 * 24 * 60),
    ],
)
def test_the_closest_two_occurrences_decide_about_the_minimum(text, minutes):
    schedule = parse(text, "Europe/Berlin")
    check_minimum(schedule, timedelta(minutes=minutes))
    with pytest.raises(InvalidInput, match="the least time allowed here"):
        check_minimum(schedule, timedelta(minutes=minutes, seconds=1))


def test_one_run_has_no_minimum():
    check_minimum(parse("2030-01-01", None), timedelta(days=999))


def test_threads_that_ask_together_get_the_same_answers():
    texts = ["*/7 * * * *", "0 9 * * MON-FRI", "0 0 L * *", "0 0 * * 5#2", "30 2 1 * *"]
    answers: list[list[list[str]]] = []

    def ask() -> None:
        answers.append([upcoming(text, 200, "Europe/Berlin", at("2031-01-01")) for text in texts])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answer == answers[0] for answer in answers)
    assert len(answers) == 8
