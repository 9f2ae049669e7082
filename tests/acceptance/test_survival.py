"""Whatever is killed: nothing lost, nothing twice. Real schedulers, workers, PostgreSQL and Valkey."""

from __future__ import annotations

import json
import os
import signal

import pytest

from core.tasks import trigger_task
from tests.acceptance.storm.chaos import for_a_stranger
from tests.factories import a_bot, a_task, execute, one, rows, the_run

pytestmark = pytest.mark.acceptance


def every_occurrence_once(context):
    """The invariants that hold at any time."""
    assert rows(context, "SELECT task_id FROM runs GROUP BY task_id, scheduled_for HAVING count(*) > 1") == []
    assert rows(context, "SELECT run_id FROM messages GROUP BY run_id, step HAVING count(*) > 1") == []
    assert (
        rows(
            context,
            "SELECT conversation_id FROM runs WHERE conversation_id IS NOT NULL"
            " GROUP BY 1 HAVING count(*) > 1",
        )
        == []
    )
    assert (
        rows(
            context,
            "SELECT id FROM runs r WHERE state = 'succeeded' AND NOT EXISTS"
            " (SELECT FROM messages m WHERE m.run_id = r.id AND m.step = 'reply')",
        )
        == []
    )


def test_a_task_on_a_short_schedule_yields_three_linked_conversations(installation, account, eventually):
    context = installation.context
    task = a_task(context, account, schedule="@every 2s")
    installation.start("scheduler")
    installation.start("worker", "--queues", "chat")
    eventually(lambda: one(context, "SELECT count(*) FROM runs WHERE state = 'succeeded'") >= 3, 60)
    linked = rows(
        context,
        "SELECT c.task_id, c.run_id, r.conversation_id = c.id AS back, r.scheduled_for FROM conversations c"
        " JOIN runs r ON r.id = c.run_id WHERE r.state = 'succeeded' ORDER BY r.scheduled_for",
    )
    assert len(linked) >= 3
    assert all(row["task_id"] == task.id and row["back"] for row in linked)
    assert len({row["scheduled_for"] for row in linked}) == len(linked)
    every_occurrence_once(context)


def test_a_worker_killed_in_mid_call_loses_nothing(installation, account, eventually):
    context = installation.context
    bot = a_bot(context, account, model="offline/latency=3")
    task = a_task(context, account, bot_id=bot.id)
    first = installation.start("worker", "--queues", "chat")
    triggered = installation.crontalk("task", "trigger", str(task.id), "--json")
    assert triggered.returncode == 0, triggered.stderr
    installation.start("scheduler")
    eventually(lambda: one(context, "SELECT count(*) FROM run_steps WHERE step = 'model.1'") == 1, 60)
    installation.kill(first)
    installation.start("worker", "--queues", "chat")
    eventually(lambda: one(context, "SELECT state FROM runs") == "succeeded", 60)
    (run,) = rows(context, "SELECT crashes, attempt, model_calls FROM runs")
    assert run == {"crashes": 1, "attempt": 2, "model_calls": 2}
    timeline = rows(context, "SELECT step, outcome FROM run_steps ORDER BY step")
    assert timeline == [
        {"step": "attempt.1", "outcome": "lost"},
        {"step": "attempt.3", "outcome": "succeeded"},
        {"step": "model.1", "outcome": "lost"},
        {"step": "model.2", "outcome": "succeeded"},
    ]
    every_occurrence_once(context)


def test_a_run_that_kills_its_worker_three_times_is_poison_and_nothing_else_suffers(
    installation, account, eventually
):
    context = installation.context
    deadly = a_task(context, account, bot_id=a_bot(context, account, model="offline/latency=50").id)
    other = a_task(context, account, overlap="allow")
    with context.transaction(account) as session:
        run = trigger_task(session, deadly.id)
    installation.start("scheduler")
    succeeded = "SELECT count(*) FROM runs WHERE task_id = :id AND state = 'succeeded'"
    in_hand = "SELECT state = 'running' AND crashes = :crashes FROM runs WHERE id = :id"
    for crash in range(2):
        with context.transaction(account) as session:
            trigger_task(session, other.id)
        worker = installation.start("worker", "--queues", "chat")
        eventually(lambda n=crash: one(context, succeeded, id=other.id) == n + 1, 60)
        eventually(lambda n=crash: one(context, in_hand, id=run.id, crashes=n), 60)
        installation.kill(worker)
    # The third attempt is in a process of its own, beside the poll worker that started it.
    installation.start("worker", "--poll")
    eventually(lambda: one(context, in_hand, id=run.id, crashes=2), 60)
    name = one(context, "SELECT split_part(worker, '@', 1) FROM runs WHERE id = :id", id=run.id)
    alone, _, pid = name.partition("-")
    assert alone == "alone"
    with context.transaction(account) as session:
        trigger_task(session, other.id)
    eventually(lambda: one(context, succeeded, id=other.id) == 3, 60)
    os.kill(int(pid), signal.SIGKILL)
    ended = "SELECT state, error_class, crashes FROM runs WHERE id = :id"
    eventually(lambda: rows(context, ended, id=run.id)[0]["state"] == "failed", 60)
    assert rows(context, ended, id=run.id) == [{"state": "failed", "error_class": "poison", "crashes": 3}]
    assert (
        rows(context, "SELECT crashes, attempt FROM runs WHERE task_id = :id", id=other.id)
        == [{"crashes": 0, "attempt": 1}] * 3
    )


def test_a_frozen_worker_that_wakes_up_late_writes_nothing(installation, account, eventually):
    context = installation.context
    bot = a_bot(context, account, model="offline/latency=2")
    task = a_task(context, account, bot_id=bot.id)
    zombie = installation.start("worker", "--queues", "chat")
    installation.crontalk("task", "trigger", str(task.id))
    installation.start("scheduler")
    eventually(lambda: one(context, "SELECT count(*) FROM run_steps WHERE step = 'model.1'") == 1, 60)
    zombie.send_signal(signal.SIGSTOP)
    installation.start("worker", "--poll", CRONTALK_POLL_AFTER="0.5")
    eventually(lambda: one(context, "SELECT state FROM runs") == "succeeded", 60)
    zombie.send_signal(signal.SIGCONT)
    eventually(lambda: "lease_lost" in installation.all_logs(), 30)
    assert one(context, "SELECT count(*) FROM messages WHERE step = 'reply'") == 1
    every_occurrence_once(context)


def test_killed_schedulers_lose_and_double_nothing(installation, account, eventually):
    context = installation.context
    for _ in range(200):
        a_task(context, account, schedule="@every 1h", action="send")
    execute(context, "UPDATE task_clocks SET next_run_at = now() + interval '6 seconds' * random()")
    installation.start("worker", "--queues", "chat")
    for _ in range(4):
        doomed = installation.start("scheduler", CRONTALK_FIRE_BATCH="7")
        before = one(context, "SELECT count(*) FROM runs")
        eventually(lambda before=before: one(context, "SELECT count(*) FROM runs") > before, 30)
        installation.kill(doomed)
    installation.start("scheduler")
    eventually(lambda: one(context, "SELECT count(*) FROM runs WHERE state = 'succeeded'") == 200, 60)
    assert one(context, "SELECT count(*) FROM runs") == 200
    assert one(context, "SELECT count(*) FROM conversations") == 200


def test_a_wiped_broker_and_a_lost_hint_delay_and_lose_nothing(installation, account, eventually):
    context = installation.context
    broker = context.publisher._client()
    for _ in range(30):
        a_task(context, account, schedule="@every 1h", action="send")
    execute(context, "UPDATE task_clocks SET next_run_at = now()")
    installation.start("scheduler")
    eventually(lambda: (context.publisher.waiting("chat") or 0) >= 30, 30)
    real = broker.lindex("chat", 0)
    broker.flushdb()
    broker.lpush("chat", *forged(real))
    broker.lpush(
        "chat", b"garbage", b"\xff\xfe", b"[]", b"1", b"{}", b'{"body": "x", "headers": {}, "properties": {}}'
    )
    installation.start("worker", "--queues", "chat")
    eventually(lambda: one(context, "SELECT count(*) FROM runs WHERE state = 'succeeded'") == 30, 60)
    every_occurrence_once_for_send(context)


def forged(hint: bytes) -> list[bytes]:
    """Like this hint: pickled, of a task that nobody has, for a run that nobody has, and itself twice."""
    whole = json.loads(hint)
    pickled = {**whole, "content-type": "application/x-python-serialize", "body": "gASVAAAA"}
    unknown = {**whole, "headers": {**whole["headers"], "task": "os.system"}}
    return [json.dumps(pickled).encode(), json.dumps(unknown).encode(), for_a_stranger(hint), hint, hint]


def every_occurrence_once_for_send(context):
    assert one(context, "SELECT count(*) FROM messages") == one(context, "SELECT count(*) FROM runs")


def test_without_any_broker_the_poll_worker_serves_everything(installation, account, eventually):
    context = installation.context
    task = a_task(context, account, schedule="@every 1h")
    execute(context, "UPDATE task_clocks SET next_run_at = now()")
    nowhere = "redis://127.0.0.1:1/0"
    installation.start("scheduler", REDIS_URL=nowhere)
    installation.start("worker", "--poll", REDIS_URL=nowhere, CRONTALK_POLL_AFTER="0.5")
    eventually(lambda: one(context, "SELECT count(*) FROM runs WHERE state = 'succeeded'") == 1, 60)
    assert one(context, "SELECT task_id FROM conversations") == task.id


def test_a_stopped_worker_gives_long_runs_back_within_its_grace(installation, account, eventually):
    context = installation.context
    bot = a_bot(context, account, model="offline/latency=60")
    quick = a_bot(context, account, name="quick", model="offline/latency=1.5")
    long_task, short_task = a_task(context, account, bot_id=bot.id), a_task(context, account, bot_id=quick.id)
    worker = installation.start("worker", "--queues", "chat", CRONTALK_GRACE="4")
    runs = [
        installation.crontalk("task", "trigger", str(task.id), "--json") for task in (long_task, short_task)
    ]
    assert all(run.returncode == 0 for run in runs)
    installation.start("scheduler")
    eventually(lambda: one(context, "SELECT count(*) FROM run_steps WHERE step LIKE 'model.%'") == 2, 60)
    worker.terminate()
    worker.wait(timeout=20)
    states = rows(context, "SELECT task_id, state, attempt, crashes FROM runs ORDER BY id")
    assert states == [
        {"task_id": long_task.id, "state": "pending", "attempt": 0, "crashes": 0},
        {"task_id": short_task.id, "state": "succeeded", "attempt": 1, "crashes": 0},
    ]


def test_a_stopped_poll_worker_does_not_wait_for_a_model_that_hangs(installation, account, eventually):
    context = installation.context
    bot = a_bot(context, account, model="offline/latency=60/chunks=1")
    task = a_task(context, account, bot_id=bot.id)
    worker = installation.start("worker", "--poll", CRONTALK_GRACE="1", CRONTALK_POLL_AFTER="0.1")
    assert installation.crontalk("task", "trigger", str(task.id), "--json").returncode == 0
    eventually(lambda: one(context, "SELECT count(*) FROM run_steps WHERE step LIKE 'model.%'") == 1, 60)
    worker.terminate()
    worker.wait(timeout=15)
    assert rows(context, "SELECT state, attempt, crashes FROM runs") == [
        {"state": "pending", "attempt": 0, "crashes": 0}
    ]


def test_a_run_cancelled_by_command_stops_within_seconds(installation, account, eventually):
    context = installation.context
    bot = a_bot(context, account, model="offline/latency=60/chunks=200")
    task = a_task(context, account, bot_id=bot.id)
    installation.start("worker", "--queues", "chat")
    installation.start("scheduler")
    installation.crontalk("task", "trigger", str(task.id))
    eventually(lambda: one(context, "SELECT count(*) FROM run_steps WHERE step = 'model.1'") == 1, 60)
    run = one(context, "SELECT id FROM runs")
    assert installation.crontalk("run", "cancel", str(run)).returncode == 0
    eventually(lambda: "lease_lost" in installation.all_logs(), 20)
    assert the_run(context, run)["state"] == "cancelled"
