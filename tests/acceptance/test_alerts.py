"""The alert drill: a scheduler is killed, a worker hangs, a queue fills; the rules tell, and fall silent."""

from __future__ import annotations

import os
import signal

import httpx2
import pytest

from tests.acceptance.conftest import free_port
from tests.factories import a_bot, a_task, execute, one
from tests.integration.test_alerts import JOB, RULES
from tests.promql import evaluate, scraped

pytestmark = pytest.mark.acceptance

HIGH_WATER = 12
STUCK = {"CrontalkSchedulerBehind", "CrontalkNobodyClaims", "CrontalkQueueFull"}
# Not those of the last hour: what is missed while everything starts is told for an hour.
WATCHED = {*STUCK, "CrontalkAway", "CrontalkDueRunsWait", "CrontalkBrokerAway", "CrontalkSchemaBehind"}


def test_a_dead_scheduler_a_hung_worker_and_a_full_queue_are_told_and_their_recovery_too(
    installation, account, eventually
):
    context = installation.context
    installation.settings["CRONTALK_HIGH_WATER"] = str(HIGH_WATER)
    origin = f"http://127.0.0.1:{(port := free_port())}"
    installation.start("api", "--port", str(port))
    scheduler = installation.start("scheduler")
    worker = installation.start("worker", "--queues", "chat", "--concurrency", "8")

    def firing() -> set[str]:
        """What Prometheus would hold pending or firing by this scrape; `for` is its own business."""
        try:
            answer = httpx2.get(f"{origin}/metrics", timeout=5)
            samples = scraped(answer.text if answer.status_code == 200 else "", **JOB)
        except httpx2.HTTPError:
            samples = scraped("", **JOB)
        return {name for name in WATCHED if evaluate(RULES[name]["expr"], samples)}

    def health() -> int:
        return httpx2.get(f"{origin}/health/work", timeout=5).status_code

    assert firing() == {"CrontalkAway"}
    bot = a_bot(context, account)
    for number in range(HIGH_WATER):
        a_task(context, account, bot_id=bot.id, name=f"Task {number}", schedule="@every 4s", overlap="allow")
    eventually(lambda: one(context, "SELECT count(*) FROM runs WHERE state = 'succeeded'") > 0, 120)
    eventually(lambda: firing() == set(), 120)
    assert health() == 200

    os.killpg(worker.pid, signal.SIGSTOP)
    eventually(lambda: "CrontalkQueueFull" in firing(), 120)
    installation.kill(scheduler)
    # Half a minute is not waited for, but put behind us.
    execute(context, "UPDATE runs SET run_at = run_at - interval '30 seconds' WHERE state = 'pending'")
    execute(context, "UPDATE task_clocks SET next_run_at = next_run_at - interval '30 seconds'")
    eventually(lambda: firing() >= STUCK, 120)
    assert health() == 503

    installation.start("scheduler")
    eventually(lambda: "CrontalkSchedulerBehind" not in firing(), 120)
    assert "CrontalkNobodyClaims" in firing()
    os.killpg(worker.pid, signal.SIGCONT)
    eventually(lambda: firing() == set(), 120)
    assert health() == 200
