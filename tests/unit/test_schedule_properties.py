"""What holds for every schedule, whatever its text, zone and instant."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.schedule import check_minimum, due_through, next_after, parse, preview
from core.schedule.forms import NAMED_INTERVALS
from core.schedule.occurrences import _next_in_minute

FEW = settings(max_examples=150, deadline=None)

ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?(Z|[+-][0-9]{2}(:[0-9]{2})?)?"
RFC_2822 = r"([A-Z][a-z]{2}, )?[0-9]{1,2} (Feb|Dec|Foo) [0-9]{4} [0-9]{2}:[0-9]{2}( [+-][0-9]{4})?"


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high).map(str)
    return st.one_of(
        st.just("*"),
        value,
        st.lists(value, min_size=2, max_size=4).map(",".join),
        st.tuples(st.integers(low, high - 1), st.integers(1, 5)).map(
            lambda p: f"{p[0]}-{min(high, p[0] + p[1])}"
        ),
        st.integers(1, high).map(lambda step: f"*/{step}"),
    )


crons = st.tuples(numbers(0, 59), numbers(0, 23), numbers(1, 28), numbers(1, 12), numbers(0, 6)).map(" ".join)
times = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda t: f"{t[0]:02}:{t[1]:02}")
intervals = st.sampled_from(sorted(NAMED_INTERVALS)) | st.integers(1, 10**6).map(lambda s: f"@every {s}s")
texts = crons | times | intervals
zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca",
     "America/Sao_Paulo", "Antarctica/Troll", "Asia/Kathmandu", "America/St_Johns"]
)  # fmt: skip
instants = st.integers(0, 105 * 365 * 86400).map(
    lambda s: datetime(1985, 1, 1, tzinfo=UTC) + timedelta(seconds=s)
)


@FEW
@given(texts, zones, instants)
def test_occurrences_strictly_increase(text, zone, instant):
    due = [instant, *preview(parse(text, zone), instant, 15)]
    assert all(before < after for before, after in pairwise(due))


@FEW
@given(texts, zones, instants, st.integers(0, 10))
def test_a_preview_continues_where_another_ends(text, zone, instant, cut):
    schedule = parse(text, zone)
    whole = preview(schedule, instant, 11)
    assert preview(schedule, whole[cut], 10 - cut) == whole[cut + 1 :]


@FEW
@given(crons | times, zones, instants, st.integers(0, 10**6))
def test_nothing_lies_between_an_instant_and_the_next_occurrence(text, zone, instant, share):
    schedule = parse(text, zone)
    due = next_after(schedule, instant)
    between = instant + (due - instant) * share / 10**6
    assert between >= due or next_after(schedule, between) == due


@FEW
@given(texts, zones, instants, st.integers(1, 60), st.integers(0, 59))
def test_a_span_agrees_with_a_preview(text, zone, instant, count, seconds):
    schedule = parse(text, zone)
    due = preview(schedule, instant, count + 1)
    now = min(due[count - 1] + timedelta(seconds=seconds), due[count] - timedelta(microseconds=1))
    span = due_through(schedule, due[0], now)
    assert (span.first, span.last, span.count, span.exact) == (due[0], due[count - 1], count, True)


@FEW
@given(intervals, instants, st.integers(1, 1000))
def test_intervals_never_drift(text, instant, count):
    schedule = parse(text, None)
    due = instant
    for _ in range(count):
        due = next_after(schedule, due)
    assert due == instant + count * schedule.interval


@FEW
@given(texts, zones, instants)
def test_the_memo_does_not_change_an_answer(text, zone, instant):
    schedule = parse(text, zone)
    warm = [next_after(schedule, instant), next_after(schedule, instant)]
    _next_in_minute.cache_clear()
    parse.cache_clear()
    assert warm == [next_after(parse(text, zone), instant)] * 2


@FEW
@given(texts, zones)
def test_a_schedule_can_be_read_back_from_its_text(text, zone):
    schedule = parse(text, zone)
    again = parse(schedule.text, schedule.zone)
    assert (again, again.form, again.cron, again.interval) == (
        schedule,
        schedule.form,
        schedule.cron,
        schedule.interval,
    )


@FEW
@given(crons, instants, st.integers(1, 3000))
def test_a_schedule_within_the_minimum_keeps_it(text, instant, minutes):
    schedule, minimum = parse(text, None), timedelta(minutes=minutes)
    with suppress(InvalidInput):
        check_minimum(schedule, minimum)
        assert all(after - before >= minimum for before, after in pairwise(preview(schedule, instant, 40)))


def read_or_refuse(text: str, zone: str | None) -> None:
    with suppress(InvalidInput):
        schedule = parse(text, zone)
        preview(schedule, datetime(2026, 1, 1, tzinfo=UTC), 3)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=250), st.none() | st.text(max_size=40))
def test_garbage_is_refused_and_nothing_worse(text, zone):
    read_or_refuse(text, None)
    read_or_refuse("daily", zone)


letters = st.text("0123456789*/,-#?LWHRlwhrMONJAN@.:+TZ()_", min_size=1, max_size=6)
fields = st.sampled_from(["*", "5", "L", "5#2", "L5", "*/7", "1-5", "31", "2", "MON-FRI", "?", "7-1"])
lookalikes = st.one_of(
    st.lists(letters, min_size=1, max_size=7).map(" ".join),
    st.lists(fields, min_size=5, max_size=5).map(" ".join),
    st.from_regex(r"@(every|daily|x) ?[0-9dhms. -]{0,9}", fullmatch=True),
    st.from_regex(ISO, fullmatch=True),
    st.from_regex(RFC_2822, fullmatch=True),
)


@settings(max_examples=1200, deadline=None)
@given(lookalikes)
def test_what_looks_like_a_schedule_is_read_or_refused_and_nothing_worse(text):
    read_or_refuse(text, "Australia/Lord_Howe")
