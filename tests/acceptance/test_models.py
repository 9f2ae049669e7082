"""Model servers that misbehave, seen from a real worker: the right class, in time, nobody else slowed."""

from __future__ import annotations

import pytest

from tests.factories import a_bot, a_task, one, rows
from tests.model_server import ModelServer

pytestmark = pytest.mark.acceptance

# What a server does, and the class its run must end in.
BEHAVIOURS = {
    "hang": "timeout",
    "hang-body": "timeout",
    "drip-headers": "timeout",
    "drip-body": "timeout",
    "html": "provider_error",
    "error-body": "provider_error",
    "empty": "empty_output",
    "retry-after:86400": "quota",
    "cut": "provider_error",
    "unfinished": "provider_error",
    "garbage": "provider_error",
    "status:503": "provider_error",
    "status:401": "misconfigured",
    "finish:length": "truncated",
}


def test_every_misbehaving_model_ends_in_its_class_and_a_good_one_is_not_slowed(
    installation, account, eventually
):
    context = installation.context
    with ModelServer() as server:
        installation.settings |= {
            "LLM_BASE_URL": server.base_url,
            "LLM_API_KEY": "key",
            "CRONTALK_ATTEMPTS": "2",
            "CRONTALK_MODEL_TIME": "3",
        }
        tasks = {}
        for behaviour in BEHAVIOURS:
            bot = a_bot(context, account, name=behaviour, model=behaviour)
            tasks[behaviour] = a_task(context, account, bot_id=bot.id, max_time_ms=20_000).id
        good = a_task(context, account, bot_id=a_bot(context, account, name="good", model="ok").id)
        installation.start("worker", "--queues", "chat")
        installation.start("scheduler")
        for task in [*tasks.values(), good.id]:
            trigger(context, account, task)
        eventually(lambda: state_of(context, good.id) == "succeeded", 60)
        eventually(lambda: one(context, "SELECT count(*) FROM runs WHERE finished_at IS NULL") == 0, 60)
    classes = {
        row["task_id"]: row["error_class"] for row in rows(context, "SELECT task_id, error_class FROM runs")
    }
    assert {behaviour: classes[task] for behaviour, task in tasks.items()} == BEHAVIOURS
    assert one(context, "SELECT max(finished_at - created_at) < interval '40 seconds' FROM runs")
    assert one(context, "SELECT count(*) FROM messages WHERE step = 'reply'") == 1
    quick = "SELECT finished_at - started_at < interval '12 seconds' FROM runs WHERE task_id = :id"
    assert one(context, quick, id=good.id)


def trigger(context, account, task_id):
    from core.tasks import trigger_task

    with context.transaction(account) as session:
        trigger_task(session, task_id)


def state_of(context, task_id):
    return one(context, "SELECT state FROM runs WHERE task_id = :id", id=task_id)
