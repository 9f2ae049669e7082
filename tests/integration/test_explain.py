"""Why did it not run at 09:00? Each answer the ledger and the clock can give."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.errors import InvalidInput
from core.explain import history, upcoming, why
from core.firing import fire
from core.tasks import pause_task, preview_task, update_task
from core.turns import carry_out
from models import Reason
from tests.factories import a_due_task, a_task, execute, make_due, one

HOUR = timedelta(hours=1)


def asked(context, account, task, at):
    with context.transaction(account) as session:
        return why(session, task.id, at)


def the_due(context):
    return one(context, "SELECT next_run_at FROM task_clocks")


def now(context):
    return one(context, "SELECT now()")


def test_a_run_is_told_with_its_lateness_and_its_end(context, account, leases):
    task = a_due_task(context, account, schedule="@every 1h")
    due = the_due(context)
    assert asked(context, account, task, due).verdict == "not_fired"
    fire(context)
    assert asked(context, account, task, due).sentences == ("It is due and waits for a worker.",)
    run = one(context, "SELECT id FROM runs")
    carry_out(context, leases, run, worker="tests")
    told = asked(context, account, task, due)
    assert (told.verdict, [row.id for row in told.runs]) == ("succeeded", [run])
    assert "s after its time, and succeeded." in told.sentences[0]


def test_a_run_that_its_jitter_holds_back_says_so(context, account):
    task = a_due_task(context, account, jitter=timedelta(days=1))
    due = the_due(context)
    fire(context)
    execute(context, "UPDATE runs SET run_at = now() + interval '1 hour'")
    told = asked(context, account, task, due)
    assert told.verdict == "pending"
    assert told.sentences[0].startswith("It is due, and its jitter lets it begin in 3")


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_of_the_ledger_has_a_sentence(context, account, reason):
    task = a_due_task(context, account, schedule="@every 1h")
    due = the_due(context)
    fire(context)
    execute(
        context,
        "UPDATE runs SET state = 'skipped', finished_at = now(), reason = :reason,"
        " covers_from = scheduled_for - interval '2 hours', covers_count = 3",
        reason=reason.value,
    )
    for at in (due, due - 2 * HOUR):
        told = asked(context, account, task, at)
        assert told.verdict == "skipped"
        assert told.sentences[0].endswith("One row covers 3 occurrences.")
    assert asked(context, account, task, due - 3 * HOUR).verdict != "skipped"


def test_a_paused_an_expired_and_a_future_task_say_so(context, account):
    task = a_task(context, account, schedule="@every 1m")
    execute(context, "UPDATE tasks SET created_at = now() - interval '1 day'")
    assert asked(context, account, task, now(context) - 48 * HOUR).verdict == "not_made"
    with context.transaction(account) as session:
        pause_task(session, task.id)
    execute(context, "UPDATE task_clocks SET rests_from = now() - interval '3 hours'")
    assert asked(context, account, task, now(context) - HOUR).verdict == "paused"
    assert asked(context, account, task, now(context) + HOUR).verdict == "paused"
    execute(context, "UPDATE tasks SET expires_at = now() - interval '2 hours'")
    assert asked(context, account, task, now(context) - HOUR).verdict == "expired"


def test_a_pause_that_begins_within_the_second_in_question_is_told(context, account):
    task = a_task(context, account, schedule="@every 2s")
    with context.transaction(account) as session:
        pause_task(session, task.id)
    due = datetime(2026, 11, 20, 9, 0, 5, 400_000, tzinfo=UTC)
    execute(context, "UPDATE task_clocks SET rests_from = :due", due=due)
    execute(context, "UPDATE tasks SET created_at = '2026-11-20T08:00:00Z'")
    assert asked(context, account, task, due.replace(microsecond=0)).verdict == "paused"
    assert asked(context, account, task, due - timedelta(seconds=2)).verdict != "paused"


def test_an_instant_that_the_schedule_does_not_have_names_its_neighbours(context, account):
    task = a_task(context, account, schedule="0 9 * * 1-5", timezone="Europe/Berlin")
    execute(context, "UPDATE tasks SET created_at = '2020-01-01'")
    saturday = datetime(2026, 3, 28, 8, tzinfo=UTC)
    told = asked(context, account, task, saturday)
    assert told.verdict == "not_due"
    assert told.sentences[1:] == (
        "Before it, it was due at 2026-03-27 09:00:00 CET.",
        "After it, it is due at 2026-03-30 09:00:00 CEST.",
        "The clocks of its zone go forward by 1:00:00 within a day of it.",
    )


def test_an_instant_to_come_and_one_of_an_older_schedule(context, account):
    task = a_task(context, account, schedule="0 9 * * *")
    execute(context, "UPDATE tasks SET created_at = '2020-01-01'")
    tomorrow = (now(context) + timedelta(days=2)).replace(hour=9, minute=0, second=0, microsecond=0)
    assert asked(context, account, task, tomorrow).verdict == "to_come"
    assert asked(context, account, task, tomorrow - timedelta(days=30)).verdict == "not_scheduled"
    with context.transaction(account) as session:
        update_task(session, task.id, schedule=None)
    assert asked(context, account, task, tomorrow).verdict == "no_schedule"


def test_an_interval_is_due_on_its_grid_and_not_beside_it(context, account):
    task = a_task(context, account, schedule="@every 1h")
    due = the_due(context)
    assert asked(context, account, task, due + 48 * HOUR).verdict == "to_come"
    assert asked(context, account, task, due + 48.5 * HOUR).verdict == "not_due"
    with context.transaction(account) as session:
        pause_task(session, task.id, until=due + HOUR / 2)
    assert asked(context, account, task, due).verdict == "paused"
    assert asked(context, account, task, due + HOUR).verdict == "to_come"
    assert asked(context, account, task, due + HOUR / 2).verdict == "not_due"


@pytest.mark.parametrize("year", [1, 1999, 9999])
def test_a_time_ages_away_is_refused(context, account, year):
    task = a_task(context, account, schedule="0 9 * * *")
    for at in (datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)):
        with pytest.raises(InvalidInput):
            asked(context, account, task, at)


def test_a_history_counts_measures_and_adds_up(context, account, leases):
    task = a_due_task(context, account, schedule="@every 1h", late=timedelta(seconds=2))
    for end in ("succeeded", "succeeded", "skipped"):
        make_due(context, task.id, late=timedelta(seconds=2))
        fire(context)
        if end == "succeeded":
            run = one(context, "SELECT id FROM runs WHERE state = 'pending'")
            carry_out(context, leases, run, worker="tests")
        else:
            make_due(context, task.id)
            fire(context)
    with context.transaction(account) as session:
        found = history(session, task.id)
    assert found.counts == {"succeeded": 2, "failed": 0, "cancelled": 0, "skipped": 1, "missed": 0}
    assert found.success_rate == 1
    assert 0 < found.took[0] <= found.took[1] < 60
    assert 2 <= found.late[0] <= found.late[1] < 60
    assert found.tokens > 0
    assert len(found.runs) == 4


def test_a_preview_marks_the_change_of_the_clocks(context, account):
    task = a_task(context, account, schedule="0 9 * * *", timezone="Europe/Berlin")
    with context.transaction(account) as session:
        found = upcoming(session, preview_task(session, task.id, 370), "Europe/Berlin")
    changes = [one.change for one in found if one.change]
    assert sorted(changes) == [-HOUR, HOUR]
