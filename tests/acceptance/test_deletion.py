"""A bulk deletion from the command line to its receipt, and one whose workers are killed again and again."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.acceptance.storm.fleet import ROOT
from tests.deletions import left, some_talks, the_job
from tests.factories import a_task, an_account

pytestmark = pytest.mark.acceptance

TALKS, EACH = 20, 100
WORKER = ("worker", "--queues", "annotate,bulk", "--concurrency", "1")


def test_a_deletion_is_previewed_confirmed_carried_out_and_receipted(installation, account, eventually):
    context = installation.context
    task = a_task(context, account)
    some_talks(context, account, TALKS, EACH, task_id=task.id)
    some_talks(context, account, 5, EACH)
    other = an_account(context, "Grace")
    some_talks(context, other, 5, EACH)
    words = ("delete", "messages", "--task", str(task.id), "--rate", "800/s", "--json")
    told = installation.crontalk(*words, "--dry-run", "--account", str(account))
    assert (told.returncode, json.loads(told.stdout)["count"]) == (0, TALKS * EACH)
    assert installation.crontalk(*words, "--account", str(account)).returncode == 2
    assert left(context, account) == (TALKS + 5) * EACH
    made = json.loads(installation.crontalk(*words, "--yes", "--account", str(account)).stdout)
    worker = installation.start(*WORKER)
    installation.start("scheduler")
    eventually(lambda: the_job(context, account, made["id"]).finished_at is not None, 60)
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) > 0  # who waits for an answer goes first
    job = the_job(context, account, made["id"])
    assert (job.state, job.total, job.done, job.skipped) == ("completed", TALKS * EACH, TALKS * EACH, 0)
    assert (left(context, account), left(context, other)) == (5 * EACH, 5 * EACH)
    receipt = installation.crontalk("job", "receipt", made["id"], "--json", "--account", str(account))
    assert json.loads(receipt.stdout)["messages"] == TALKS * EACH


@pytest.mark.timeout(290)
def test_a_deletion_survives_the_death_of_its_workers_and_of_its_database():
    storm = [sys.executable, "-m", "tests.acceptance.lost_workers", "--messages", "10000", "--rate", "1200/s"]
    done = subprocess.run(storm, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
