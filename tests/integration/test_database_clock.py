"""The database's clock is set by an hour, forth and back: extra calls at most, and nothing fires twice."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from core import asking
from core.context import make_context
from core.errors import RunFailed
from core.firing import fire
from core.invariants import ALWAYS, violations
from core.schema import upgrade
from core.turns import carry_out
from core.work import reap
from tests import servers as session_servers
from tests.factories import a_due_task, a_pending_run, a_task, abandon, execute, one, rows, the_run
from tests.jumps import jump, make_jumpy

HOUR = timedelta(hours=1)
MOST_OF_AN_HOUR = timedelta(minutes=59)
TRUE = timedelta(0)


@pytest.fixture(scope="module")
def clock_url(admin_url):
    name = f"clock_{uuid.uuid4().hex[:8]}"
    url = session_servers.clone_database(admin_url, name, upgrade)
    make_jumpy(url)
    yield url
    session_servers.drop_database(admin_url, url)


@pytest.fixture
def context(clock_url, settings):
    made = make_context(settings.model_copy(update={"database_url": clock_url}), "tests")
    yield made
    jump(clock_url, TRUE)
    execute(made, "DELETE FROM accounts")
    made.close()


@pytest.fixture
def clock(clock_url):
    return lambda by: jump(clock_url, by)


def kept(context):
    with context.transaction() as session:
        return violations(session, invariants=ALWAYS) == []


def next_due(context):
    return one(context, "SELECT next_run_at - pg_catalog.now() FROM task_clocks")


def test_leases_run_out_at_once_when_the_clock_goes_forward_and_the_late_answer_is_fenced_off(
    context, account, leases, clock, monkeypatch
):
    leases.close()  # no beat comes between: it would renew the lease by the new time
    run = a_pending_run(context, account)
    call, outcomes = asking._read, []

    def taken_over_meanwhile(*arguments):
        if not outcomes:
            clock(MOST_OF_AN_HOUR)
            outcomes.append(reap(context))
            outcomes.append(carry_out(context, leases, run.id, worker="second"))
        return call(*arguments)

    monkeypatch.setattr(asking, "_read", taken_over_meanwhile)
    assert carry_out(context, leases, run.id, worker="first") == "lost"
    assert outcomes == [1, "succeeded"]
    settled = the_run(context, run.id)
    assert (settled["state"], settled["worker"], settled["model_calls"]) == ("succeeded", "second", 2)
    assert one(context, "SELECT count(*) FROM messages WHERE step = 'reply'") == 1
    assert kept(context)


def test_a_jump_as_long_as_a_run_may_take_ends_what_was_under_way_by_its_deadline(
    context, account, leases, clock
):
    assert context.settings.run_time == HOUR
    run = a_pending_run(context, account)
    abandon(context, run.id)
    execute(context, "UPDATE runs SET deadline_at = now() + :time", time=HOUR)
    clock(HOUR)
    assert reap(context) == 1
    with pytest.raises(RunFailed, match="^timeout$"):
        carry_out(context, leases, run.id, worker="here")
    assert the_run(context, run.id)["model_calls"] == 0
    assert kept(context)


def test_what_comes_due_by_the_jump_fires_once_and_does_not_fire_again_when_the_clock_is_put_right(
    context, account, clock
):
    task = a_due_task(context, account, schedule="@every 10m", late=-timedelta(minutes=5))
    assert fire(context) == 0
    clock(HOUR)
    assert fire(context) == 1
    before = rows(context, "SELECT id, scheduled_for, covers_from, covers_count FROM runs ORDER BY id")
    missed, run = sorted(before, key=lambda row: row["scheduled_for"])
    # Due 5, 15, ... 55 minutes from the true now: five in one row, the last as a run.
    assert (missed["covers_count"], run["covers_count"]) == (5, None)
    assert run["scheduled_for"] - missed["covers_from"] == timedelta(minutes=50)
    clock(TRUE)
    assert timedelta(minutes=60) < next_due(context) < timedelta(minutes=66)
    assert fire(context) == 0
    execute(context, "UPDATE runs SET state = 'cancelled', finished_at = now() WHERE state = 'pending'")
    clock(HOUR + timedelta(minutes=6))
    assert fire(context) == 1
    after = rows(context, "SELECT scheduled_for FROM runs WHERE state = 'pending'")
    assert [row["scheduled_for"] - run["scheduled_for"] for row in after] == [timedelta(minutes=10)]
    assert one(context, "SELECT count(*) FROM runs WHERE task_id = :id", id=task.id) == 3
    assert kept(context)


def test_firing_pauses_while_the_clock_is_behind_and_nothing_fires_twice(context, account, clock):
    a_due_task(context, account, schedule="@every 10m")
    assert fire(context) == 1
    clock(-HOUR)
    assert fire(context) == 0
    execute(context, "UPDATE runs SET state = 'cancelled', finished_at = now() WHERE state = 'pending'")
    clock(-timedelta(minutes=1))
    assert fire(context) == 0
    clock(timedelta(minutes=10, seconds=1))
    assert fire(context) == 1
    due = rows(context, "SELECT scheduled_for FROM runs ORDER BY scheduled_for")
    assert due[1]["scheduled_for"] - due[0]["scheduled_for"] == timedelta(minutes=10)
    assert kept(context)


def test_a_task_made_while_the_clock_is_behind_keeps_to_the_clock_there_is(context, account, clock):
    clock(-HOUR)
    a_task(context, account, schedule="@every 10m")
    assert fire(context) == 0
    clock(TRUE)
    assert fire(context) == 1
    assert one(context, "SELECT sum(COALESCE(covers_count, 1)) FROM runs") == 6
    assert kept(context)


def test_what_waits_and_what_was_abandoned_stays_until_the_clock_has_caught_up(
    context, account, leases, clock
):
    waiting, abandoned = a_pending_run(context, account), a_pending_run(context, account)
    execute(
        context,
        "UPDATE runs SET state = 'running', epoch = 1, attempt = 1, lease_until = now() + interval '5 s'"
        " WHERE id = :id",
        id=abandoned.id,
    )
    clock(-HOUR)
    assert reap(context) == 0
    assert carry_out(context, leases, waiting.id, worker="here") == "ignored"
    clock(timedelta(seconds=10))
    assert reap(context) == 1
    for run in (waiting, abandoned):
        assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    assert kept(context)
