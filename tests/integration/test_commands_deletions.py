"""`crontalk delete …` in this process: what it says beforehand, when it refuses, how it ends."""

from __future__ import annotations

import json
import threading

import pytest

from core.carrying import carry_on
from tests.deletions import left, some_talks
from tests.factories import a_task, rows
from tests.integration.test_commands_privacy import run  # noqa: F401 (a fixture)


@pytest.fixture
def task(context, account):
    found = a_task(context, account)
    some_talks(context, account, 2, 5, task_id=found.id)
    some_talks(context, account, 1, 3)
    return str(found.id)


def test_a_dry_run_deletes_nothing(context, account, run, task):  # noqa: F811
    code, out, _ = run("delete", "messages", "--task", task, "--before", "2099-01-01", "--dry-run", "--json")
    assert (code, json.loads(out)["count"]) == (0, 10)
    code, out, _ = run("delete", "conversations", "--task", task, "--status", "active", "--dry-run")
    assert code == 0
    assert "2" in out
    assert rows(context, "SELECT 1 FROM jobs") == []


def test_nothing_goes_before_somebody_says_yes(context, account, run, task):  # noqa: F811
    assert run("delete", "messages", "--task", task)[0] == 2
    assert run("delete", "messages", "--task", task, "--before", "soon", "--yes")[0] == 2
    assert run("delete", "messages", "--yes")[0] == 2
    assert run("delete", "messages", "--task", "01a1f8d9-2816-7f1f-b65c-5da87a24cb6b", "--yes")[0] == 3
    assert left(context, account) == 13


def test_it_is_waited_for_and_leaves_a_receipt(context, account, run, task):  # noqa: F811
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            for row in rows(context, "SELECT id FROM jobs WHERE state = 'pending'"):
                carry_on(context, row["id"])
            stop.wait(0.05)

    worker = threading.Thread(target=serve)
    worker.start()
    try:
        code, out, err = run("delete", "messages", "--task", task, "--yes", "--wait", "--json")
    finally:
        stop.set()
        worker.join()
    assert code == 0, err
    told = json.loads(out)
    assert (told["state"], told["done"]) == ("completed", 10)
    assert left(context, account) == 3
    code, out, _ = run("job", "receipt", told["id"], "--json")
    assert (code, json.loads(out)["ids"]) == (0, 10)
    assert run("job", "show", told["id"])[0] == 0


def test_a_deletion_that_waits_for_its_confirmation_shows_it(context, account, run):  # noqa: F811
    from core.delete_jobs import create_delete_job

    some_talks(context, account, 1, 3)
    with context.transaction(account) as session:
        job = str(create_delete_job(session, "messages", {"all": True})[0].id)
    code, out, _ = run("job", "show", job, "--json")
    assert code == 0
    assert run("job", "resume", job)[0] == 4
    assert run("job", "confirm", job, "x")[0] == 4
    assert run("job", "confirm", job, json.loads(out)["confirmation"])[0] == 0
    assert rows(context, "SELECT state FROM jobs") == [{"state": "pending"}]
