"""Schedulers that die, freeze, crowd or have the wrong time: what is due fires once, and the rest goes on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from core.invariants import ALWAYS, violations
from tests.acceptance.proxy import Proxy
from tests.factories import execute, one, rows
from tests.jumps import jump, make_jumpy

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parents[2]
FIRES = b"INSERT INTO conversations"
THOUSAND = (
    "WITH made AS (INSERT INTO tasks (id, account_id, bot_id, name, description, action, schedule)"
    "  SELECT uuidv7(), b.account_id, b.id, 'bulk', 'Hello', 'send', '0 0 1 1 *'"
    "  FROM bots b, generate_series(1, :count) RETURNING id, account_id)"
    " INSERT INTO task_clocks (task_id, account_id) SELECT id, account_id FROM made"
)
DUE = "UPDATE task_clocks SET next_run_at = date_trunc('second', now()) + interval '1 second' * :seconds"
TWICE = "SELECT task_id FROM runs GROUP BY task_id, scheduled_for HAVING count(*) > 1"
OFF_BY = (
    "SELECT DISTINCT round(extract(epoch FROM uuid_extract_timestamp(id) - created_at) / 3600)::int FROM runs"
)
IN_TRANSACTION = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'crontalk scheduler' AND state = 'idle in transaction'"
)


def fired(context) -> int:
    return one(context, "SELECT count(*) FROM runs")


def kept(context) -> bool:
    """Every promise that holds at any instant."""
    with context.transaction() as session:
        return violations(session, invariants=ALWAYS) == []


def started(installation) -> int:
    return installation.all_logs().count("scheduler_started")


def through(proxy, installation) -> str:
    return re.sub(r"@/([^?]*)\?.*$", rf"@127.0.0.1:{proxy.port}/\1", installation.database_url)


@pytest.fixture
def proxy(servers):
    directory = re.search(r"host=([^&]*)", servers.database_url)[1]
    with Proxy(f"{directory}/.s.PGSQL.5432") as between:
        yield between


def test_ten_schedulers_on_a_thousand_tasks_due_in_one_second(installation, account, eventually):
    context = installation.context
    execute(context, THOUSAND, count=1000)
    for _ in range(10):
        installation.start("scheduler", CRONTALK_FIRE_BATCH="50")
    eventually(lambda: started(installation) == 10, 60)
    for number in (1, 2, 3):
        execute(context, DUE, seconds=1)
        eventually(lambda number=number: fired(context) == 1000 * number, 60)
        assert rows(context, TWICE) == []
        # Else the next round would be skipped: a run of the task is still waiting.
        execute(context, "UPDATE runs SET state = 'cancelled', finished_at = now() WHERE state = 'pending'")
    assert one(context, "SELECT count(DISTINCT conversation_id) FROM runs WHERE state = 'cancelled'") == 3000
    assert kept(context)
    for noise in ("batch_not_fired", "task_not_fired", "turn_failed"):
        assert noise not in installation.all_logs()
    assert one(context, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


def test_a_scheduler_killed_between_its_inserts_and_its_commit_leaves_nothing_behind(
    installation, account, proxy, eventually
):
    context = installation.context
    execute(context, THOUSAND, count=100)
    doomed = installation.start("scheduler", DATABASE_URL=through(proxy, installation))
    eventually(lambda: started(installation) == 1, 30)
    proxy.hold_commit(after=FIRES)
    execute(context, DUE, seconds=1)
    assert proxy.held.wait(20)
    installation.start("scheduler")
    eventually(lambda: started(installation) == 2, 30)
    eventually(lambda: one(context, IN_TRANSACTION) == 1, 10)  # the other's own, short ones have ended
    assert fired(context) == 0
    installation.kill(doomed)
    eventually(lambda: fired(context) == 100, 5)
    assert rows(context, TWICE) == []
    assert kept(context)


def test_a_scheduler_frozen_in_its_transaction_loses_it_and_lives_on(
    installation, account, proxy, eventually
):
    context = installation.context
    execute(context, THOUSAND, count=100)
    frozen = installation.start("scheduler", DATABASE_URL=through(proxy, installation))
    eventually(lambda: started(installation) == 1, 30)
    proxy.hold_commit(after=FIRES)
    execute(context, DUE, seconds=1)
    assert proxy.held.wait(20)
    os.killpg(frozen.pid, signal.SIGSTOP)
    other = installation.start("scheduler")
    eventually(lambda: fired(context) == 100, 20)  # idle_in_transaction_session_timeout: 10 s
    installation.kill(other)
    proxy.release()
    os.killpg(frozen.pid, signal.SIGCONT)
    eventually(lambda: "turn_failed" in installation.all_logs(), 10)
    assert fired(context) == 100
    execute(context, "UPDATE runs SET state = 'cancelled', finished_at = now()")
    execute(context, DUE, seconds=0)
    eventually(lambda: fired(context) == 200, 20)
    assert frozen.poll() is None
    assert rows(context, TWICE) == []
    assert kept(context)


def wrong_clock(how: str, hours: int) -> list[str]:
    if how == "python":
        return [sys.executable, "-P", "-m", "tests.acceptance.shifted", str(3600 * hours)]
    return ["faketime", "-f", f"{hours:+d}h", sys.executable, "-P", "-m", "cli"]


@pytest.mark.parametrize("hours", [1, -1])
@pytest.mark.parametrize(
    "how",
    [
        "python",
        pytest.param(
            "faketime", marks=pytest.mark.skipif(not shutil.which("faketime"), reason="no faketime here")
        ),
    ],
)
def test_the_databases_clock_rules_on_a_host_an_hour_off(installation, account, eventually, how, hours):
    context = installation.context
    execute(context, THOUSAND, count=150)
    program = wrong_clock(how, hours)
    installation.start("scheduler", program=program, PYTHONPATH=str(ROOT), FAKETIME_DONT_FAKE_MONOTONIC="1")
    eventually(lambda: started(installation) == 1, 30)
    execute(context, DUE, seconds=2)
    execute(
        context,
        "UPDATE task_clocks SET next_run_at = next_run_at + interval '30 minutes' WHERE task_id IN"
        " (SELECT task_id FROM task_clocks ORDER BY task_id LIMIT 50)",
    )
    eventually(lambda: fired(context) == 100, 15)
    assert one(context, "SELECT bool_and(created_at - scheduled_for BETWEEN '0 s' AND '5 s') FROM runs")
    # Identifiers carry the host's time: its clock is wrong indeed.
    assert one(context, OFF_BY) == hours
    execute(context, "UPDATE runs SET state = 'cancelled', finished_at = now()")
    installation.start("scheduler")
    eventually(lambda: started(installation) == 2, 30)
    execute(context, DUE, seconds=1)
    eventually(lambda: fired(context) == 250, 15)
    assert rows(context, TWICE) == []
    assert kept(context)


def test_a_scheduler_lives_through_a_database_clock_that_is_set_forth_and_back(
    installation, account, eventually
):
    context = installation.context
    make_jumpy(installation.database_url)
    context.engine.dispose()
    execute(context, THOUSAND, count=50)
    installation.start("scheduler")
    eventually(lambda: started(installation) == 1, 30)
    execute(context, DUE, seconds=1800)
    jump(installation.database_url, timedelta(hours=1))
    eventually(lambda: fired(context) == 50, 10)
    jump(installation.database_url, timedelta(0))
    # These are due by the clock that was put right; the others would be due again by it.
    execute(context, THOUSAND, count=20)
    execute(context, f"{DUE} WHERE next_run_at IS NULL", seconds=0)
    eventually(lambda: fired(context) == 70, 10)
    assert one(context, "SELECT count(DISTINCT task_id) FROM runs") == 70
    assert rows(context, TWICE) == []
    assert kept(context)
