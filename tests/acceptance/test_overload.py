"""Hanging models, backlogs, wedged consumers and deploys under load: nobody else waits, nothing fails."""

from __future__ import annotations

import re
import time

import pytest

from core.reports import work_health
from tests.acceptance.proxy import Proxy
from tests.factories import a_bot, a_task, an_account, execute, one, rows
from tests.model_server import ModelServer

pytestmark = pytest.mark.acceptance

SPAWN_MANY = (
    "WITH made AS (INSERT INTO tasks (id, account_id, bot_id, name, description, action, schedule)"
    "  SELECT gen_random_uuid(), :account, :bot, 'bulk', 'Hello', :action, '0 0 1 1 *'"
    "  FROM generate_series(1, :count) RETURNING id, account_id)"
    " INSERT INTO task_clocks (task_id, account_id, next_run_at) SELECT id, account_id, now() FROM made"
)


def many_due(context, account, bot, count, action="complete"):
    execute(context, SPAWN_MANY, account=account, bot=bot.id, count=count, action=action)


def test_one_tenants_hanging_model_does_not_hold_up_another(installation, account, eventually):
    context = installation.context
    other = an_account(context, "Bo")
    with ModelServer() as server:
        installation.settings |= {
            "LLM_BASE_URL": server.base_url,
            "LLM_API_KEY": "key",
            "CRONTALK_MODEL_TIME": "6",
            "CRONTALK_POLL_AFTER": "1",
            "CRONTALK_BREAKER_PAUSE": "60",
        }
        many_due(context, account, a_bot(context, account, model="hang"), 60)
        good = a_task(context, other, bot_id=a_bot(context, other, model="ok").id, schedule="@every 1h")
        installation.start("worker", "--queues", "chat", "--concurrency", "4")
        installation.start("worker", "--poll")
        installation.start("scheduler")
        eventually(lambda: one(context, "SELECT count(*) FROM runs WHERE state = 'running'") >= 4, 60)
        for _ in range(3):
            execute(context, "UPDATE task_clocks SET next_run_at = now() WHERE task_id = :id", id=good.id)
            done = one(
                context, "SELECT count(*) FROM runs WHERE task_id = :id AND state = 'succeeded'", id=good.id
            )
            eventually(lambda done=done: succeeded(context, good.id) > done, 15)
        eventually(lambda: "circuit_opened" in installation.all_logs(), 60)
        calls = one(context, "SELECT sum(model_calls) FROM runs WHERE account_id = :id", id=account)
        assert calls < 30
        assert one(context, "SELECT count(*) FROM runs WHERE state = 'failed'") == 0


def succeeded(context, task_id):
    query = "SELECT count(*) FROM runs WHERE task_id = :id AND state = 'succeeded'"
    return one(context, query, id=task_id)


def test_a_hundred_thousand_due_runs_of_one_tenant_delay_another_by_seconds(
    installation, account, eventually
):
    context = installation.context
    bot = a_bot(context, account)
    for _ in range(20):
        execute(
            context,
            "INSERT INTO runs (id, account_id, trigger, action, run_at)"
            " SELECT gen_random_uuid(), :account, 'manual', 'receive', now() - interval '1 hour'"
            " FROM generate_series(1, 5000)",
            account=account,
        )
    many_due(context, account, bot, 5000, action="send")
    execute(context, "UPDATE task_clocks SET next_run_at = now() - interval '1 minute'")
    other = an_account(context, "Bo")
    task = a_task(context, other, schedule="@every 1h")
    execute(context, "UPDATE task_clocks SET next_run_at = now() WHERE task_id = :id", id=task.id)
    installation.start("worker", "--queues", "chat")
    installation.start("scheduler")
    eventually(lambda: succeeded(context, task.id) == 1, 60)
    began = one(context, "SELECT min(started_at) FROM runs")
    delay = one(
        context,
        "SELECT extract(epoch FROM finished_at - :began)::float8 FROM runs WHERE task_id = :id",
        id=task.id,
        began=began,
    )
    assert delay < 5
    assert one(context, "SELECT count(*) FROM runs WHERE state = 'pending'") > 10_000


def test_a_wedged_consumer_is_noticed_and_its_work_taken_over(installation, account, eventually):
    context = installation.context
    socket_path = re.sub(r"^unix://([^?]*).*$", r"\1", installation.redis_url)
    number = re.sub(r"^.*db=", "", installation.redis_url)
    with Proxy(socket_path) as proxy:
        through = f"redis://127.0.0.1:{proxy.port}/{number}"
        wedged = installation.start("worker", "--queues", "chat", REDIS_URL=through, CRONTALK_WEDGE_AFTER="3")
        installation.start("scheduler")
        task = a_task(context, account)
        installation.crontalk("task", "trigger", str(task.id))
        eventually(lambda: succeeded(context, task.id) == 1, 30)
        assert proxy.freeze() >= 1
        installation.start("worker", "--poll", CRONTALK_POLL_AFTER="2")
        asked = time.monotonic()
        installation.crontalk("task", "trigger", str(task.id))
        eventually(lambda: succeeded(context, task.id) == 2, 30)
        assert time.monotonic() - asked < 20
        assert rows(context, "SELECT worker FROM runs ORDER BY id")[1]["worker"].startswith("poll-")
        with context.transaction() as session:
            assert work_health(session).polled >= 1
        eventually(lambda: wedged.poll() is not None or served_again(installation, task), 60)


def served_again(installation, task):
    """kombu noticed by itself: the next run is the consumer's again."""
    installation.crontalk("task", "trigger", str(task.id))
    workers = rows(
        installation.context, "SELECT worker FROM runs WHERE worker IS NOT NULL ORDER BY id DESC LIMIT 1"
    )
    return workers[0]["worker"].startswith("chat-")


def test_a_deploy_under_load_fails_nothing_and_calls_no_model_twice(installation, account, eventually):
    context = installation.context
    many_due(context, account, a_bot(context, account, model="offline/latency=1"), 120)
    installation.start("scheduler")
    for _ in range(3):
        worker = installation.start("worker", "--queues", "chat", "--concurrency", "10")
        done = one(context, "SELECT count(*) FROM runs WHERE state = 'succeeded'")
        eventually(
            lambda done=done: one(context, "SELECT count(*) FROM runs WHERE state = 'succeeded'") > done + 5,
            60,
        )
        worker.terminate()
        worker.wait(timeout=20)
        assert one(context, "SELECT count(*) FROM runs WHERE state = 'running'") == 0
    installation.start("worker", "--queues", "chat")
    eventually(lambda: one(context, "SELECT count(*) FROM runs WHERE state = 'succeeded'") == 120, 90)
    assert rows(
        context,
        "SELECT sum(model_calls) AS calls, max(crashes) AS crashes, max(attempt) AS attempts FROM runs",
    ) == [{"calls": 120, "crashes": 0, "attempts": 1}]
