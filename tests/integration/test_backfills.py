"""Backfills: a range of the past, each instant once, oldest first, beside a schedule that goes on."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from core import advancing
from core.advancing import advance_backfills
from core.backfills import (
    cancel_backfill,
    create_backfill,
    get_backfill,
    list_backfills,
    pause_backfill,
    plan_backfill,
    resume_backfill,
)
from core.errors import Conflict, InvalidInput, NotAuthorized, NotFound, Unavailable
from core.firing import fire
from core.invariants import violations
from core.publisher import NoPublisher
from core.tasks import create_task, delete_task, pause_task, trigger_task, update_task
from core.turns import carry_out
from core.work import unclaimed
from scheduler.loop import turn
from tests.factories import (
    a_backfill,
    a_bot,
    a_task,
    an_account,
    execute,
    make_due,
    one,
    rows,
)
from tests.unit.cron_oracle import Oracle, instant_of, minute_of
from tests.unit.schedule_cases import EXPRESSIONS, ZONES, changes

START = datetime(2020, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def task(context, account):
    """Due at every full hour; its clock never comes up in a test."""
    return a_task(context, account, schedule="0 * * * *", description="What happened?")


def advance(context):
    """One turn over every backfill that is not paused, as if its time had come."""
    execute(context, "UPDATE jobs SET run_at = now() WHERE state IN ('pending', 'running')")
    return advance_backfills(context)


def settle(context, state="succeeded", error=None):
    execute(
        context,
        "UPDATE runs SET state = :state, error_class = :error, finished_at = now()"
        " WHERE trigger = 'backfill' AND state = 'pending'",
        state=state,
        error=error,
    )


def run_through(context, job, turns=2000):
    """Advances and settles until the backfill has ended; answers the instants in the order of their runs."""
    for _ in range(turns):
        advance(context)
        settle(context)
        if one(context, "SELECT finished_at IS NOT NULL FROM jobs WHERE id = :id", id=job.id):
            break
    return instants_of(context, job)


def instants_of(context, job):
    query = "SELECT scheduled_for FROM runs WHERE backfill_id = :id ORDER BY created_at, scheduled_for"
    return [row["scheduled_for"] for row in rows(context, query, id=job.id)]


def the_job(context, job):
    return rows(context, "SELECT * FROM jobs WHERE id = :id", id=job.id)[0]


def counters(context, job):
    row = the_job(context, job)
    return row["state"], row["total"], row["done"], row["skipped"], row["failed"]


def broken(context):
    """Promises that are broken, but for the replies that runs settled by hand have not."""
    with context.transaction() as session:
        return [v for v in violations(session) if v.invariant.name != "success_has_reply"]


@contextmanager
def recorded_statements(context):
    statements = []

    def note(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    event.listen(context.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(context.engine, "before_cursor_execute", note)


def hours(count, since=START):
    return [since + HOUR * number for number in range(count)]


def recorded(context, task, at, state, reason=None, covers_from=None, trigger="schedule"):
    """A row of the ledger."""
    final = state not in {"waiting", "pending", "running"}
    execute(
        context,
        "INSERT INTO runs (id, account_id, task_id, trigger, action, scheduled_for, covers_from,"
        " covers_count, state, reason, error_class, finished_at, run_at)"
        " SELECT gen_random_uuid(), account_id, id, :trigger, action, :at, :covers_from,"
        " CASE WHEN CAST(:covers_from AS timestamptz) IS NULL THEN NULL ELSE 2 END, :state, :reason,"
        " CASE WHEN :state = 'failed' THEN 'timeout' END, CASE WHEN :final THEN now() END,"
        " now() + interval '1 day' FROM tasks WHERE id = :task",
        task=task.id,
        at=at,
        state=state,
        reason=reason,
        covers_from=covers_from,
        trigger=trigger,
        final=final,
    )


def test_a_backfill_runs_the_instants_oldest_first_each_in_a_conversation_of_its_own(
    context, account, task, leases
):
    job = a_backfill(context, account, task.id, until="2020-01-01T03:00Z")
    for at in hours(3):
        assert advance(context) == 1
        (run,) = rows(context, "SELECT * FROM runs WHERE state = 'pending'")
        assert (run["trigger"], run["scheduled_for"], run["backfill_id"]) == ("backfill", at, job.id)
        conversation = rows(context, "SELECT * FROM conversations WHERE id = :id", id=run["conversation_id"])[
            0
        ]
        assert (conversation["source"], conversation["run_id"]) == ("backfill", run["id"])
        assert conversation["meta"] == {
            "backfillId": str(job.id),
            "scheduledFor": int(at.timestamp() * 1000),
        }
        assert carry_out(context, leases, run["id"], worker="tests") == "succeeded"
    advance(context)
    assert counters(context, job) == ("completed", 3, 3, 0, 0)
    assert instants_of(context, job) == hours(3)
    assert {row["text"] for row in rows(context, "SELECT text FROM messages WHERE step = 'prompt'")} == {
        "What happened?"
    }
    with context.transaction() as session:
        assert violations(session) == []


class Willing(NoPublisher):
    """A broker with room for every hint."""

    def waiting(self, queue):
        return 0


def test_a_scheduler_advances_backfills_and_hints_their_runs(context, account, task):
    a_backfill(context, account, task.id)
    turn(replace(context, publisher=Willing()))
    assert rows(context, "SELECT trigger, hints FROM runs") == [{"trigger": "backfill", "hints": 1}]


def test_no_more_runs_are_unfinished_than_may_be_at_once(context, account, task):
    a_backfill(context, account, task.id, at_once=2)
    for _ in range(3):
        advance(context)
        assert one(context, "SELECT count(*) FROM runs WHERE state = 'pending'") == 2
    execute(
        context,
        "UPDATE runs SET state = 'running', lease_until = now() + interval '1 minute'"
        " WHERE id = (SELECT min(id::text)::uuid FROM runs)",
    )
    advance(context)
    assert one(context, "SELECT count(*) FROM runs") == 2
    settle(context)
    advance(context)
    assert one(context, "SELECT count(*) FROM runs") == 3


def test_no_more_runs_begin_in_a_minute_than_the_pace_allows(context, account, task):
    job = a_backfill(context, account, task.id, at_once=100, pace=2)
    advance(context)
    settle(context)
    advance(context)
    assert len(instants_of(context, job)) == 2
    later = "SELECT run_at > now() + interval '50 seconds' FROM jobs"
    assert one(context, later)
    execute(
        context,
        "UPDATE runs SET created_at = created_at - interval '61 seconds'"
        " WHERE scheduled_for = (SELECT min(scheduled_for) FROM runs)",
    )
    advance(context)
    assert len(instants_of(context, job)) == 3
    settle(context)
    advance(context)
    assert len(instants_of(context, job)) == 3
    assert one(context, later)


def test_what_has_succeeded_or_is_under_way_is_left_out(context, account, task):
    other = a_backfill(context, account, task.id, until="2020-01-01T01:00Z")
    run_through(context, other)
    recorded(context, task, START + HOUR, "succeeded")
    recorded(context, task, START + 2 * HOUR, "failed")
    recorded(context, task, START + 3 * HOUR, "skipped", "overlap")
    recorded(context, task, START + 5 * HOUR, "missed", "late", covers_from=START + 4 * HOUR)
    recorded(context, task, START + 6 * HOUR, "waiting")
    recorded(context, task, START + 7 * HOUR, "cancelled")
    job = a_backfill(context, account, task.id, until="2020-01-01T09:00Z", at_once=3)
    assert run_through(context, job) == [START + number * HOUR for number in (2, 3, 4, 5, 7, 8)]
    assert counters(context, job) == ("completed", 9, 6, 3, 0)


def test_everything_runs_where_everything_is_asked_for(context, account, task):
    recorded(context, task, START, "succeeded")
    job = a_backfill(context, account, task.id, until="2020-01-01T03:00Z", everything=True)
    assert run_through(context, job) == hours(3)
    assert counters(context, job) == ("completed", 3, 3, 0, 0)


def test_a_dry_run_tells_what_it_would_come_to_and_stores_nothing(context, account, task, leases):
    with context.transaction(account) as session:
        live = trigger_task(session, task.id)
    carry_out(context, leases, live.id, worker="tests")
    recorded(context, task, START, "succeeded")
    recorded(context, task, START + 2 * HOUR, "missed", "late", covers_from=START + HOUR)
    tables = ("jobs", "runs", "conversations", "messages")

    def stored():
        return [rows(context, f"SELECT * FROM {table} ORDER BY id") for table in tables]

    before = stored()
    with context.transaction(account) as session:
        plan = plan_backfill(session, task.id, "2020-01-01T00:00Z", "2020-01-01T05:00Z")
        every = plan_backfill(session, task.id, START, START + 5 * HOUR, everything=True)
    assert (plan.total, plan.to_run, plan.first, plan.last) == (5, 4, START, START + 4 * HOUR)
    assert plan.states == {"succeeded": 1, "missed": 2}
    spent = one(context, "SELECT avg(input_tokens + output_tokens) FROM runs WHERE state = 'succeeded'")
    assert (plan.tokens, plan.sample) == (round(spent * 4), 2)
    assert (every.total, every.to_run) == (5, 5)
    assert stored() == before


def cases(count):
    """Random crons in random zones around changes of the clocks, in ranges of the past."""
    dice = random.Random(29)
    for _ in range(count):
        zone, text = dice.choice(sorted(ZONES)), dice.choice(EXPRESSIONS)
        around = [minute for minute in changes(zone) if instant_of(minute).year < 2026]
        middle = (
            dice.choice(around) if around else minute_of(datetime(ZONES[zone], 6, 1, tzinfo=UTC))
        ) + dice.randint(-600, 600)
        days = 1 if len(Oracle.of(text).times) > 50 else 4 if len(Oracle.of(text).times) > 5 else 40
        yield pytest.param(
            text, zone, middle - days * 720, middle + days * 720, dice.randint(30, 100), id=f"{zone} {text}"
        )


@pytest.mark.parametrize(("text", "zone", "start", "end", "at_once"), list(cases(40)))
def test_a_backfill_makes_exactly_the_occurrences_of_an_independent_oracle(
    context, account, text, zone, start, end, at_once
):
    expected = [instant_of(minute) for minute in Oracle.of(text).fires(zone, start, end)]
    task = a_task(context, account, schedule=text, timezone=zone)
    since, until = instant_of(start), instant_of(end)
    if not expected:
        with pytest.raises(InvalidInput, match="no occurrence"):
            a_backfill(context, account, task.id, since, until)
        return
    job = a_backfill(context, account, task.id, since, until, at_once=at_once)
    assert run_through(context, job) == expected
    assert counters(context, job) == ("completed", len(expected), len(expected), 0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_is_run_on_the_grid_its_clock_stands_on(context, account, seed):
    dice = random.Random(seed)
    interval = timedelta(seconds=dice.randint(40, 5000))
    task = a_task(context, account, schedule=f"@every {interval.seconds}s")
    stands = one(context, "SELECT next_run_at FROM task_clocks WHERE task_id = :id", id=task.id)
    until = stands - timedelta(days=dice.randint(1, 9), seconds=dice.random() * 1000)
    since = until - interval * dice.randint(3, 40) + timedelta(milliseconds=dice.randint(0, 30_000))
    expected, at = [], stands
    while (at := at - interval) >= since:
        if at < until:
            expected.insert(0, at)
    if dice.random() < 0.5:
        with context.transaction(account) as session:
            pause_task(session, task.id)
        execute(context, "UPDATE task_clocks SET rests_from = :at", at=stands)
    job = a_backfill(context, account, task.id, since, until, at_once=7)
    assert run_through(context, job) == expected


def test_a_range_begins_with_its_first_instant_and_ends_before_its_last(context, account):
    task = a_task(context, account, schedule="0 0 * * *", timezone="Europe/Berlin")
    job = a_backfill(context, account, task.id, "2026-03-28", "2026-03-31")
    midnights = ["2026-03-27T23:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"]
    assert run_through(context, job) == [datetime.fromisoformat(at) for at in midnights]


def test_a_kill_anywhere_neither_loses_nor_doubles_an_instant(context, account, task):
    dice = random.Random(4)
    job = a_backfill(context, account, task.id, until="2020-01-03T00:00Z", at_once=5)

    def killed(session):
        if dice.random() < 0.5:
            raise Unavailable("killed before the commit")

    for _ in range(300):
        event.listen(Session, "before_commit", killed)
        try:
            advance_backfills(context)
        except Unavailable:
            pass
        finally:
            event.remove(Session, "before_commit", killed)
        execute(context, "UPDATE jobs SET run_at = now() WHERE state = 'running'")
        settle(context)
        if the_job(context, job)["finished_at"]:
            break
    assert instants_of(context, job) == hours(48)
    assert counters(context, job) == ("completed", 48, 48, 0, 0)


SCHEDULER = """
import sys
from core.advancing import advance_backfills
from core.context import make_context
from core.settings import Settings
from tests.factories import execute
context = make_context(Settings(database_url=sys.argv[1]), "killed")
while True:
    execute(context, "UPDATE jobs SET run_at = now() WHERE state = 'running' AND run_at > now()")
    advance_backfills(context)
"""


def test_schedulers_that_are_killed_again_and_again_lose_and_double_nothing(context, account, task):
    job = a_backfill(context, account, task.id, until="2020-01-16T00:00Z", at_once=15)
    command = [sys.executable, "-c", SCHEDULER, context.settings.database_url]
    place = {"cwd": Path(__file__).resolve().parents[2], "stderr": subprocess.DEVNULL}
    schedulers = [subprocess.Popen(command, **place) for _ in range(2)]
    try:
        for _ in range(20_000):
            settle(context)
            if the_job(context, job)["finished_at"]:
                break
            if len(instants_of(context, job)) > 80 * (len(schedulers) - 1):
                schedulers[-2].kill()
                schedulers.append(subprocess.Popen(command, **place))
    finally:
        for process in schedulers:
            process.kill()
            process.wait()
    assert len(schedulers) > 4
    assert sorted(instants_of(context, job)) == hours(15 * 24)
    assert counters(context, job) == ("completed", 360, 360, 0, 0)


def test_a_cursor_that_was_set_back_makes_nothing_twice(context, account, task):
    job = a_backfill(context, account, task.id, at_once=4)
    advance(context)
    execute(context, "UPDATE jobs SET cursor = NULL")
    settle(context)
    assert run_through(context, job) == hours(6)
    assert counters(context, job) == ("completed", 6, 6, 0, 0)


def test_two_schedulers_share_a_backfill_and_make_each_instant_once(context, account, task):
    jobs = [a_backfill(context, account, task.id, everything=True, at_once=3) for _ in range(3)]
    jobs.append(a_backfill(context, account, a_task(context, account, schedule="0 * * * *").id))
    failures = []

    def schedule():
        try:
            for _ in range(60):
                advance(context)
        except BaseException as error:  # noqa: BLE001 (told to the test)
            failures.append(error)

    for _ in range(10):
        threads = [threading.Thread(target=schedule) for _ in range(2)]
        for thread in threads:
            thread.start()
        settle(context)
        for thread in threads:
            thread.join()
        settle(context)
        if one(context, "SELECT count(*) FROM jobs WHERE finished_at IS NULL") == 0:
            break
    assert failures == []
    for job in jobs:
        assert sorted(instants_of(context, job)) == hours(6)
        assert counters(context, job) == ("completed", 6, 6, 0, 0)


def test_a_paused_backfill_begins_nothing_and_goes_on_where_it_stopped(context, account, task):
    job = a_backfill(context, account, task.id)
    advance(context)
    with context.transaction(account) as session:
        assert pause_backfill(session, job.id).state == "paused"
        assert pause_backfill(session, job.id).state == "paused"
    settle(context)
    assert advance(context) == 0
    assert len(instants_of(context, job)) == 1
    with context.transaction(account) as session:
        assert resume_backfill(session, job.id).state == "running"
        assert resume_backfill(session, job.id).state == "running"
    assert run_through(context, job) == hours(6)


def test_one_that_was_paused_before_it_began_begins_when_it_is_resumed(context, account, task):
    job = a_backfill(context, account, task.id)
    with context.transaction(account) as session:
        pause_backfill(session, job.id)
    assert advance(context) == 0
    with context.transaction(account) as session:
        assert resume_backfill(session, job.id).state == "pending"
    assert advance(context) == 1


def test_a_cancelled_backfill_ends_with_its_runs(context, account, task, leases):
    job = a_backfill(context, account, task.id, at_once=2)
    advance(context)
    settle(context)
    advance(context)
    with context.transaction(account) as session:
        cancel_backfill(session, job.id)
    assert counters(context, job) == ("cancelled", 6, 2, 0, 2)
    states = "SELECT state FROM runs ORDER BY scheduled_for"
    assert [row["state"] for row in rows(context, states)] == ["succeeded"] * 2 + ["cancelled"] * 2
    assert advance(context) == 0
    with context.transaction(account) as session:
        assert cancel_backfill(session, job.id).state == "cancelled"
    for verb in (pause_backfill, resume_backfill):
        with pytest.raises(Conflict, match="ended"), context.transaction(account) as session:
            verb(session, job.id)
    assert broken(context) == []


def test_one_that_has_completed_cannot_be_cancelled(context, account, task):
    job = a_backfill(context, account, task.id)
    run_through(context, job)
    with pytest.raises(Conflict, match="completed"), context.transaction(account) as session:
        cancel_backfill(session, job.id)


def test_failed_runs_are_counted_and_the_rest_goes_on(context, account, task):
    job = a_backfill(context, account, task.id)
    advance(context)
    settle(context, "failed", "timeout")
    run_through(context, job)
    assert counters(context, job) == ("completed_with_errors", 6, 5, 0, 1)


def test_progress_is_counted_from_the_runs_while_it_goes_on(context, account, task):
    recorded(context, task, START, "succeeded")
    job = a_backfill(context, account, task.id, at_once=2)
    advance(context)
    settle(context)
    advance(context)
    with context.transaction(account) as session:
        found, progress = get_backfill(session, job.id)
        assert [one.id for one, _ in list_backfills(session, task_id=task.id)] == [job.id]
    assert (found.skipped, progress.done, progress.failed, progress.under_way) == (1, 2, 0, 2)


def test_deleting_a_task_cancels_its_backfills_and_their_runs(context, account, task):
    begun = a_backfill(context, account, task.id, prompt="A word.")
    advance(context)
    waiting = a_backfill(context, account, task.id, prompt="A word.", everything=True)
    with context.transaction(account) as session:
        delete_task(session, task.id)
    assert counters(context, begun) == ("cancelled", 6, 0, 0, 1)
    assert counters(context, waiting) == ("cancelled", 6, 0, 0, 0)
    assert one(context, "SELECT count(*) FROM runs WHERE state = 'pending'") == 0
    assert one(context, "SELECT count(*) FROM jobs WHERE params ? 'prompt'") == 0
    assert advance(context) == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_task_deleted_while_its_backfill_advances_leaves_nothing_under_way(context, account, seed):
    task = a_task(context, account, schedule="0 * * * *")
    job = a_backfill(context, account, task.id, at_once=100, until="2020-01-09T00:00Z")
    failures = []

    def guarded(act):
        def run():
            try:
                act()
            except (NotFound, Conflict):
                pass  # the task went first
            except BaseException as error:  # noqa: BLE001 (told to the test)
                failures.append(error)

        return run

    def delete():
        with context.transaction(account) as session:
            delete_task(session, task.id)

    acts = [delete, lambda: advance(context), lambda: a_backfill(context, account, task.id)]
    random.Random(seed).shuffle(acts)
    threads = [threading.Thread(target=guarded(act)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert the_job(context, job)["state"] == "cancelled"
    assert one(context, "SELECT count(*) FROM jobs WHERE finished_at IS NULL") == 0
    assert one(context, "SELECT count(*) FROM runs WHERE finished_at IS NULL") == 0
    assert broken(context) == []


def test_a_backfill_does_not_stand_in_the_schedules_way_nor_the_schedule_in_its(context, account):
    task = a_task(context, account, schedule="@every 1h")
    a_backfill(context, account, task.id, at_once=2)
    advance(context)
    make_due(context, task.id)
    fire(context)
    live = rows(context, "SELECT state FROM runs WHERE trigger = 'schedule'")
    assert live == [{"state": "pending"}]
    settle(context)
    advance(context)
    assert one(context, "SELECT count(*) FROM runs WHERE trigger = 'backfill'") == 4
    execute(context, "UPDATE runs SET state = 'cancelled', finished_at = now() WHERE trigger = 'schedule'")
    with context.transaction(account) as session:
        assert trigger_task(session, task.id).state == "pending"


def test_a_backfill_gives_way_while_live_runs_of_the_account_wait(context, account, task):
    a_backfill(context, account, task.id)
    with context.transaction(account) as session:
        live = trigger_task(session, a_task_beside(session).id)
    execute(context, "UPDATE runs SET run_at = now() - interval '3 seconds' WHERE id = :id", id=live.id)
    advance(context)
    assert one(context, "SELECT count(*) FROM runs WHERE trigger = 'backfill'") == 0
    assert one(context, "SELECT run_at > now() + interval '500 milliseconds' FROM jobs")
    execute(context, "UPDATE runs SET state = 'cancelled', finished_at = now() WHERE id = :id", id=live.id)
    advance(context)
    assert one(context, "SELECT count(*) FROM runs WHERE trigger = 'backfill'") == 1


def a_task_beside(session):
    return create_task(session, name="Beside", description="Live.")


def test_a_backfill_waits_while_its_task_has_spent_its_budget_of_the_day(context, account):
    task = a_task(context, account, schedule="0 * * * *", max_tokens_per_day=100)
    execute(
        context,
        "INSERT INTO task_usage_days (task_id, account_id, day, runs, input_tokens, output_tokens, cost)"
        " VALUES (:task, :account, current_date, 1, 60, 40, 0)",
        task=task.id,
        account=account,
    )
    job = a_backfill(context, account, task.id)
    advance(context)
    assert instants_of(context, job) == []
    assert the_job(context, job)["run_at"] > datetime.now(UTC) + timedelta(seconds=5)
    execute(context, "UPDATE task_usage_days SET day = day - 1")
    assert run_through(context, job) == hours(6)


def test_the_runs_of_an_ended_backfill_are_not_counted_again(context, account, task):
    job = a_backfill(context, account, task.id, "2020-01-01T00:00Z", "2020-01-01T03:00Z")
    run_through(context, job)
    with recorded_statements(context) as statements, context.transaction(account) as session:
        (_, progress), *_ = list_backfills(session)
    assert (progress.done, progress.failed, progress.under_way) == (3, 0, 0)
    assert progress.seconds is not None
    assert not any("FROM runs" in statement for statement in statements)


def test_a_live_run_that_came_before_stands_before_a_backfills_run_in_the_queue(context, account, task):
    with context.transaction(account) as session:
        live = trigger_task(session, a_task_beside(session).id)
    a_backfill(context, account, task.id)
    advance(context)
    first, second = unclaimed(context, "chat", timedelta(0), 2)
    assert first[0] == live.id
    assert one(context, "SELECT trigger FROM runs WHERE id = :id", id=second[0]) == "backfill"


def test_the_backfills_of_one_account_do_not_hold_up_anothers(context, account, task, monkeypatch):
    crowd = [a_backfill(context, account, task.id, everything=True) for _ in range(5)]
    bo = an_account(context, "Bo")
    his = a_backfill(context, bo, a_task(context, bo, schedule="0 * * * *").id)
    execute(context, "UPDATE jobs SET run_at = now() - interval '1 minute' WHERE id <> :id", id=his.id)
    monkeypatch.setattr(advancing, "BATCH", 2)
    assert advance_backfills(context) == 2
    assert len(instants_of(context, his)) == 1
    assert sum(len(instants_of(context, job)) for job in crowd) == 1


def test_a_backfill_works_while_its_task_is_paused(context, account, task):
    with context.transaction(account) as session:
        pause_task(session, task.id)
    job = a_backfill(context, account, task.id)
    assert run_through(context, job) == hours(6)


def test_a_backfill_keeps_the_schedule_it_was_asked_for_and_says_what_the_task_says_now(
    context, account, task
):
    job = a_backfill(context, account, task.id)
    advance(context)
    with context.transaction(account) as session:
        update_task(session, task.id, schedule="30 5 * * *", timezone="Asia/Tokyo", description="Anew.")
    settle(context)
    assert run_through(context, job) == hours(6)
    said = rows(
        context, "SELECT m.text FROM messages m JOIN runs r ON r.id = m.run_id ORDER BY scheduled_for"
    )
    assert [row["text"] for row in said] == ["What happened?"] + ["Anew."] * 5


def test_a_prompt_of_its_own_is_said_in_its_conversations_and_kept_nowhere_else(context, account, task):
    job = a_backfill(context, account, task.id, prompt="Look back.")
    assert run_through(context, job) == hours(6)
    assert {row["text"] for row in rows(context, "SELECT text FROM messages")} == {"Look back."}
    assert one(context, "SELECT description FROM tasks WHERE id = :id", id=task.id) == "What happened?"
    assert "prompt" not in the_job(context, job)["params"]


def test_a_task_that_lost_its_bot_fails_its_backfill(context, account):
    bot = a_bot(context, account)
    task = a_task(context, account, schedule="0 * * * *", bot_id=bot.id)
    job = a_backfill(context, account, task.id)
    execute(context, "DELETE FROM bots WHERE id = :id", id=bot.id)
    with pytest.raises(Conflict, match="no bot"):
        a_backfill(context, account, task.id)
    advance(context)
    assert (the_job(context, job)["state"], the_job(context, job)["error_class"]) == ("failed", "no_bot")


def test_a_closed_account_has_no_backfills(context, account, task):
    job = a_backfill(context, account, task.id)
    advance(context)
    execute(context, "UPDATE accounts SET closed_at = now()")
    advance(context)
    assert counters(context, job) == ("cancelled", 6, 0, 0, 1)


def test_a_backfill_that_cannot_be_read_fails_alone(context, account, task):
    broken, sound = (a_backfill(context, account, task.id) for _ in range(2))
    execute(
        context,
        "UPDATE jobs SET params = params || '{\"schedule\": \"nonsense\"}', run_at = now() - interval '1 s'"
        " WHERE id = :id",
        id=broken.id,
    )
    advance(context)
    assert the_job(context, broken)["error_class"] == "internal_error"
    assert run_through(context, sound) == hours(6)


@pytest.mark.parametrize(
    ("since", "until", "sentence"),
    [
        ("2020-01-02", "2020-01-01", "ends before it begins"),
        ("2020-01-01", "2020-01-01", "ends before it begins"),
        ("2020-01-01", "2999-01-01", "must lie in the past"),
        ("1969-12-31", "1970-01-02", "before 1970"),
        ("0001-01-01", "2020-01-01", "before 1970"),
        ("2010-01-01", "2020-01-01", "more than 10000"),
        ("2020-01-01T00:01Z", "2020-01-01T00:59Z", "no occurrence"),
        ("yesterday", "2020-01-01", "The beginning of the range must be a date"),
        ("2020-01-01", "09:00", "The end of the range must be a date"),
        ("2020-01-01", "0 9 * * *", "The end of the range must be a date"),
        ("", "2020-01-01", "The beginning of the range must be a date"),
        (datetime(2020, 1, 1), START, "needs an offset"),  # noqa: DTZ001 (what is refused)
    ],
)
def test_a_range_that_cannot_be_run_is_refused_with_a_sentence(
    context, account, task, since, until, sentence
):
    with pytest.raises(InvalidInput, match=sentence):
        a_backfill(context, account, task.id, since, until)
    assert one(context, "SELECT count(*) FROM jobs") == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"at_once": 0},
        {"at_once": 101},
        {"at_once": True},
        {"at_once": None},
        {"pace": 0},
        {"pace": 10_001},
        {"pace": "2"},
        {"prompt": ""},
        {"prompt": 5},
        {"prompt": "x" * 262_145},
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(context, account, task, fields):
    with pytest.raises(InvalidInput):
        a_backfill(context, account, task.id, **fields)
    assert one(context, "SELECT count(*) FROM jobs") == 0


@pytest.mark.parametrize("schedule", [None, "never"])
def test_a_task_without_a_schedule_has_no_past(context, account, schedule):
    task = a_task(context, account, schedule=schedule)
    with pytest.raises(InvalidInput, match="no past"):
        a_backfill(context, account, task.id)


def test_too_many_unfinished_backfills_are_refused(context, account, task, monkeypatch):
    monkeypatch.setattr("core.backfills.MOST_UNFINISHED", 2)
    first = a_backfill(context, account, task.id)
    a_backfill(context, account, task.id)
    with pytest.raises(Conflict, match="unfinished"):
        a_backfill(context, account, task.id)
    with context.transaction(account) as session:
        cancel_backfill(session, first.id)
    a_backfill(context, account, task.id)


def test_another_accounts_tasks_and_backfills_are_out_of_reach(context, account, task):
    job = a_backfill(context, account, task.id)
    other = an_account(context, "Mallory")
    for verb, row_id in (
        (get_backfill, job.id),
        (pause_backfill, job.id),
        (resume_backfill, job.id),
        (cancel_backfill, job.id),
        (lambda s, i: create_backfill(s, i, START, START + HOUR), task.id),
        (lambda s, i: plan_backfill(s, i, START, START + HOUR), task.id),
        (lambda s, i: list_backfills(s, task_id=i), task.id),
    ):
        with pytest.raises(NotAuthorized), context.transaction(other) as session:
            verb(session, row_id)
    with context.transaction(other) as session:
        assert list_backfills(session) == []
    assert the_job(context, job)["state"] == "pending"
