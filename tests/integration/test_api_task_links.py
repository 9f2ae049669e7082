"""Tasks and whom they speak with: contact, meta, limits of calls, and the export."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import timedelta

import pytest

from core.firing import fire
from core.tasks import delete_task
from core.waiting import promote
from tests.factories import a_bot, a_contact, a_due_task, a_task, an_account, execute, make_due, one, rows
from tests.integration.test_api_hostile import VALUES, harmless

API = "/api/v1"


def created(client, **body):
    answer = client.post(f"{API}/task/create", json={"name": "x", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def fetched(client, task_id):
    return client.get(f"{API}/task/{task_id}/fetch").json()


def listed(client, **params):
    answer = client.get(f"{API}/task/list", params=params)
    assert answer.status_code == 200, answer.text
    return {task["id"] for task in answer.json()["items"]}


def test_a_task_has_a_contact_meta_and_a_limit_of_calls(client, context, account):
    contact = str(a_contact(context, account).id)
    task_id = created(client, contactId=contact, maxCalls=7, meta={"app": "x", "n": 1})
    task = fetched(client, task_id)
    assert (task["contactId"], task["maxCalls"], task["meta"]) == (contact, 7, {"app": "x", "n": 1})
    client.post(f"{API}/task/{task_id}/update", json={"meta": {"n": 2}, "name": "y"})
    task = fetched(client, task_id)
    assert (task["contactId"], task["maxCalls"], task["meta"]) == (contact, 7, {"app": "x", "n": 2})
    client.post(f"{API}/task/{task_id}/update", json={"contactId": None, "maxCalls": None, "meta": None})
    assert fetched(client, task_id).keys().isdisjoint({"contactId", "maxCalls", "meta"})


@pytest.mark.parametrize("calls", [-1, 100_001, 1.5, True, "7", []])
def test_a_limit_of_calls_is_a_whole_number_up_to_100000(client, calls):
    assert client.post(f"{API}/task/create", json={"name": "x", "maxCalls": calls}).status_code == 400


def test_another_accounts_contact_cannot_be_spoken_with(client, context, world):
    theirs = str(a_contact(context, an_account(context, "Grace")).id)
    for path in ("create", f"{world.taskId}/update"):
        for wrong, status in ((theirs, 403), (str(uuid.uuid4()), 404), ("x", 404), ("", 404)):
            answer = client.post(f"{API}/task/{path}", json={"name": "x", "contactId": wrong})
            assert answer.status_code == status


def test_tasks_are_filtered_by_contact_and_meta(client, context, account):
    ada, grace = str(a_contact(context, account).id), str(a_contact(context, account).id)
    of_ada = created(client, contactId=ada, meta={"app": "x"})
    of_grace = created(client, contactId=grace, meta={"app": "y"})
    created(client)
    assert listed(client, contactId=ada) == {of_ada}
    assert listed(client, contactId=f"{ada},{grace}") == {of_ada, of_grace}
    assert listed(client, **{"meta.app": "y"}) == {of_grace}
    assert listed(client, contactId=ada, **{"meta.app": "y"}) == set()


def test_a_spawned_conversation_has_the_contact_and_the_name_of_its_task(client, context, account):
    contact = a_contact(context, account).id
    task = a_due_task(context, account, name="Morning", contact_id=contact)
    fire(context)
    client.post(f"{API}/task/{created(client, name='Now', contactId=str(contact))}/trigger")
    stored = rows(context, "SELECT name, contact_id FROM conversations ORDER BY name")
    assert [(row["name"], row["contact_id"]) for row in stored] == [("Morning", contact), ("Now", contact)]
    mine = client.get(f"{API}/contact/{contact}/conversation/list").json()["items"]
    assert {item["taskId"] for item in mine} > {str(task.id)}


def test_a_conversation_that_a_waiting_run_opens_has_the_contact_as_well(context, account):
    contact = a_contact(context, account).id
    task = a_due_task(
        context,
        account,
        contact_id=contact,
        overlap="queue",
        conversation_mode="reuse",
        session_duration=timedelta(hours=1),
    )
    fire(context)
    make_due(context, task.id)
    fire(context)
    assert one(context, "SELECT count(*) FROM runs WHERE state = 'waiting'") == 1
    execute(context, "UPDATE conversations SET created_at = now() - interval '1 day'")
    execute(context, "UPDATE runs SET state = 'cancelled', finished_at = now() WHERE state = 'pending'")
    assert promote(context) == 1
    stored = rows(context, "SELECT contact_id FROM conversations")
    assert [row["contact_id"] for row in stored] == [contact, contact]


def test_a_deleted_task_forgets_its_contact_and_its_meta(context, account):
    task = a_task(context, account, contact_id=a_contact(context, account).id, meta={"a": 1})
    with context.transaction(account) as session:
        delete_task(session, task.id)
    (left,) = rows(context, "SELECT contact_id, meta FROM tasks WHERE id = :id", id=task.id)
    assert (left["contact_id"], left["meta"]) == (None, {})


def test_tasks_are_exported_as_json_as_lines_and_as_csv(client, context, account):
    bot = a_bot(context, account)
    task = a_task(context, account, name="Morning", bot_id=bot.id, meta={"app": "x"})
    a_task(context, account, name="Evening")
    path = f"{API}/task/export"
    asked = {"params": {"meta.app": "x"}}
    (item,) = client.get(path, **asked).json()["items"]
    assert (item["id"], item["botId"], item["status"]) == (str(task.id), str(bot.id), "idle")
    lines = client.get(path, headers={"Accept": "application/jsonl"}).text.splitlines()
    assert [json.loads(line)["data"]["name"] for line in lines] == ["Evening", "Morning"]
    table = client.get(path, headers={"Accept": "text/csv"}, **asked)
    (row,) = csv.DictReader(io.StringIO(table.text))
    assert (row["name"], json.loads(row["meta"])) == ("Morning", {"app": "x"})


@pytest.mark.parametrize("field", ["contactId", "maxCalls", "meta"])
def test_any_value_in_these_fields_of_a_task_is_stored_or_refused(client, world, field):
    for value in [*VALUES, "\x00", {"_a": 1}, {"$update": 7}, {"$update": {"a": 1}}]:
        for path in ("create", f"{world.taskId}/update"):
            harmless(client.post(f"{API}/task/{path}", json={"name": "x", field: value}))
    harmless(client.get(f"{API}/task/list"))
