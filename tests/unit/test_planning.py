"""What a due clock comes to: every policy, and that every due instant is accounted for exactly once."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.planning import CATCH_UP_MOST, LATE, offset, plan
from core.schedule import next_after, parse
from models import CatchUp, Overlap, RunState, Trigger

ACCOUNT, TASK = uuid.UUID(int=1), uuid.UUID(int=2)
HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def a_task(**changes):
    return {
        "id": TASK, "account_id": ACCOUNT, "state": "active", "bot_id": uuid.UUID(int=3),
        "action": "complete", "schedule": "*/5 * * * *", "timezone": None, "overlap": "skip",
        "catch_up": "latest", "catch_up_window": None, "catch_up_max": None, "jitter": None,
        "expires_at": None, "paused_until": None, "conversation_mode": "new", "closed": False,
        "session_of": None, "busy": False, "waits": False, "session_busy": False, "budget_spent": False,
        "recorded_from": None, "recorded_through": None, **changes,
    }  # fmt: skip


def fired(late=timedelta(seconds=1), since=timedelta(0), window=HOUR, rests_from=None, **task):
    """The plan of a clock that came due `late` ago and has had `since` of outage before."""
    clock = {"next_run_at": NOON - since, "rests_from": rests_from, "now": NOON + late}
    return plan(clock, a_task(**task), window)


def reasons(firing):
    return [(row.state.value, row.reason.value, row.covers_count or 1) for row in firing.unrun]


def test_an_occurrence_on_time_is_one_run():
    firing = fired()
    assert [(one.scheduled_for, one.trigger, one.waiting) for one in firing.spawns] == [
        (NOON, Trigger.SCHEDULE, False)
    ]
    assert firing.unrun == ()
    assert firing.next_run_at == NOON + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("overlap", "state", "spawned", "cancels"),
    [
        ("skip", {"busy": True}, None, False),
        ("skip", {"waits": True}, None, False),
        ("skip", {"session_busy": True}, None, False),
        ("queue", {"busy": True}, True, False),
        ("queue", {"busy": True, "waits": True}, None, False),
        ("allow", {"busy": True, "waits": True}, False, False),
        ("cancel_previous", {"busy": True}, False, True),
        ("cancel_previous", {}, False, False),
    ],
)
def test_overlap(overlap, state, spawned, cancels):
    firing = fired(overlap=overlap, **state)
    assert [one.waiting for one in firing.spawns] == ([] if spawned is None else [spawned])
    assert reasons(firing) == ([("skipped", "overlap", 1)] if spawned is None else [])
    assert firing.cancels is cancels


def test_of_an_outage_the_latest_runs_and_the_others_are_missed():
    firing = fired(since=timedelta(minutes=30))
    assert [one.scheduled_for for one in firing.spawns] == [NOON]
    assert firing.spawns[0].trigger == Trigger.CATCH_UP
    assert reasons(firing) == [("missed", "late", 6)]


def test_all_of_an_outage_run_one_after_the_other_up_to_the_maximum():
    firing = fired(since=timedelta(minutes=30), catch_up="all", catch_up_max=3)
    assert [(NOON - one.scheduled_for, one.waiting) for one in firing.spawns] == [
        (timedelta(minutes=10), False),
        (timedelta(minutes=5), True),
        (timedelta(0), True),
    ]
    assert reasons(firing) == [("missed", "late", 4)]


def test_all_of_an_outage_wait_for_a_run_that_is_under_way():
    firing = fired(since=timedelta(minutes=5), catch_up="all", busy=True)
    assert [one.waiting for one in firing.spawns] == [True, True]


def test_none_of_an_outage_runs_where_nothing_is_caught_up_with():
    firing = fired(late=LATE + timedelta(seconds=1), catch_up="none")
    assert (firing.spawns, reasons(firing)) == ((), [("missed", "late", 1)])
    assert len(fired(late=LATE, catch_up="none").spawns) == 1


def test_a_window_of_its_own_goes_before_the_installations():
    late = {"late": timedelta(hours=2), "schedule": "0 12 * * *"}
    assert reasons(fired(**late)) == [("missed", "outside_window", 1)]
    assert len(fired(**late, catch_up_window=timedelta(hours=3)).spawns) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bot_id": None}, "no_bot"),
        ({"budget_spent": True}, "budget"),
        ({"closed": True}, "account_closed"),
        ({"expires_at": NOON + LATE, "late": 2 * LATE}, "expired"),
    ],
)
def test_a_policy_refuses(changes, reason):
    firing = fired(**changes)
    assert (firing.spawns, reasons(firing)) == ((), [("skipped", reason, 1)])


def test_the_clock_of_a_closed_account_rests():
    firing = fired(closed=True)
    assert (firing.next_run_at, firing.rests_from) == (None, NOON + timedelta(minutes=5))


def test_a_task_that_expires_has_no_occurrence_from_then_on():
    assert fired(expires_at=NOON + timedelta(minutes=5)).next_run_at is None
    assert fired(expires_at=NOON + timedelta(minutes=5, seconds=1)).next_run_at is not None
    firing = fired(since=HOUR, expires_at=NOON - timedelta(minutes=29))
    assert reasons(firing) == [("missed", "late", 6), ("skipped", "expired", 1)]


def test_a_pause_that_has_ended_is_one_row_and_the_clock_goes_on():
    rests_from = NOON - timedelta(minutes=30)
    firing = fired(state="paused", paused_until=NOON, rests_from=rests_from)
    assert (firing.wakes, firing.spawns, reasons(firing)) == (True, (), [("skipped", "paused", 6)])
    assert firing.next_run_at == NOON


def test_a_pause_that_outlives_its_task_covers_what_was_due_before_the_end():
    rests_from = NOON - timedelta(minutes=30)
    firing = fired(
        state="paused", paused_until=NOON, rests_from=rests_from, expires_at=NOON - timedelta(minutes=14)
    )
    assert (reasons(firing), firing.next_run_at) == ([("skipped", "paused", 4)], None)


def test_what_has_its_row_already_is_neither_run_nor_written_again():
    ahead = {"recorded_from": NOON - timedelta(minutes=10), "recorded_through": NOON - timedelta(minutes=5)}
    firing = fired(since=HOUR, **ahead)
    assert reasons(firing) == [("missed", "late", 9)]
    assert [one.scheduled_for for one in firing.spawns] == [NOON - timedelta(minutes=15)]
    assert firing.next_run_at == NOON - timedelta(minutes=10)
    firing = fired(since=timedelta(minutes=10), **ahead)
    assert (firing.spawns, firing.unrun, firing.next_run_at) == ((), (), NOON)


def test_a_pause_into_which_nothing_fell_leaves_no_row():
    firing = fired(state="paused", paused_until=NOON, rests_from=NOON + HOUR)
    assert (firing.unrun, firing.next_run_at) == ((), NOON + HOUR)


@pytest.mark.parametrize(("mode", "busy", "opens"), [("new", False, True), ("one", False, False)])
def test_a_run_of_a_session_is_told_where_to_speak(mode, busy, opens):
    (spawn,) = fired(conversation_mode=mode, busy=busy).spawns
    assert (spawn.opens, spawn.waiting) == (opens, not opens)


def test_where_overlap_is_allowed_a_busy_session_is_left_for_a_new_conversation():
    (spawn,) = fired(conversation_mode="one", overlap="allow", session_busy=True).spawns
    assert (spawn.opens, spawn.waiting) == (True, False)


def test_jitter_moves_the_run_and_nothing_else():
    firing = fired(jitter=timedelta(minutes=4))
    assert firing.spawns[0].scheduled_for == NOON
    assert timedelta(0) <= firing.spawns[0].delay < timedelta(minutes=4)
    assert firing.next_run_at == NOON + timedelta(minutes=5)


@given(st.uuids(), st.integers(0, 2**33), st.timedeltas(timedelta(0), 24 * HOUR))
def test_jitter_is_stable_and_bounded(task, second, jitter):
    at = datetime.fromtimestamp(second, UTC)
    assert offset(task, at, jitter) == offset(task, at, jitter)
    assert timedelta(0) <= offset(task, at, jitter) < max(jitter, timedelta(microseconds=1))


def test_jitter_spreads_evenly():
    drawn = [offset(TASK, NOON + n * HOUR, HOUR) for n in range(2000)]
    assert all(abs(sum(one < HOUR * part / 4 for one in drawn) - 500 * part) < 120 for part in (1, 2, 3))


SCHEDULES = st.sampled_from(
    [
        "* * * * *",
        "*/7 * * * *",
        "@every 90s",
        "hourly",
        "30 2 * * *",
        "0 9 * * 1-5",
        "@daily",
        "15 */2 * * *",
    ]
)
ZONES = st.sampled_from([None, "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])


@given(
    SCHEDULES,
    ZONES,
    st.timedeltas(timedelta(0), timedelta(days=270)),
    st.timedeltas(timedelta(0), timedelta(days=3)),
    st.sampled_from(list(Overlap)),
    st.sampled_from(list(CatchUp)),
    st.sampled_from([None, timedelta(minutes=10), timedelta(days=2)]),
    st.integers(1, 150),
    st.sampled_from([None, timedelta(hours=5), timedelta(days=30)]),
    st.fixed_dictionaries(
        {name: st.booleans() for name in ("busy", "waits", "session_busy", "budget_spent", "closed")}
    ),
    st.sampled_from(["new", "one"]),
)
def test_each_due_instant_is_accounted_for_exactly_once(
    text, zone, after, outage, overlap, catch_up, window, most, expires, flags, mode
):
    schedule = parse(text, zone)
    first = next_after(schedule, datetime(2026, 3, 1, tzinfo=UTC) + after)
    now, expires_at = first + outage, expires and first + expires
    task = a_task(
        schedule=text, timezone=zone, overlap=overlap.value, catch_up=catch_up.value, catch_up_window=window,
        catch_up_max=most, expires_at=expires_at, conversation_mode=mode, **flags,
    )  # fmt: skip
    firing = plan({"next_run_at": first, "rests_from": None, "now": now}, task, HOUR)
    due, at = [], first
    while at is not None and at <= now and (expires_at is None or at < expires_at):
        due.append(at)
        at = next_after(schedule, at)
    told = [one.scheduled_for for one in firing.spawns]
    for row in firing.unrun:
        covered = [x for x in due if (row.covers_from or row.scheduled_for) <= x <= row.scheduled_for]
        assert len(covered) == (row.covers_count or 1)
        assert row.state in {RunState.MISSED, RunState.SKIPPED}
        told += covered
    assert sorted(told) == due
    following = at if expires_at is None or at is None or at < expires_at else None
    assert (firing.rests_from if flags["closed"] else firing.next_run_at) == following
    assert len(firing.spawns) <= (min(most, CATCH_UP_MOST + 50) if catch_up == CatchUp.ALL else 1)
    assert [one.scheduled_for for one in firing.spawns] == sorted(one.scheduled_for for one in firing.spawns)
    if overlap != Overlap.ALLOW:
        assert sum(not one.waiting for one in firing.spawns) <= 1
