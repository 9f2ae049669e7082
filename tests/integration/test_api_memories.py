"""Memories over the API: made, listed, found, changed and deleted by people."""

from __future__ import annotations

import csv
import io
import json
import uuid

import pytest

from tests.factories import a_bot, a_contact, a_memory, an_account, execute, one, rows

API = "/api/v1/memory"
TEA = {"text": "Prefers tea without milk."}


def created(client, **fields):
    answer = client.post(f"{API}/create", json={**TEA, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def fetched(client, memory):
    return client.get(f"{API}/{memory}/fetch").json()


def found(client, **body):
    answer = client.post(f"{API}/search", json=body)
    assert answer.status_code == 200, answer.text
    return [item["text"] for item in answer.json()["items"]]


def test_a_memory_is_made_and_fetched_as_it_was_given(client, context, account):
    bot, contact = str(a_bot(context, account).id), str(a_contact(context, account).id)
    given = {
        "botId": bot,
        "contactId": contact,
        "name": "Tea",
        "description": "Of Grace",
        "meta": {"by": "me"},
    }
    memory = fetched(client, created(client, **given, expiresAt=4_102_444_800_000))
    assert {name: memory[name] for name in given} == given
    assert (memory["text"], memory["expiresAt"]) == (TEA["text"], 4_102_444_800_000)
    assert memory["createdAt"] == memory["updatedAt"]
    assert fetched(client, created(client)).keys() == {"id", "text", "createdAt", "updatedAt"}


def test_a_memory_is_changed_field_by_field(client, context, account):
    bot = str(a_bot(context, account).id)
    memory = created(client, botId=bot, name="Tea", meta={"a": 1})
    client.post(f"{API}/{memory}/update", json={"text": "With milk.", "meta": {"b": 2}, "name": None})
    now = fetched(client, memory)
    assert (now["text"], now["botId"], now["meta"]) == ("With milk.", bot, {"a": 1, "b": 2})
    assert "name" not in now
    client.post(f"{API}/{memory}/update", json={"botId": None, "meta": {"$update": {"c": 3}}})
    assert "botId" not in fetched(client, memory)
    assert fetched(client, memory)["meta"] == {"a": 1, "b": 2, "c": 3}
    assert found(client, search="milk") == ["With milk."]
    client.post(f"{API}/{memory}/update", json={"meta": None})
    assert "meta" not in fetched(client, memory)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": None},
        {"text": "x" * 2001},
        {"text": "a\x00b"},
        {"text": 7},
        {"text": "x", "expiresAt": 1},
        {"text": "x", "expiresAt": "soon"},
        {"text": "x", "meta": {"_own": 1}},
        {"text": "x", "name": "n" * 2000},
    ],
)
def test_what_is_no_memory_is_refused(client, context, body):
    assert client.post(f"{API}/create", json=body).status_code == 400
    assert one(context, "SELECT count(*) FROM memories") == 0


def test_whom_it_is_of_must_be_the_accounts_own(client, context, account):
    stranger = an_account(context, "Grace")
    foreign = {"botId": str(a_bot(context, stranger).id), "contactId": str(a_contact(context, stranger).id)}
    mine = created(client)
    for name, theirs in foreign.items():
        for body, status in (({name: theirs}, 403), ({name: str(uuid.uuid4())}, 404), ({name: "x"}, 404)):
            assert client.post(f"{API}/create", json={**TEA, **body}).status_code == status
            assert client.post(f"{API}/{mine}/update", json=body).status_code == status
            assert client.post(f"{API}/search", json={"search": "x", **body}).status_code == status
    assert one(context, "SELECT count(*) FROM memories") == 1


def test_memories_are_listed_searched_and_exported(client, context, account):
    contact, bot = a_contact(context, account).id, a_bot(context, account).id
    other = a_bot(context, account, name="other").id
    ids = [
        str(
            a_memory(
                context, account, contact_id=contact, bot_id=bot, text="Tea, green tea", meta={"k": "v"}
            ).id
        ),
        str(a_memory(context, account, bot_id=bot, text="=Coffee and tea").id),
        str(a_memory(context, account, bot_id=other, text="Tea").id),
    ]
    listed = client.get(f"{API}/list", params={"order": "asc"}).json()["items"]
    assert [item["id"] for item in listed] == ids
    assert [i["id"] for i in client.get(f"{API}/list", params={"meta.k": "v"}).json()["items"]] == ids[:1]
    of_contact = client.get(f"/api/v1/contact/{contact}/memory/list").json()["items"]
    assert [item["id"] for item in of_contact] == ids[:1]
    assert len(found(client, search="what tea?")) == 3
    assert found(client, search="green", botId=str(bot)) == ["Tea, green tea"]
    assert found(client, search="coffee", contactId=str(contact)) == []
    assert found(client, search="  ") == []
    of_bot = client.post(f"/api/v1/bot/{other}/memory/search", json={"search": "tea"}).json()
    assert of_bot == {"items": [{"id": ids[2], "text": "Tea"}]}
    table = client.get(f"{API}/export", headers={"Accept": "text/csv"}).text
    assert "'=Coffee and tea" in [row["text"] for row in csv.DictReader(io.StringIO(table))]
    stream = client.get(f"{API}/list", headers={"Accept": "application/jsonl"}).text
    assert {json.loads(line)["data"]["id"] for line in stream.splitlines()} == set(ids)


def test_a_search_sent_again_under_its_key_is_answered_again_with_its_words(client, context, account):
    a_memory(context, account, text="Tea")
    for path in (f"{API}/search",):
        first = client.post(path, json={"search": "tea"}, headers={"Idempotency-Key": "k"})
        again = client.post(path, json={"search": "tea"}, headers={"Idempotency-Key": "k"})
        assert first.json() == again.json() != {"items": []}
    assert "Tea" not in str(rows(context, "SELECT * FROM idempotency_keys"))


def test_a_deleted_memory_leaves_a_receipt_and_nothing_else(client, context):
    memory = created(client, text="geheim4711")
    assert client.post(f"{API}/{memory}/delete", json={}).json() == {"id": memory}
    for path in ("fetch", "update", "delete"):
        method = client.get if path == "fetch" else client.post
        assert method(f"{API}/{memory}/{path}").status_code == 404
    (receipt,) = client.get("/api/v1/erasure/list").json()["items"]
    assert (receipt["kind"], receipt["targetId"]) == ("memory", memory)
    assert rows(context, "SELECT * FROM memories") == []


def test_what_is_over_is_not_answered_any_more(client, context):
    memory = created(client, expiresAt=4_102_444_800_000)
    execute(context, "UPDATE memories SET expires_at = now()")
    assert client.get(f"{API}/{memory}/fetch").status_code == 404
    assert client.get(f"{API}/list").json()["items"] == []
    assert found(client, search="tea") == []
