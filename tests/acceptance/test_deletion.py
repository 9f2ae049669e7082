"""A bulk deletion whose workers are killed again and again: exact counts, and nothing else is gone."""

from __future__ import annotations

import json
import time

import pytest

from tests.deletions import left, some_talks, the_job
from tests.factories import a_task, an_account, one

pytestmark = pytest.mark.acceptance

TALKS, EACH = 200, 100
WORKER = ("worker", "--queues", "annotate,bulk", "--concurrency", "1")


def test_a_deletion_survives_the_death_of_its_workers(installation, account, eventually):
    context = installation.context
    task = a_task(context, account)
    some_talks(context, account, TALKS, EACH, task_id=task.id)
    some_talks(context, account, 20, EACH)
    other = an_account(context, "Grace")
    some_talks(context, other, 20, EACH)
    words = ("delete", "messages", "--task", str(task.id), "--rate", "800/s", "--json")
    told = installation.crontalk(*words, "--dry-run", "--account", str(account))
    assert (told.returncode, json.loads(told.stdout)["count"]) == (0, TALKS * EACH)
    assert installation.crontalk(*words, "--account", str(account)).returncode == 2
    assert left(context, account) == (TALKS + 20) * EACH
    made = json.loads(installation.crontalk(*words, "--yes", "--account", str(account)).stdout)
    installation.start("scheduler")
    installation.start("worker", "--poll", CRONTALK_POLL_AFTER="1")
    kills, ended_by = 0, time.monotonic() + 150
    worker = installation.start(*WORKER)
    while the_job(context, account, made["id"]).finished_at is None:
        assert time.monotonic() < ended_by, "It did not end in time."
        begun = one(context, "SELECT count(*) FROM jobs WHERE lease_until IS NOT NULL")
        time.sleep(2)
        if begun and kills < 5:
            installation.kill(worker)
            worker = installation.start(*WORKER)
            kills += 1
    job = the_job(context, account, made["id"])
    assert (job.state, job.total, job.done, job.skipped) == ("completed", TALKS * EACH, TALKS * EACH, 0)
    assert left(context, account) == 20 * EACH
    assert left(context, other) == 20 * EACH
    named = (
        "SELECT sum(cardinality(target_ids)), count(DISTINCT t.id) FROM erasures, unnest(target_ids) t (id)"
    )
    assert kills >= 2
    assert one(context, named.replace("sum(cardinality(target_ids))", "count(*)")) == TALKS * EACH
    assert one(context, f"SELECT distinct_ids FROM ({named}) AS n (ids, distinct_ids)") == TALKS * EACH
    receipt = installation.crontalk("job", "receipt", made["id"], "--json", "--account", str(account))
    assert json.loads(receipt.stdout)["messages"] == TALKS * EACH
