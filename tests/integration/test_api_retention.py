"""Retention over HTTP: rules, simulations and holds, in the manner of the dialect."""

from __future__ import annotations

import uuid

import pytest

from core.carrying import carry_on
from tests.deletions import conversations_left, old_talks
from tests.factories import a_bot, a_hold, a_task, one, rows

API = "/api/v1/retention"


@pytest.fixture(autouse=True)
def _unlimited(context, monkeypatch):
    monkeypatch.setattr(context.settings, "rate_bulk", None)


def ok(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_rule_is_made_shown_changed_and_taken_away(context, account, client):
    bot = a_bot(context, account)
    body = {"botId": str(bot.id), "anonymiseAfter": "30d", "deleteAfter": "1y"}
    made = ok(client.post(f"{API}/rule/create", json=body))["id"]
    shown = ok(client.get(f"{API}/rule/{made}/fetch"))
    assert shown.items() >= {**body, "id": made, "what": "conversations"}.items()
    assert shown["nextRunAt"] - shown["createdAt"] == 86_400_000
    assert shown.keys() & {"lastRunAt", "taskId", "source"} == set()
    ok(client.post(f"{API}/rule/{made}/update", json={"anonymiseAfter": None, "what": "messages"}))
    (listed,) = ok(client.get(f"{API}/rule/list"))["items"]
    assert (listed["what"], listed.get("anonymiseAfter"), listed["deleteAfter"]) == ("messages", None, "1y")
    ok(client.post(f"{API}/rule/{made}/update", json={"what": None}))
    ok(client.post(f"{API}/rule/{made}/delete", json={}))
    assert client.get(f"{API}/rule/{made}/fetch").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"deleteAfter": "30 days"},
        {"deleteAfter": 30},
        {"anonymiseAfter": "2w", "deleteAfter": "14d"},
        {"what": "files", "deleteAfter": "30d"},
        {"source": "", "deleteAfter": "30d"},
        {"bot_id": "x", "deleteAfter": "30d"},  # not understood, it would be a rule of the whole account
    ],
)
def test_a_rule_that_cannot_work_is_400(client, context, body):
    for path in ("rule/create", "simulate"):
        answer = client.post(f"{API}/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert rows(context, "SELECT 1 FROM retention_rules") == []


def test_a_second_rule_of_a_scope_is_409(client):
    for status in (200, 409):
        answer = client.post(f"{API}/rule/create", json={"source": "api", "deleteAfter": "30d"})
        assert answer.status_code == status


def test_a_change_that_leaves_nothing_to_do_is_400_and_changes_nothing(client):
    made = ok(client.post(f"{API}/rule/create", json={"deleteAfter": "30d"}))["id"]
    assert client.post(f"{API}/rule/{made}/update", json={"deleteAfter": None}).status_code == 400
    assert ok(client.get(f"{API}/rule/{made}/fetch"))["deleteAfter"] == "30d"


def test_a_simulation_tells_of_a_stored_rule_and_of_one_that_is_only_described(context, account, client):
    old_talks(context, account, 40, 2, 3)
    held = old_talks(context, account, 70, 1, 4)
    a_hold(context, account, conversation_id=held[0])
    rule = {"anonymiseAfter": "30d", "deleteAfter": "60d"}
    described = ok(client.post(f"{API}/simulate", json=rule))
    made = ok(client.post(f"{API}/rule/create", json=rule))["id"]
    stored = ok(client.post(f"{API}/simulate", json={"ruleId": made}))
    assert described == stored
    today = stored["today"]
    assert today["anonymise"].items() >= {"conversations": 2, "messages": 6}.items()
    assert today["delete"] == {
        "conversations": 0,
        "messages": 0,
        "held": {"conversations": 1, "messages": 4},
    }
    assert stored["within30Days"]["delete"]["conversations"] == 2
    assert client.post(f"{API}/simulate", json={"ruleId": made, **rule}).status_code == 400
    assert rows(context, "SELECT 1 FROM jobs") == []


def test_a_rule_is_run_at_once_and_its_jobs_name_it(context, account, client):
    old_talks(context, account, 70, 2, 1)
    made = ok(client.post(f"{API}/rule/create", json={"deleteAfter": "60d"}))["id"]
    started = ok(client.post(f"{API}/rule/{made}/run", json={}, headers={"Idempotency-Key": "r"}))
    again = client.post(f"{API}/rule/{made}/run", json={}, headers={"Idempotency-Key": "r"})
    assert (again.json(), "idempotency-replayed" in again.headers) == (started, True)
    assert [job["kind"] for job in started["jobs"]] == ["delete"]
    job = started["jobs"][0]["id"]
    assert ok(client.post(f"{API}/rule/{made}/run", json={}))["jobs"] == [], "it is under way"
    assert carry_on(context, uuid.UUID(job)) == "completed"
    told = ok(client.get(f"/api/v1/job/{job}/fetch"))
    assert (told["ruleId"], told["what"], told["done"]) == (made, "conversations", 2)
    assert told["filter"].keys() == {"idleBefore"}
    receipt = ok(client.get(f"/api/v1/job/{job}/receipt"))
    assert (receipt["actor"], receipt["conversations"], receipt["verified"]) == (f"retention:{made}", 2, True)
    assert conversations_left(context, account) == set()


def test_a_hold_is_placed_listed_and_released_and_the_audit_tells(context, account, client):
    task = a_task(context, account)
    body = {"taskId": str(task.id), "reason": "A matter."}
    made = ok(client.post(f"{API}/hold/create", json=body))["id"]
    (shown,) = ok(client.get(f"{API}/hold/list"))["items"]
    assert shown.items() >= {**body, "id": made}.items()
    assert shown["placedBy"].startswith("token:")
    assert ok(client.post(f"{API}/hold/create", json={"all": True}))["id"] != made
    newest = ok(client.get(f"{API}/hold/list"))["items"][0]
    assert (newest["all"], newest.get("reason")) == (True, None)
    ok(client.post(f"{API}/hold/{made}/delete", json={}))
    actions = [event["action"] for event in ok(client.get("/api/v1/audit/list"))["items"]]
    assert actions == ["hold.release", "hold.place", "hold.place"]
    assert one(context, "SELECT count(*) FROM legal_holds") == 1


@pytest.mark.parametrize("body", [{}, {"all": False}, {"all": True, "botId": "x"}, {"reason": "x"}])
def test_a_hold_on_nothing_or_on_two_things_is_400(client, body):
    assert client.post(f"{API}/hold/create", json=body).status_code == 400


def test_a_source_and_a_reason_are_kept_with_no_idempotency_key(context, client):
    ok(
        client.post(
            f"{API}/rule/create",
            json={"source": "xyloquartz", "deleteAfter": "30d"},
            headers={"Idempotency-Key": "k"},
        )
    )
    assert "xyloquartz" not in str(rows(context, "SELECT * FROM idempotency_keys"))
