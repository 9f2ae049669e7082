"""Firing: each occurrence exactly once, each with its conversation, whatever happens beside it."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from core.errors import Unavailable
from core.firing import DEFINITIONS, fire, fire_besides_the_crowd
from core.tasks import delete_task, pause_task, resume_task, trigger_task, update_task
from core.turns import carry_out
from scheduler.loop import turn
from tests.factories import a_bot, a_due_task, a_task, an_account, execute, make_due, one, rows, the_run


def test_a_due_task_becomes_a_run_with_its_conversation_and_prompt(context, account):
    task = a_due_task(context, account, description="What is new?")
    assert fire(context) == 1
    run = rows(context, "SELECT * FROM runs")[0]
    conversation = rows(context, "SELECT * FROM conversations")[0]
    message = rows(context, "SELECT * FROM messages")[0]
    assert (run["state"], run["trigger"], run["task_id"]) == ("pending", "schedule", task.id)
    assert (conversation["task_id"], conversation["run_id"]) == (task.id, run["id"])
    assert run["conversation_id"] == conversation["id"] == message["conversation_id"]
    assert (message["type"], message["text"], message["seq"]) == ("user", "What is new?", 1)
    assert conversation["next_seq"] == 2


def test_a_fired_task_moves_on_along_its_grid(context, account):
    task = a_due_task(context, account, schedule="@every 10m", late=timedelta(seconds=3))
    before = one(context, "SELECT next_run_at FROM task_clocks WHERE task_id = :id", id=task.id)
    fire(context)
    after = one(context, "SELECT next_run_at FROM task_clocks WHERE task_id = :id", id=task.id)
    assert after - before == timedelta(minutes=10)
    assert fire(context) == 0


def test_an_occurrence_cannot_be_stored_twice(context, account):
    a_due_task(context, account)
    fire(context)
    execute(context, "UPDATE runs SET state = 'cancelled', finished_at = now()")
    with pytest.raises(IntegrityError, match="uq_runs_occurrence"):
        execute(
            context,
            "INSERT INTO runs (id, account_id, task_id, trigger, action, scheduled_for)"
            " SELECT gen_random_uuid(), account_id, task_id, trigger, action, scheduled_for FROM runs",
        )


def test_a_clock_that_stands_on_a_recorded_occurrence_only_moves_on(context, account):
    task = a_due_task(context, account)
    due = one(context, "SELECT next_run_at FROM task_clocks")
    fire(context)
    execute(context, "UPDATE task_clocks SET next_run_at = :due WHERE task_id = :id", due=due, id=task.id)
    assert fire(context) == 1
    assert one(context, "SELECT count(*) FROM runs") == 1
    assert one(context, "SELECT next_run_at > now() FROM task_clocks")


def test_rows_that_lie_ahead_of_a_clock_stop_nobody(context, account):
    task = a_task(context, account, schedule="* * * * *")
    other = a_due_task(context, account)
    minute = "date_trunc('minute', now())"
    execute(
        context,
        f"UPDATE task_clocks SET next_run_at = {minute} - interval '5 minutes' WHERE task_id = :id",
        id=task.id,
    )
    execute(
        context,
        "INSERT INTO runs (id, account_id, task_id, trigger, action, scheduled_for, covers_from,"
        " covers_count, state, reason, finished_at) SELECT gen_random_uuid(), account_id, id, 'schedule',"
        f" action, {minute}, {minute} - interval '1 minute', 2, 'skipped', 'paused', now()"
        " FROM tasks WHERE id = :id",
        id=task.id,
    )
    assert fire(context) == 2
    assert fire(context) == 1
    assert one(context, "SELECT count(*) FROM runs WHERE task_id = :id", id=other.id) == 1
    assert rows(
        context,
        "SELECT state, COALESCE(covers_count, 1) AS n FROM runs WHERE task_id = :id ORDER BY scheduled_for",
        id=task.id,
    ) == [{"state": "missed", "n": 3}, {"state": "pending", "n": 1}, {"state": "skipped", "n": 2}]
    assert one(context, "SELECT bool_and(next_run_at > now() - interval '1 second') FROM task_clocks")


def test_an_occurrence_is_skipped_while_a_run_is_under_way(context, account):
    task = a_due_task(context, account)
    fire(context)
    make_due(context, task.id)
    fire(context)
    assert rows(context, "SELECT state, reason FROM runs ORDER BY id") == [
        {"state": "pending", "reason": None},
        {"state": "skipped", "reason": "overlap"},
    ]
    assert one(context, "SELECT count(*) FROM conversations") == 1


def test_after_an_outage_the_latest_occurrence_runs_and_the_others_are_one_missed_row(context, account):
    a_due_task(context, account, schedule="@every 1m", late=timedelta(minutes=10, seconds=30))
    fire(context)
    missed, run = rows(context, "SELECT * FROM runs ORDER BY scheduled_for")
    assert (missed["state"], missed["reason"], missed["covers_count"]) == ("missed", "late", 10)
    assert run["state"] == "pending"
    assert run["trigger"] == "catch_up"
    assert run["scheduled_for"] - missed["scheduled_for"] == timedelta(minutes=1)
    assert missed["scheduled_for"] - missed["covers_from"] == timedelta(minutes=9)
    assert one(context, "SELECT next_run_at > now() FROM task_clocks")


def test_an_occurrence_outside_the_catch_up_window_is_missed(context, account):
    a_due_task(context, account, schedule="@every 1d", late=timedelta(hours=3))
    fire(context)
    (row,) = rows(context, "SELECT state, reason, covers_count FROM runs")
    assert row == {"state": "missed", "reason": "outside_window", "covers_count": None}


def test_an_interval_never_drifts_after_an_outage(context, account):
    task = a_due_task(context, account, schedule="@every 1m", late=timedelta(minutes=7, seconds=11))
    before = one(context, "SELECT next_run_at FROM task_clocks")
    fire(context)
    after = one(context, "SELECT next_run_at FROM task_clocks WHERE task_id = :id", id=task.id)
    assert after - before == timedelta(minutes=8)


def test_a_date_runs_once_and_has_no_next(context, account):
    when = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
    task = a_task(context, account)
    execute(context, "UPDATE tasks SET schedule = :at WHERE id = :id", at=when.isoformat(), id=task.id)
    execute(context, "UPDATE task_clocks SET next_run_at = :at WHERE task_id = :id", at=when, id=task.id)
    fire(context)
    assert one(context, "SELECT next_run_at FROM task_clocks") is None
    assert one(context, "SELECT count(*) FROM runs") == 1


def test_a_task_whose_bot_is_gone_writes_a_skipped_row(context, account):
    task = a_due_task(context, account)
    execute(context, "UPDATE tasks SET bot_id = NULL WHERE id = :id", id=task.id)
    fire(context)
    assert rows(context, "SELECT state, reason FROM runs") == [{"state": "skipped", "reason": "no_bot"}]


def test_one_bad_row_never_stops_the_clock(context, account):
    bad, good = a_due_task(context, account), a_due_task(context, account)
    execute(context, "UPDATE tasks SET schedule = 'nonsense' WHERE id = :id", id=bad.id)
    assert fire(context) == 2
    assert rows(context, "SELECT task_id, state, reason FROM runs ORDER BY state") == [
        {"task_id": bad.id, "state": "missed", "reason": "internal_error"},
        {"task_id": good.id, "state": "pending", "reason": None},
    ]
    assert one(context, "SELECT pause_reason FROM tasks WHERE id = :id", id=bad.id) == "internal_error"
    assert fire(context) == 0


def test_a_clock_that_cannot_even_be_given_up_stops_nobody(context, account, monkeypatch):
    a_due_task(context, account, late=timedelta(hours=3))
    other = a_due_task(context, account)

    def refuse(*arguments):
        raise ValueError

    monkeypatch.setattr("core.firing.insert_unrun", refuse)
    fire(context)
    assert rows(context, "SELECT task_id, state FROM runs") == [{"task_id": other.id, "state": "pending"}]


def test_two_schedulers_at_once_fire_every_task_once(context, account):
    tasks = [a_due_task(context, account) for _ in range(60)]
    barrier = threading.Barrier(4)

    def schedule() -> None:
        barrier.wait()
        while fire(context):
            pass

    threads = [threading.Thread(target=schedule) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one(context, "SELECT count(*) FROM runs") == len(tasks)
    assert one(context, "SELECT count(DISTINCT conversation_id) FROM runs") == len(tasks)


def test_a_paused_task_does_not_fire_and_a_resumed_one_starts_from_now(context, account):
    task = a_due_task(context, account)
    with context.transaction(account) as session:
        pause_task(session, task.id)
    assert fire(context) == 0
    with context.transaction(account) as session:
        resume_task(session, task.id)
    assert one(context, "SELECT next_run_at - now() > interval '59 minutes' FROM task_clocks")
    assert fire(context) == 0


def test_a_deleted_task_leaves_a_blank_tombstone_and_its_conversations(context, account, leases):
    task = a_due_task(context, account)
    fire(context)
    carry_out(context, leases, one(context, "SELECT id FROM runs"), worker="test")
    with context.transaction(account) as session:
        delete_task(session, task.id)
    (tombstone,) = rows(context, "SELECT state, name, description, schedule FROM tasks")
    assert tombstone == {"state": "deleted", "name": None, "description": None, "schedule": None}
    assert one(context, "SELECT task_id FROM conversations") == task.id
    assert fire(context) == 0


def test_deleting_a_task_cancels_its_run(context, account):
    task = a_due_task(context, account)
    fire(context)
    with context.transaction(account) as session:
        delete_task(session, task.id)
    assert one(context, "SELECT state FROM runs") == "cancelled"


def test_an_edit_changes_the_clock_only_when_the_schedule_changes(context, account):
    task = a_task(context, account, schedule="@every 1h")
    before = one(context, "SELECT next_run_at FROM task_clocks")
    with context.transaction(account) as session:
        update_task(session, task.id, description="Something else.")
    assert one(context, "SELECT next_run_at FROM task_clocks") == before
    with context.transaction(account) as session:
        update_task(session, task.id, schedule="@every 2h")
    assert one(context, "SELECT next_run_at FROM task_clocks") > before


def test_a_trigger_runs_now_and_leaves_the_schedule_alone(context, account):
    task = a_task(context, account, schedule="@every 1h")
    before = one(context, "SELECT next_run_at FROM task_clocks")
    with context.transaction(account) as session:
        run = trigger_task(session, task.id)
    assert the_run(context, run.id)["trigger"] == "manual"
    assert one(context, "SELECT next_run_at FROM task_clocks") == before


def test_one_accounts_backlog_does_not_hold_up_the_others(context, account):
    small = dataclasses.replace(context, settings=context.settings.model_copy(update={"fire_batch": 5}))
    for _ in range(20):
        a_due_task(context, account, late=timedelta(seconds=30))
    other = a_due_task(context, an_account(context, "Bo"))
    assert fire(small) == 5
    assert fire_besides_the_crowd(small) == 1
    assert one(context, "SELECT count(*) FROM runs WHERE task_id = :id", id=other.id) == 1
    assert fire_besides_the_crowd(small) == 0


def test_without_a_backlog_there_is_no_crowd(context, account):
    a_due_task(context, account)
    assert fire_besides_the_crowd(context) == 0
    assert fire(context) == 1


def test_a_busy_database_makes_no_occurrence_missed(context, account):
    bad = a_due_task(context, account)
    bot = a_bot(context, account)
    good = a_due_task(context, account, bot_id=bot.id)
    execute(context, "UPDATE tasks SET schedule = 'nonsense' WHERE id = :id", id=bad.id)
    with context.transaction() as other:
        other.execute(text("SELECT FROM bots WHERE id = :id FOR UPDATE"), {"id": bot.id})
        with pytest.raises(Unavailable):
            fire(context)
    assert one(context, "SELECT count(*) FROM runs") == 0
    fire(context)
    assert one(context, "SELECT state FROM runs WHERE task_id = :id", id=good.id) == "pending"


def test_a_due_clock_that_is_locked_does_not_make_the_scheduler_spin(context, account):
    task = a_due_task(context, account)
    with context.transaction() as editor:
        editor.execute(text("SELECT FROM task_clocks WHERE task_id = :id FOR UPDATE"), {"id": task.id})
        assert turn(context) > 0


def test_a_long_past_does_not_slow_a_task_down(context, account):
    task = a_task(context, account)
    execute(
        context,
        "INSERT INTO runs (id, account_id, task_id, trigger, action, state, finished_at)"
        " SELECT gen_random_uuid(), :account, :task, 'manual', 'complete', 'cancelled', now()"
        " FROM generate_series(1, 5000)",
        account=account,
        task=task.id,
    )
    with context.transaction() as session:
        session.execute(text("ANALYZE runs"))
        asked = {"ids": [task.id], "dues": [None]}
        lines = session.scalars(text(f"EXPLAIN (ANALYZE, BUFFERS OFF) {DEFINITIONS}"), asked).all()
    assert any("ix_runs_active" in line for line in lines)
    assert [line for line in lines if "Rows Removed" in line] == []
