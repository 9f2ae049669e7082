"""An export whose workers are killed again and again: every message once, in a file that is whole."""

from __future__ import annotations

import json
import time

import pytest

from tests.acceptance.conftest import an_installation
from tests.deletions import some_talks, the_job
from tests.exports import read_back, said, stored
from tests.factories import A_KEY, an_account, one

pytestmark = pytest.mark.acceptance

TALKS, EACH = 150, 200
WORKER = ("worker", "--queues", "annotate,bulk", "--concurrency", "1")


@pytest.fixture
def installation(servers, worker_id, tmp_path):
    """One that can seal files."""
    with an_installation(servers, worker_id, tmp_path, key=A_KEY) as made:
        made.settings["CRONTALK_KEY"] = A_KEY
        yield made


def test_an_export_survives_the_death_of_its_workers(installation, account, tmp_path):
    context = installation.context
    some_talks(context, account, TALKS, EACH)
    some_talks(context, an_account(context, "Grace"), 5, EACH)
    installation.start("scheduler")
    worker = installation.start(*WORKER)
    file = tmp_path / "all.jsonl.gz"
    words = ("export", str(file), "--all", "--gzip", "--mode", "original", "--account", str(account))
    asking = installation.start(*words)
    kills, ended_by = 0, time.monotonic() + 150
    assert asking.poll() is None
    while not (jobs := one(context, "SELECT min(id::text) FROM jobs")):
        assert time.monotonic() < ended_by, "Nobody asked for it."
        time.sleep(0.1)
    while the_job(context, account, jobs).finished_at is None:
        assert time.monotonic() < ended_by, "It did not end in time."
        begun = one(context, "SELECT count(*) FROM jobs WHERE lease_until IS NOT NULL")
        time.sleep(0.7)
        if begun and kills < 4 and the_job(context, account, jobs).finished_at is None:
            installation.kill(worker)
            worker = installation.start(*WORKER)
            kills += 1
    job = the_job(context, account, jobs)
    assert (job.state, job.total, job.done, job.skipped) == ("completed", TALKS * EACH, TALKS * EACH, 0)
    assert kills >= 2
    while not (tmp_path / "all.jsonl.gz.manifest.json").exists():
        assert time.monotonic() < ended_by, "The file did not come."
        time.sleep(0.1)
    assert asking.wait(20) == 0
    assert json.loads((tmp_path / "all.jsonl.gz.manifest.json").read_text())["messages"] == TALKS * EACH
    assert said(read_back(file.read_bytes())) == stored(context, account)
