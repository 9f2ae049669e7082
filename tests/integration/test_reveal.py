"""Values behind tokens are shown to whoever may read them, and every showing is written down."""

from __future__ import annotations

import json

import pytest

from core.session_tokens import create_session_token
from tests.api import a_client, a_secret
from tests.factories import a_conversation, one, rows

MAIL = "grace.hopper@example.com"
PHONE = "+49 30 901820"
SAID = f"Write to {MAIL} or call {PHONE}."


@pytest.fixture
def talk(context, account):
    return str(a_conversation(context, account, privacy=True, name=f"About {MAIL}").id)


@pytest.fixture
def path(talk):
    return f"/api/v1/conversation/{talk}/message"


@pytest.fixture
def reader(context, account):
    return a_client(context, a_secret(context, account, ("read", "write", "pii:read")))


@pytest.fixture
def message(client, path):
    answer = client.post(f"{path}/create", json={"type": "user", "text": SAID, "meta": {"from": MAIL}})
    return answer.json()["id"]


def events(context):
    return rows(context, "SELECT action, actor, target_id, details FROM audit_events ORDER BY id")


def test_a_reveal_answers_the_message_and_is_written_down(reader, context, path, talk, message):
    answer = reader.post(f"{path}/{message}/reveal", json={"reason": f"{MAIL} asked"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == SAID
    assert answer.json()["meta"] == {"from": MAIL}
    (event,) = events(context)
    assert (event["action"], str(event["target_id"])) == ("message.reveal", message)
    assert event["actor"].startswith("token:")
    assert event["details"] == {
        "conversationId": talk,
        "messages": 1,
        "kinds": {"EMAIL_ADDRESS": 2, "PHONE_NUMBER": 1},
    }
    assert MAIL not in json.dumps(events(context), default=str)


def test_a_reveal_of_nothing_is_written_down_too(reader, context, path):
    plain = reader.post(f"{path}/create", json={"type": "user", "text": "Plain."}).json()["id"]
    assert reader.post(f"{path}/{plain}/reveal", json={}).json()["text"] == "Plain."
    assert events(context)[0]["details"]["kinds"] == {}


def test_whoever_may_not_read_reveals_nothing(client, context, account, path, talk, message):
    with context.transaction(account) as session:
        _, secret = create_session_token(session, talk)
    for asker in (client, a_client(context, secret)):
        answer = asker.post(f"{path}/{message}/reveal", json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "NOT_AUTHORIZED")
        assert MAIL not in answer.text
    assert events(context) == []


def test_a_reveal_asked_for_twice_under_a_key_is_two_answers_and_two_rows(reader, context, path, message):
    headers = {"Idempotency-Key": "again"}
    first, second = (reader.post(f"{path}/{message}/reveal", json={}, headers=headers).json() for _ in "12")
    assert first == second
    assert first["text"] == SAID
    assert [event["action"] for event in events(context)] == ["message.reveal"] * 2
    assert MAIL not in str(rows(context, "SELECT * FROM idempotency_keys"))


def test_a_list_and_a_fetch_that_restore_write_a_row_each(reader, context, path, message):
    reader.post(f"{path}/create", json={"type": "user", "text": "Plain."})
    assert reader.get(f"{path}/list").json()["items"][0]["text"] == SAID
    assert reader.get(f"{path}/{message}/fetch").json()["text"] == SAID
    listed, fetched = events(context)
    assert listed["action"] == fetched["action"] == "message.read"
    assert listed["details"]["messages"] == 1
    assert str(fetched["target_id"]) == message


def test_a_list_of_conversations_that_restores_writes_a_row(reader, context, talk):
    (item,) = reader.get("/api/v1/conversation/list").json()["items"]
    assert item["name"] == f"About {MAIL}"
    (event,) = events(context)
    assert (event["action"], str(event["target_id"])) == ("conversation.read", talk)
    assert event["details"] == {"conversations": 1, "kinds": {"EMAIL_ADDRESS": 1}}


def test_what_restores_nothing_writes_nothing(client, reader, context, account, path, message):
    client.get(f"{path}/list")
    client.get(f"{path}/{message}/fetch")
    other = a_conversation(context, account, privacy=True).id
    reader.get(f"/api/v1/conversation/{other}/message/list")
    assert one(context, "SELECT count(*) FROM audit_events") == 0


def test_the_audit_is_listed_newest_first(client, reader, path, message):
    for _ in range(3):
        reader.post(f"{path}/{message}/reveal", json={})
    page = client.get("/api/v1/audit/list", params={"take": 2}).json()
    assert len(page["items"]) == 2
    assert page["items"][0]["createdAt"] >= page["items"][1]["createdAt"]
    rest = client.get("/api/v1/audit/list", params={"cursor": page["cursor"]}).json()["items"]
    assert [item["action"] for item in rest] == ["message.reveal"]
    assert MAIL not in json.dumps(page)
