"""Tasks and their executions through the ChatBotKit dialect."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from core.errors import Unavailable
from core.firing import fire
from core.turns import carry_out
from tests.factories import a_due_task, a_pending_run, a_task, abandon, make_due, one, rows

API = "/api/v1"


def created(client, **body):
    answer = client.post(f"{API}/task/create", json={"name": "Morning", "description": "Hello.", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def fetched(client, task_id):
    answer = client.get(f"{API}/task/{task_id}/fetch")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_task_is_created_fetched_updated_and_deleted(client):
    task_id = created(client, schedule="0 9 * * *", timezone="Europe/Berlin", maxTime=900_000.0)
    task = fetched(client, task_id)
    assert (task["schedule"], task["timezone"], task["maxTime"]) == ("0 9 * * *", "Europe/Berlin", 900_000)
    assert (task["status"], task["outcome"]) == ("idle", "pending")
    assert isinstance(task["nextRunAt"], int)
    assert "lastRunAt" not in task
    answer = client.post(f"{API}/task/{task_id}/update", json={"name": "Evening", "maxTime": None})
    assert answer.json() == {"id": task_id}
    updated = fetched(client, task_id)
    assert updated["name"] == "Evening"
    assert "maxTime" not in updated
    assert updated["nextRunAt"] == task["nextRunAt"]
    assert client.post(f"{API}/task/{task_id}/delete").json() == {"id": task_id}
    assert client.get(f"{API}/task/{task_id}/fetch").status_code == 404


def test_the_same_routes_answer_below_v1(client):
    task_id = created(client)
    assert client.get(f"/v1/task/{task_id}/fetch").json() == fetched(client, task_id)


def test_unknown_keys_are_ignored(client):
    assert fetched(client, created(client, fromTheFuture={"a": 1}))["name"] == "Morning"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": 5}, "name: Input should be a valid string"),
        ({"maxTime": True}, "maxTime: Value error, must be a whole number"),
        ({"maxTime": "5"}, "maxTime: Value error, must be a whole number"),
        ({"maxTime": 1.5}, "maxTime: Value error, must be a whole number"),
        ({"maxTime": 86_400_001}, "max_time_ms must be a whole number from 0 to 86400000."),
        ({"schedule": "whenever"}, None),
        ({"timezone": "Mars/Olympus"}, None),
        ({"action": "shout"}, "The action must be one of complete, receive, send."),
        ({"description": "", "name": None}, None),
    ],
)
def test_a_task_that_cannot_work_is_refused_with_a_sentence(client, context, body, message):
    answer = client.post(f"{API}/task/create", json={"name": "Morning", **body})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert message is None or answer.json()["message"] == message
    assert one(context, "SELECT count(*) FROM tasks") == 0


def test_several_faults_are_joined_and_nothing_sent_is_echoed(client):
    answer = client.post(f"{API}/task/create", json={"name": ["geheim"], "schedule": {"x": "geheim"}})
    assert answer.json()["message"] == (
        "name: Input should be a valid string; schedule: Input should be a valid string"
    )


def test_a_trigger_starts_a_run_at_once_and_the_task_is_running(client, context, leases):
    task_id = created(client)
    answer = client.post(f"{API}/task/{task_id}/trigger", json={}).json()
    assert answer["id"] == task_id
    task = fetched(client, task_id)
    assert (task["status"], task["outcome"]) == ("running", "pending")
    assert isinstance(task["lastRunAt"], int)
    again = client.post(f"{API}/task/{task_id}/trigger")
    assert (again.status_code, again.json()["code"]) == (409, "CONFLICT")
    run_id = rows(context, "SELECT id FROM runs")[0]["id"]
    carry_out(context, leases, run_id, worker="w", delivery="d")
    task = fetched(client, task_id)
    assert (task["status"], task["outcome"]) == ("idle", "success")


@pytest.mark.parametrize("name", ["prompt", "description"])
def test_a_trigger_may_say_something_else_and_the_task_keeps_its_own(client, context, name):
    task_id = created(client, description="The task's own.")
    answer = client.post(f"{API}/task/{task_id}/trigger", json={name: "Only this once.", "other": 1})
    assert answer.status_code == 200
    (said,) = rows(context, "SELECT text, type, run_id FROM messages")
    assert (said["text"], said["type"], str(said["run_id"])) == (
        "Only this once.",
        "user",
        answer.json()["runId"],
    )
    assert fetched(client, task_id)["description"] == "The task's own."


@pytest.mark.parametrize("prompt", ["", " \n", 5, ["x"], {}, "x" * 262_145])
def test_a_prompt_that_cannot_be_said_is_refused_and_nothing_runs(client, context, prompt):
    task_id = created(client)
    answer = client.post(f"{API}/task/{task_id}/trigger", json={"prompt": prompt})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    both = client.post(f"{API}/task/{task_id}/trigger", json={"prompt": "a", "description": "b"})
    assert both.status_code == 400
    assert one(context, "SELECT count(*) FROM runs") == 0


def test_a_trigger_without_a_body_or_with_nothing_in_it_says_what_the_task_says(client, context):
    for body in ({}, {"prompt": None}, {"description": None}):
        client.post(f"{API}/task/{created(client, description='Its own.')}/trigger", json=body)
    client.post(f"{API}/task/{created(client, description='Its own.')}/trigger")
    assert [row["text"] for row in rows(context, "SELECT text FROM messages")] == ["Its own."] * 4


def test_cancelling_a_task_ends_its_run_and_is_answered_when_nothing_runs(client):
    task_id = created(client)
    client.post(f"{API}/task/{task_id}/trigger")
    for _ in range(2):
        assert client.post(f"{API}/task/{task_id}/cancel", json={}).json() == {"id": task_id}
    task = fetched(client, task_id)
    assert (task["status"], task["outcome"]) == ("idle", "failure")
    assert client.get(f"{API}/task/{task_id}/execution/list").json()["items"][0]["status"] == "canceled"


def test_a_skipped_occurrence_leaves_the_status_of_the_run_it_gave_way_to(client, context, account):
    run = a_pending_run(context, account, schedule="@every 1h")
    abandon(context, run.id)
    make_due(context, run.task_id)
    fire(context)
    assert one(context, "SELECT count(*) FROM runs WHERE state = 'skipped'") == 1
    assert fetched(client, run.task_id)["status"] == "running"


def test_a_commit_that_fails_is_no_success(client, context):
    def fail(session):
        if session.info.get("account"):
            raise Unavailable("The database did not answer in time; try again.")

    event.listen(Session, "before_commit", fail)
    try:
        answer = client.post(f"{API}/bot/create", json={"name": "x"})
    finally:
        event.remove(Session, "before_commit", fail)
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert one(context, "SELECT count(*) FROM bots WHERE name = 'x'") == 0


def test_pausing_stops_the_clock_and_resuming_starts_it(client):
    task_id = created(client, schedule="hourly")
    assert client.post(f"{API}/task/{task_id}/pause").json() == {"id": task_id}
    task = fetched(client, task_id)
    assert task["paused"] is True
    assert "nextRunAt" not in task
    assert client.post(f"{API}/task/{task_id}/resume").json() == {"id": task_id}
    assert fetched(client, task_id)["nextRunAt"]


def test_a_preview_shows_the_next_instants(client):
    task_id = created(client, schedule="0 9 * * *")
    instants = client.get(f"{API}/task/{task_id}/preview", params={"count": 3}).json()["items"]
    assert [b - a for a, b in pairwise(instants)] == [86_400_000] * 2
    for count in ("0", "1001", "-1", "many", "9" * 5000):
        assert client.get(f"{API}/task/{task_id}/preview", params={"count": count}).status_code == 400


def test_an_execution_names_its_conversation_and_its_end_is_an_iso_string(client, world):
    (execution,) = client.get(f"{API}/task/{world.taskId}/execution/list").json()["items"]
    assert execution["id"] == world.runId
    assert execution["taskId"] == world.taskId
    assert execution["conversationId"] == world.conversationId
    assert (execution["status"], execution["outcome"]) == ("idle", "success")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", execution["completedAt"])
    assert execution["summary"]


def test_executions_are_filtered_by_status(client, world):
    def listed(status):
        path = f"{API}/task/{world.taskId}/execution/list"
        return len(client.get(path, params={"status": status}).json()["items"])

    assert {s: listed(s) for s in ("idle", "running", "canceled", "nonsense")} == {
        "idle": 1,
        "running": 0,
        "canceled": 0,
        "nonsense": 0,
    }


def test_a_missed_occurrence_is_a_run_but_no_execution(client, context, account):
    task = a_due_task(context, account, late=timedelta(hours=30), schedule="@every 24h")
    fire(context)
    assert client.get(f"{API}/task/{task.id}/execution/list").json() == {"items": [], "cursor": ""}
    (run,) = client.get(f"{API}/run/list", params={"taskId": str(task.id)}).json()["items"]
    assert (run["state"], run["reason"]) == ("missed", "outside_window")


def test_an_execution_is_cancelled_through_its_own_task_only(client, context, account):
    run = a_pending_run(context, account)
    other = a_task(context, account)
    assert client.post(f"{API}/task/{other.id}/execution/{run.id}/cancel").status_code == 404
    answer = client.post(f"{API}/task/{run.task_id}/execution/{run.id}/cancel", json={})
    assert answer.json() == {"id": str(run.id), "taskId": str(run.task_id)}


def test_cancelling_what_has_ended_is_a_conflict(client, world):
    for path in (f"run/{world.runId}", f"task/{world.taskId}/execution/{world.runId}"):
        answer = client.post(f"{API}/{path}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")


def test_tasks_are_filtered_by_bot_and_by_status(client, context, account, world):
    busy = str(a_pending_run(context, account, bot_id=world.botId).task_id)

    def listed(**params):
        return {task["id"] for task in client.get(f"{API}/task/list", params=params).json()["items"]}

    assert listed() == {world.taskId, busy}
    assert listed(botId=world.botId) == {busy}
    assert listed(status="running") == {busy}
    assert listed(status="idle") == {world.taskId}
    assert listed(status="canceled") == set()


def test_a_list_of_tasks_asks_as_many_queries_as_one_task(client, context, account):
    client.get(f"{API}/task/list")  # The first use of a token on a day is written down.
    asked = []

    def count(*_):
        asked.append(1)

    event.listen(context.engine, "before_cursor_execute", count)
    try:
        costs = []
        for _ in range(2):
            a_pending_run(context, account)
            asked.clear()
            client.get(f"{API}/task/list")
            costs.append(len(asked))
    finally:
        event.remove(context.engine, "before_cursor_execute", count)
    assert costs[0] == costs[1]
