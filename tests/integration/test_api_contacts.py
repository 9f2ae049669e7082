"""Contacts over the API: as the SDKs ask for them, and whatever else is sent."""

from __future__ import annotations

import csv
import io
import json
import threading

import pytest

from core.contacts import delete_contact
from tests.factories import a_contact, a_conversation, a_task, execute, one
from tests.integration.test_api_hostile import VALUES, harmless
from tests.integration.test_races import WAITING

API = "/api/v1"


def created(client, **body):
    answer = client.post(f"{API}/contact/create", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def fetched(client, contact_id):
    return client.get(f"{API}/contact/{contact_id}/fetch").json()


def items(client, path, **params):
    answer = client.get(f"{API}/contact/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def test_a_contact_is_created_fetched_updated_and_deleted(client):
    contact_id = created(
        client,
        fingerprint="ada",
        name="Ada",
        email="ada@example.com",
        phone="(415) 555-0132",
        nick="Countess",
        preferences="Tea.",
        verifiedAt=1_767_225_600_000.0,
        meta={"app": "x"},
        unknown={"key": 1},
    )
    contact = fetched(client, contact_id)
    assert isinstance(contact.pop("createdAt"), int)
    assert isinstance(contact.pop("updatedAt"), int)
    assert contact == {
        "id": contact_id,
        "fingerprint": "ada",
        "name": "Ada",
        "email": "ada@example.com",
        "phone": "+14155550132",
        "nick": "Countess",
        "preferences": "Tea.",
        "verifiedAt": 1_767_225_600_000,
        "meta": {"app": "x"},
    }
    change = {"email": None, "verifiedAt": None, "meta": {"more": True}}
    assert client.post(f"{API}/contact/{contact_id}/update", json=change).json() == {"id": contact_id}
    contact = fetched(client, contact_id)
    assert contact.keys().isdisjoint({"email", "verifiedAt"})
    assert (contact["name"], contact["meta"]) == ("Ada", {"app": "x", "more": True})
    assert client.post(f"{API}/contact/{contact_id}/delete").json() == {"id": contact_id}
    assert client.get(f"{API}/contact/{contact_id}/fetch").status_code == 404


@pytest.mark.parametrize("verb", ["create", "ensure"])
def test_a_taken_fingerprint_answers_the_contact_that_has_it(client, verb):
    first = created(client, fingerprint="ada", name="Ada")
    again = client.post(f"{API}/contact/{verb}", json={"fingerprint": "ada", "name": "Grace"})
    assert again.json() == {"id": first}
    assert fetched(client, first)["name"] == "Ada"


def test_a_contact_always_has_a_fingerprint(client):
    for body in ({}, {"fingerprint": None}):
        assert fetched(client, created(client, **body))["fingerprint"]
    contact_id = created(client, fingerprint="ada")
    client.post(f"{API}/contact/{contact_id}/update", json={"fingerprint": None})
    assert fetched(client, contact_id)["fingerprint"] not in {"ada", None}


def test_another_contacts_fingerprint_is_a_conflict(client):
    created(client, fingerprint="ada")
    other = created(client, fingerprint="grace")
    answer = client.post(f"{API}/contact/{other}/update", json={"fingerprint": "ada"})
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")


def test_contacts_are_listed_newest_first_filtered_by_meta_and_streamed(client):
    ids = [created(client, name=f"c{n}", meta={"odd": bool(n % 2)}) for n in range(5)]
    assert [item["id"] for item in items(client, "list")] == ids[::-1]
    assert [item["id"] for item in items(client, "list", **{"meta.odd": "true"})] == [ids[3], ids[1]]
    stream = client.get(f"{API}/contact/list", headers={"Accept": "application/jsonl"})
    assert [json.loads(line)["data"]["id"] for line in stream.text.splitlines()] == ids[::-1]


def test_contacts_are_exported_as_json_as_lines_and_as_csv(client):
    created(client, name="=1+1", email="ada@example.com")
    assert items(client, "export")[0]["name"] == "=1+1"
    lines = client.get(f"{API}/contact/export", headers={"Accept": "application/jsonl"}).text
    assert json.loads(lines)["data"]["email"] == "ada@example.com"
    table = client.get(f"{API}/contact/export", headers={"Accept": "text/csv"})
    (row,) = csv.DictReader(io.StringIO(table.text))
    assert (row["name"], row["email"]) == ("'=1+1", "ada@example.com")
    assert client.get(f"{API}/contact/list", headers={"Accept": "text/csv"}).status_code == 400


def test_what_a_contact_is_part_of_is_listed(client, context, account):
    contact, other = a_contact(context, account), a_contact(context, account)
    task = a_task(context, account, contact_id=contact.id)
    conversation = a_conversation(context, account)
    execute(
        context, "UPDATE conversations SET contact_id = :c WHERE id = :id", c=contact.id, id=conversation.id
    )
    assert [item["id"] for item in items(client, f"{contact.id}/conversation/list")] == [str(conversation.id)]
    (listed,) = items(client, f"{contact.id}/task/list")
    assert (listed["id"], listed["contactId"], listed["status"]) == (str(task.id), str(contact.id), "idle")
    for noun in ("conversation", "task", "rating", "space", "secret", "memory"):
        assert items(client, f"{other.id}/{noun}/list") == []


def test_a_deleted_contact_leaves_its_conversations_and_tasks(client, context, account):
    contact = a_contact(context, account)
    task = a_task(context, account, contact_id=contact.id)
    conversation = a_conversation(context, account)
    execute(
        context, "UPDATE conversations SET contact_id = :c WHERE id = :id", c=contact.id, id=conversation.id
    )
    assert client.post(f"{API}/contact/{contact.id}/delete", json={}).status_code == 200
    assert "contactId" not in client.get(f"{API}/task/{task.id}/fetch").json()
    assert one(context, "SELECT count(*) FROM conversations WHERE contact_id IS NULL") == 1


@pytest.mark.parametrize(
    "field",
    ["fingerprint", "name", "description", "email", "phone", "nick", "preferences", "verifiedAt", "meta"],
)
def test_any_value_in_any_field_of_a_contact_is_stored_or_refused(client, context, account, field):
    contact = a_contact(context, account)
    for value in [*VALUES, "\x00", "a@b.c", "+1", "2026-01-01", {"_a": 1}, {"$update": 7}, {"$update": {}}]:
        for verb in ("create", "ensure", f"{contact.id}/update"):
            harmless(client.post(f"{API}/contact/{verb}", json={field: value}))
    harmless(client.get(f"{API}/contact/list"))


def test_a_link_to_a_contact_that_goes_meanwhile_is_a_404(client, context, account, eventually):
    contact = a_contact(context, account)
    answers = []
    body = {"name": "x", "contactId": str(contact.id)}
    create = threading.Thread(target=lambda: answers.append(client.post(f"{API}/task/create", json=body)))
    with context.transaction(account) as session:
        delete_contact(session, contact.id)
        create.start()
        eventually(lambda: one(context, WAITING) == 1)
    create.join(10)
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "NOT_FOUND")]
