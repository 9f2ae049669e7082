"""History looked at again by workers that are killed again and again: all of it is redacted, once."""

from __future__ import annotations

import json
import time

import pytest

from core.privacy_policies import owner_of, set_policy
from tests.deletions import some_talks, the_job
from tests.factories import execute, one

pytestmark = pytest.mark.acceptance

TALKS, EACH = 60, 100
WORKER = ("worker", "--queues", "annotate", "--concurrency", "1")
MARK = "survivor"
# What a worker has claimed is another's once its five minutes are over; here they are over at once.
ITS_LEASES_END = (
    "UPDATE annotations SET run_at = now(), lease_until = now(), hinted_at = NULL WHERE state = 'running'"
)
REDACTED = (
    "text ~ '^Write to <EMAIL_ADDRESS(_[0-9]+)?> or <CREDIT_CARD(_[0-9]+)?>$'"
    " AND pii_types = '{CREDIT_CARD,EMAIL_ADDRESS}'"
)
RAW = f"SELECT count(*) FROM messages WHERE text LIKE '%{MARK}%@example.com%'"


def test_an_annotation_of_history_survives_the_death_of_its_processes(installation, account, eventually):
    context = installation.context
    some_talks(context, account, TALKS, EACH)
    words = f"'Write to {MARK}' || seq || '@example.com or 4111 1111 1111 1111'"
    execute(context, f"UPDATE messages SET text = {words}")
    with context.transaction(account) as session:
        set_policy(session, owner_of(session), {"preset": "strict"})
    told = installation.crontalk("privacy", "annotate", "--json", "--account", str(account))
    made = json.loads(told.stdout)
    # A job waits for whoever wrote before it was made.
    execute(context, "UPDATE jobs SET created_at = now() - interval '2 minutes'")
    scheduler = installation.start("scheduler")
    worker = installation.start(*WORKER)
    poller = installation.start("worker", "--poll", CRONTALK_POLL_AFTER="1")
    kills, ended_by = 0, time.monotonic() + 180
    while (job := the_job(context, account, made["id"])).finished_at is None:
        assert time.monotonic() < ended_by, "It did not end in time."
        time.sleep(1.5)
        done = TALKS * EACH - one(context, RAW)
        if done and kills < 4:
            installation.kill(worker)
            execute(context, ITS_LEASES_END)
            worker = installation.start(*WORKER)
            if kills == 1:
                installation.kill(scheduler)
                scheduler = installation.start("scheduler")
            if kills == 2:
                installation.kill(poller)
                poller = installation.start("worker", "--poll", CRONTALK_POLL_AFTER="1")
            kills += 1
    assert kills >= 2
    assert (job.state, job.total, job.done, job.skipped) == ("completed", TALKS * EACH, TALKS * EACH, 0)
    assert one(context, RAW) == 0
    assert one(context, f"SELECT count(*) FROM messages WHERE {REDACTED}") == TALKS * EACH
    assert one(context, "SELECT count(*) FROM annotations") == 0
    # Counted once each, however often an attempt died.
    found = "SELECT sum(count) FROM pii_days WHERE account_id = :id AND kind = :kind"
    assert one(context, found, id=account, kind="EMAIL_ADDRESS") == TALKS * EACH
    assert MARK not in installation.all_logs()
