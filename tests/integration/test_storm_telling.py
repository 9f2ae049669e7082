"""The storm's judge of deliveries notices what it is there for."""

from __future__ import annotations

import dataclasses

import pytest

from core.tasks import trigger_task
from core.turns import carry_out
from tests.acceptance.storm.telling import subscribe, wrongly_told
from tests.factories import a_task, execute, rows
from tests.hook_server import HookServer
from tests.told import deliver_all

RUNS = "SELECT id::text, task_id::text, state FROM runs"


@pytest.fixture
def judged(context, account, leases):
    """A run that was told of; answers what the judge says of what was heard, after a change of it."""
    task = a_task(context, account)
    with HookServer() as server:
        secrets = subscribe(context, server, [(account, task.id)])
        with context.transaction(account) as session:
            run = trigger_task(session, task.id).id
        carry_out(context, leases, run, worker="tests")
        deliver_all(context)
        (heard,) = server.asked

    def judge(*asked):
        return [*wrongly_told(context, asked, secrets, rows(context, RUNS))]

    return heard, judge


def test_what_was_told_once_or_again_is_right(judged):
    heard, judge = judged
    assert judge(heard) == []
    assert judge(heard, heard, dataclasses.replace(heard, body=b"")) == []


def test_what_was_not_heard_or_is_not_signed_is_wrong(judged):
    heard, judge = judged
    assert "untold" in judge()[0]
    assert (
        "signature"
        in judge(dataclasses.replace(heard, body=heard.body.replace(b"succeeded", b"ucceededs")))[0]
    )


def test_a_run_that_nobody_was_told_of_or_that_is_none_is_wrong(judged, context):
    heard, judge = judged
    execute(context, "DELETE FROM deliveries")
    assert "announced 0 times" in judge(heard)[0]
    execute(context, "DELETE FROM messages")
    execute(context, "DELETE FROM conversations")
    execute(context, "DELETE FROM runs")
    assert "none of its own" in judge(heard)[0]
