"""Bulk deletions through the API: previewed, confirmed, watched, and told of once they have ended."""

from __future__ import annotations

import uuid

import pytest

from core.carrying import carry_on
from tests.deletions import left, some_talks
from tests.factories import a_task, rows

API = "/api/v1/job"


def posted(client, path, body=None, **headers):
    answer = client.post(f"{API}{path}", json=body or {}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"message", "code"}


@pytest.fixture
def wanted(context, account):
    task = a_task(context, account)
    some_talks(context, account, 2, 6, task_id=task.id)
    some_talks(context, account, 1, 3)
    return {
        "what": "messages",
        "filter": {"taskId": str(task.id), "before": 4_000_000_000_000},
        "rate": "500/s",
    }


def test_a_deletion_is_previewed_confirmed_and_told_of(client, context, account, wanted):
    preview = posted(client, "/preview", wanted)
    assert (preview["count"], preview["conversations"], len(preview["sample"])) == (12, 2, 10)
    assert preview["rate"] == "500/s"
    made = posted(client, "/create", {"kind": "delete", **wanted})
    assert made["requiresConfirmation"]
    assert made["confirmation"] == preview["confirmation"]
    job = made["id"]
    told = client.get(f"{API}/{job}/fetch").json()
    assert (told["state"], told["what"], told["rate"], told["total"]) == ("paused", "messages", "500/s", 12)
    assert told["filter"] == {"taskId": [wanted["filter"]["taskId"]], "before": 4_000_000_000_000}
    assert told["requiresConfirmation"]
    refused(client.get(f"{API}/{job}/receipt"), 409)
    refused(client.post(f"{API}/{job}/resume", json={}), 409)
    refused(client.post(f"{API}/{job}/confirm", json={"confirmation": "x"}), 409)
    assert left(context, account) == 15
    assert posted(client, f"/{job}/confirm", {"confirmation": made["confirmation"]}) == {"id": job}
    assert carry_on(context, uuid.UUID(job)) == "completed"
    told = client.get(f"{API}/{job}/fetch").json()
    assert (told["state"], told["done"], told["left"]) == ("completed", 12, 0)
    assert "requiresConfirmation" not in told
    receipt = client.get(f"{API}/{job}/receipt").json()
    assert (receipt["messages"], receipt["ids"], receipt["verified"]) == (12, 12, True)
    assert receipt["actor"].startswith("token:")
    assert len(receipt["sha256"]) == 64
    assert left(context, account) == 3
    listed = client.get("/api/v1/erasure/list").json()["items"]
    assert [(one["kind"], one["jobId"], one["messages"]) for one in listed] == [("messages", job, 12)]


def test_a_confirmed_deletion_begins_at_once_and_is_made_once(client, context, account, wanted):
    confirm = posted(client, "/preview", wanted)["confirmation"]
    body = {"kind": "delete", "confirm": confirm, **wanted}
    once = {"Idempotency-Key": "a-key"}
    made = posted(client, "/create", body, **once)
    assert "confirmation" not in made
    assert posted(client, "/create", body, **once) == made
    assert carry_on(context, uuid.UUID(made["id"])) == "completed"
    refused(client.post(f"{API}/create", json=body), 409)


def test_an_unconfirmed_deletion_is_told_again_with_its_confirmation(client, wanted):
    once = {"Idempotency-Key": "a-key"}
    made = posted(client, "/create", {"kind": "delete", **wanted}, **once)
    assert posted(client, "/create", {"kind": "delete", **wanted}, **once) == made


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "delete"}, 400),
        ({"kind": "delete", "what": "messages", "filter": {}}, 400),
        ({"kind": "delete", "what": "tasks", "filter": {"all": True}}, 400),
        ({"kind": "delete", "what": "messages", "filter": {"all": True}, "botId": "x"}, 400),
        ({"kind": "delete", "what": "messages", "filter": {"all": True}, "rate": "1000000/s"}, 400),
        ({"kind": "delete", "what": "messages", "filter": {"before": "soon"}}, 400),
        ({"kind": "delete", "what": "messages", "filter": {"after": 2, "before": 1}}, 400),
        ({"kind": "delete", "what": "messages", "filter": {"status": "active"}}, 400),
        ({"kind": "delete", "what": "conversations", "filter": {"type": "user"}}, 400),
        ({"kind": "delete", "what": "messages", "filter": {"botId": str(uuid.uuid4())}}, 404),
        ({"kind": "delete", "what": "messages", "filter": {"all": True}, "confirm": "x"}, 409),
        ({"kind": "annotate", "all": True, "rate": "1/s"}, 400),
        # What is not understood might be what was to be kept.
        ({"kind": "delete", "what": "messages", "filter": {"type": "user", "befor": 1}}, 400),
        ({"kind": "delete", "what": "messages", "filter": {"type": "user", "before": ""}}, 400),
        ({"kind": "delete", "what": "messages", "filter": {"type": "user", "after": ""}}, 400),
        ({"kind": "delete", "what": "messages", "filter": {"type": "user"}, "before": 1}, 400),
        ({"kind": "anonymise", "what": "messages", "filter": {"type": "user", "task_id": "x"}}, 400),
        ({"kind": "export", "filter": {"status": "active", "botID": "x"}}, 400),
    ],
)
def test_what_cannot_be_deleted_is_refused(client, context, body, status):
    refused(client.post(f"{API}/create", json=body), status)
    assert rows(context, "SELECT 1 FROM jobs") == []


def test_another_accounts_things_are_out_of_reach(client, context, account, foreign_task):
    body = {"what": "messages", "filter": {"taskId": foreign_task}}
    refused(client.post(f"{API}/preview", json=body), 403)
    refused(client.post(f"{API}/create", json={"kind": "delete", **body}), 403)


@pytest.fixture
def foreign_task(context):
    from tests.factories import an_account

    return str(a_task(context, an_account(context, "Grace")).id)


def test_only_a_deletion_is_confirmed_and_has_a_receipt(client):
    job = posted(client, "/create", {"kind": "annotate", "all": True})["id"]
    refused(client.post(f"{API}/{job}/confirm", json={"confirmation": "x"}), 409)
    refused(client.get(f"{API}/{job}/receipt"), 409)
