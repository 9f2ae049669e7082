"""A task's runs as they happen, for whoever follows them."""

from __future__ import annotations

import asyncio
import json

from api.chatbotkit.task_events import _Subscriber
from core.accounts import Caller
from core.tasks import trigger_task
from core.turns import carry_out
from models import new_id
from tests.factories import a_task


def run_once(context, account, leases, task):
    with context.transaction(account) as session:
        run = trigger_task(session, task.id)
    carry_out(context, leases, run.id, worker="here")
    return run


def a_subscriber(context, account):
    return _Subscriber(context, Caller(account, new_id(), frozenset({"write"})))


def test_history_comes_first_and_then_what_happens_once_each(context, account, leases):
    task = a_task(context, account)
    first = run_once(context, account, leases, task)
    subscriber = a_subscriber(context, account)
    told = [(e.kind, e.data["action"]["name"]) for e in subscriber.begin(str(task.id), 100)]
    assert sorted(told) == [
        ("operationBegin", "attempt.1"),
        ("operationBegin", "model.1"),
        ("operationEnd", "attempt.1"),
        ("operationEnd", "model.1"),
    ]
    assert subscriber.look() == []
    second = run_once(context, account, leases, task)
    told = subscriber.look()
    assert {event.data["action"]["id"] for event in told} == {str(second.id)} != {str(first.id)}
    assert len(told) == 4
    assert subscriber.look() == []


def test_without_history_only_what_comes_is_told(context, account, leases):
    task = a_task(context, account)
    run_once(context, account, leases, task)
    subscriber = a_subscriber(context, account)
    assert subscriber.begin(str(task.id), 0) == []
    assert subscriber.look() == []


def test_lines_are_of_the_contracts_shape(context, account, leases):
    task = a_task(context, account)
    run_once(context, account, leases, task)
    subscriber = a_subscriber(context, account)
    events = subscriber.begin(str(task.id), 2)

    async def first_lines():
        lines = subscriber.lines(events)
        return [json.loads(await anext(lines)) for _ in range(2)]

    for line in asyncio.run(first_lines()):
        assert line.keys() == {"type", "data", "createdAt"}
        assert isinstance(line["createdAt"], int)
        assert line["data"].keys() == {"id", "action"}


def test_how_much_history_is_bounded(client, context, account):
    task = a_task(context, account)
    for length in (-1, 1001, "x", True):
        answer = client.post(f"/api/v1/task/{task.id}/subscribe", json={"historyLength": length})
        assert answer.status_code == 400
