"""Two who want the same run at the same instant: one goes first, and the timeline tells the truth."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest

from core.notes import BEGIN_CALL, StoredNotes
from core.runs import cancel_run
from core.turns import carry_out
from core.work import claim, reap
from tests.factories import a_bot, a_pending_run, execute, one, rows, the_run

MINUTE = timedelta(minutes=1)
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
def claimed(context, account):
    run = a_pending_run(context, account)
    with context.transaction() as session:
        return claim(session, run.id, lease=MINUTE, run_time=MINUTE, worker="tests", delivery=None)


def cancel(context, account, run_id):
    with context.transaction(account) as session:
        cancel_run(session, run_id)


@contextmanager
def beside(context, eventually, act):
    """Runs `act` in a thread that waits for a lock of the block."""
    thread = threading.Thread(target=act)
    yield lambda: (thread.start(), eventually(lambda: one(context, WAITING) == 1))
    thread.join(10)


def test_a_cancellation_closes_the_step_that_was_stored_while_it_waited(
    context, account, claimed, eventually
):
    cancelling = beside(context, eventually, lambda: cancel(context, account, claimed.id))
    with cancelling as start_and_wait, context.transaction() as session:
        session.execute(BEGIN_CALL, {"id": claimed.id, "epoch": claimed.epoch, "model": "m", "slot": 0})
        start_and_wait()
    assert the_run(context, claimed.id)["state"] == "cancelled"
    assert rows(context, "SELECT DISTINCT outcome FROM run_steps") == [{"outcome": "cancelled"}]


def test_a_cancellation_closes_the_attempt_that_began_while_it_waited(context, account, eventually):
    run = a_pending_run(context, account)
    cancelling = beside(context, eventually, lambda: cancel(context, account, run.id))
    with cancelling as start_and_wait, context.transaction() as session:
        claim(session, run.id, lease=MINUTE, run_time=MINUTE, worker="tests", delivery=None)
        start_and_wait()
    assert the_run(context, run.id)["state"] == "cancelled"
    assert rows(context, "SELECT outcome FROM run_steps") == [{"outcome": "cancelled"}]


def test_a_reaped_run_leaves_no_step_open(context, claimed):
    with context.transaction() as session:
        session.execute(BEGIN_CALL, {"id": claimed.id, "epoch": claimed.epoch, "model": "m", "slot": 0})
    execute(context, "UPDATE runs SET lease_until = now() - interval '1 second'")
    assert reap(context) == 1
    assert rows(context, "SELECT DISTINCT outcome FROM run_steps") == [{"outcome": "lost"}]


def test_a_run_cancelled_before_its_call_costs_no_call(context, account, leases, monkeypatch):
    run = a_pending_run(context, account, bot_id=a_bot(context, account).id)
    begin = StoredNotes.begin_call

    def cancelled_first(*arguments):
        cancel(context, account, run.id)
        begin(*arguments)

    asked = []
    monkeypatch.setattr(StoredNotes, "begin_call", cancelled_first)
    monkeypatch.setattr("core.asking._read", lambda *arguments: asked.append(arguments))
    assert carry_out(context, leases, run.id, worker="tests") == "lost"
    assert asked == []
    assert the_run(context, run.id)["model_calls"] == 0
