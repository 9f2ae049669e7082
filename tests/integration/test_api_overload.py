"""A database that is contended, full, locked or busy: bounded waits, 503, and nothing half done."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from sqlalchemy import text

from core import tasks
from tests.factories import a_task, one

API = "/api/v1"


@pytest.fixture
def failing(monkeypatch):
    """Makes `pause_task` end its first transactions with an error of PostgreSQL's own."""

    def use(sqlstate, times):
        calls = []
        pause_task = tasks.pause_task

        def fail_first(session, task_id, **fields):
            calls.append(task_id)
            task = pause_task(session, task_id, **fields)
            if len(calls) <= times:
                session.execute(text(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$"))
            return task

        monkeypatch.setattr(tasks, "pause_task", fail_first)
        return calls

    return use


@pytest.mark.parametrize("sqlstate", ["40P01", "40001", "23503"])
def test_a_contended_request_is_repeated_and_the_client_hears_nothing_of_it(
    context, account, client, failing, sqlstate
):
    task = a_task(context, account)
    calls = failing(sqlstate, times=2)
    answer = client.post(f"{API}/task/{task.id}/pause", json={})
    assert (answer.status_code, len(calls)) == (200, 3)
    assert one(context, "SELECT state FROM tasks") == "paused"


def test_a_request_that_stays_contended_is_503(context, account, client, failing):
    task = a_task(context, account)
    calls = failing("40P01", times=99)
    answer = client.post(f"{API}/task/{task.id}/pause", json={})
    assert (answer.status_code, answer.headers["retry-after"], len(calls)) == (503, "1", 3)
    assert one(context, "SELECT state FROM tasks") == "active"


@pytest.mark.parametrize("sqlstate", ["53100", "53300", "57P03", "57014", "58030"])
def test_a_database_that_cannot_now_is_503_and_is_not_asked_again(
    context, account, client, failing, sqlstate
):
    task = a_task(context, account)
    calls = failing(sqlstate, times=99)
    answer = client.post(f"{API}/task/{task.id}/pause", json={})
    assert (answer.status_code, answer.json()["code"], len(calls)) == (503, "SERVICE_UNAVAILABLE", 1)
    assert int(answer.headers["retry-after"]) >= 1
    assert one(context, "SELECT state FROM tasks") == "active"


def test_a_lock_is_waited_for_only_so_long(context, account, client):
    task = a_task(context, account)
    with context.engine.begin() as other:
        other.execute(text("SELECT 1 FROM task_clocks WHERE task_id = :id FOR UPDATE"), {"id": task.id})
        began = time.monotonic()
        answer = client.post(f"{API}/task/{task.id}/pause", json={})
        assert answer.status_code == 503
        assert time.monotonic() - began < 8
    assert client.post(f"{API}/task/{task.id}/pause", json={}).status_code == 200


def test_an_exhausted_pool_is_waited_for_only_so_long(context, account, client):
    with ExitStack() as held:
        for _ in range(context.settings.pool_size):
            held.enter_context(context.engine.connect())
        began = time.monotonic()
        assert client.get(f"{API}/task/list").status_code == 503
        assert time.monotonic() - began < 10
    assert client.get(f"{API}/task/list").status_code == 200
