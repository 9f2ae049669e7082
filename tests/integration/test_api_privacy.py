"""Policies and their preview over HTTP: what is told, what is kept, who may."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from core.privacy_policies import owner_of, set_policy
from tests.factories import a_bot, a_contact, a_conversation, one, rows
from tests.integration.test_api_isolation import refused

API = "/api/v1"
MAIL = "grace.hopper@example.com"
SAID = f"😀 Write to {MAIL}."


@pytest.fixture
def bot(context, account):
    return a_bot(context, account)


@pytest.fixture
def conversation(context, account, bot):
    return a_conversation(context, account, bot_id=bot.id)


def places(bot, conversation):
    return {"account": "", "bot": f"/bot/{bot.id}", "conversation": f"/conversation/{conversation.id}"}


@pytest.mark.parametrize("place", ["account", "bot", "conversation"])
def test_a_policy_is_written_told_and_taken_away(client, bot, conversation, place):
    path = f"{API}{places(bot, conversation)[place]}/privacy/policy"
    assert client.get(f"{path}/fetch").json().keys() == {"effective"}
    sent = {"preset": "strict", "operators": {"email": "tokenise"}, "identities": [{"name": "Bo Li"}]}
    assert client.post(f"{path}/update", json={"policy": sent}).status_code == 200
    told = client.get(f"{path}/fetch").json()
    assert told["policy"] == {**sent, "operators": {"EMAIL_ADDRESS": "tokenise"}}
    effective = told["effective"]
    assert (effective["on"], effective["preset"], effective["identities"]) == (True, "strict", 1)
    assert effective["operators"]["EMAIL_ADDRESS"] == "tokenise"
    assert effective["operators"]["CREDIT_CARD"] == "replace"
    assert client.post(f"{path}/update", json={"policy": None}).status_code == 200
    assert client.get(f"{path}/fetch").json().keys() == {"effective"}


def test_what_holds_comes_from_the_account_the_bot_and_the_conversation(client, bot, conversation):
    paths = {name: f"{API}{path}/privacy/policy" for name, path in places(bot, conversation).items()}
    client.post(f"{paths['account']}/update", json={"policy": {"preset": "strict", "deny": ["Falcon"]}})
    client.post(f"{paths['bot']}/update", json={"policy": {"operators": {"URL": "keep"}}})
    client.post(f"{paths['conversation']}/update", json={"policy": {"operators": {"email": "hash"}}})
    told = client.get(f"{paths['conversation']}/fetch").json()
    assert told["policy"] == {"operators": {"EMAIL_ADDRESS": "hash"}}
    assert told["effective"]["operators"]["EMAIL_ADDRESS"] == "hash"
    assert "URL" not in told["effective"]["operators"]
    assert told["effective"]["deny"] == 1
    assert "Falcon" not in json.dumps(told)
    assert client.get(f"{paths['account']}/fetch").json()["effective"]["operators"]["URL"] == "replace"


def test_the_flag_of_a_bot_is_a_policy(client, context, account):
    bot = a_bot(context, account, privacy=True)
    effective = client.get(f"{API}/bot/{bot.id}/privacy/policy/fetch").json()["effective"]
    assert (effective["on"], effective["preset"]) == (True, "tokenise")


@pytest.mark.parametrize(
    "policy",
    [
        {"preset": MAIL},
        {MAIL: 1},
        [],
        "strict",
        {"operators": {"email": MAIL}},
        {"identities": [{"x": MAIL}]},
    ],
)
def test_a_policy_that_cannot_be_used_is_refused_without_repeating_it(client, policy):
    for path, body in (("policy/update", {}), ("preview", {"text": "x"})):
        answer = client.post(f"{API}/privacy/{path}", json={**body, "policy": policy})
        refused(answer, 400, "BAD_REQUEST")
        assert MAIL not in answer.text
    assert "policy" not in client.get(f"{API}/privacy/policy/fetch").json()


def test_two_who_write_a_policy_at_once_leave_one_of_them_and_count_both(context, account):
    def write(number):
        with context.transaction(account) as session:
            set_policy(session, owner_of(session), {"deny": [f"word {number}"]})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    (stored,) = rows(context, "SELECT * FROM accounts")
    assert stored["privacy_rev"] == 8
    assert stored["privacy_policy"]["deny"][0].startswith("word ")


def test_a_policy_is_written_while_others_only_link_to_the_account(context, account):
    with context.transaction(account) as writer:
        link = "INSERT INTO contacts (id, account_id, fingerprint) VALUES (gen_random_uuid(), :a, 'x')"
        writer.execute(text(link), {"a": account})
        with context.transaction(account) as session:
            session.execute(text("SET LOCAL lock_timeout = '2s'"))
            set_policy(session, owner_of(session), {"preset": "strict"})
    assert one(context, "SELECT privacy_rev FROM accounts") == 1


def test_the_same_policy_again_changes_nothing(context, account):
    for _ in "12":
        with context.transaction(account) as session:
            set_policy(session, owner_of(session), {"preset": "strict"})
    assert one(context, "SELECT privacy_rev FROM accounts") == 1


def test_a_preview_tells_what_would_be_stored_and_keeps_nothing(client, context, account):
    body = {"text": SAID, "policy": {"preset": "recommended"}}
    answer = client.post(f"{API}/privacy/preview", json=body).json()
    (found,) = answer["entities"]
    units = SAID.encode("utf-16-le")
    assert units[2 * found["begin"] : 2 * found["end"]].decode("utf-16-le") == MAIL
    assert (found["type"], found["kind"], found["operator"]) == ("email", "EMAIL_ADDRESS", "mask")
    assert (found["source"], found["text"]) == ("structured", MAIL)
    assert found["replacement"]["text"] in answer["text"]
    points = client.post(f"{API}/privacy/preview", json={**body, "offsetUnit": "codepoint"}).json()
    (found,) = points["entities"]
    assert SAID[found["begin"] : found["end"]] == MAIL
    there = found["replacement"]
    assert points["text"][there["begin"] : there["end"]] == there["text"]
    for table in ("messages", "pii_tokens", "annotations", "pii_days"):
        assert one(context, f"SELECT count(*) FROM {table}") == 0


def test_a_preview_knows_who_a_conversation_is_with_and_not_what_its_tokens_stand_for(
    client, context, account
):
    contact = a_contact(context, account, name="Grace Hopper")
    conversation = a_conversation(context, account, privacy=True, contact_id=contact.id)
    said = {"type": "user", "text": f"Hopper: {MAIL}"}
    path = f"{API}/conversation/{conversation.id}/message/create"
    stored = client.post(path, json=said).json()["entities"]
    body = {"text": said["text"], "conversationId": str(conversation.id)}
    shown = client.post(f"{API}/privacy/preview", json=body).json()["entities"]
    assert [one["kind"] for one in shown] == ["PERSON", "EMAIL_ADDRESS"]
    assert shown[1]["replacement"]["text"] != stored[1]["replacement"]["text"]


def test_a_preview_under_a_key_is_told_again(client):
    body = {"text": SAID, "policy": {"preset": "tokenise"}}
    first, again = (
        client.post(f"{API}/privacy/preview", json=body, headers={"Idempotency-Key": "a"}).json()
        for _ in "12"
    )
    assert first == again
    assert first["entities"]


def test_a_preview_reaches_into_no_other_account(client, context, foreign):
    for name, value in (("botId", foreign.botId), ("conversationId", foreign.conversationId)):
        refused(client.post(f"{API}/privacy/preview", json={"text": "x", name: value}), 403, "NOT_AUTHORIZED")


@pytest.fixture
def foreign(context, leases):
    from tests.api import a_world
    from tests.factories import an_account

    return a_world(context, an_account(context, "Grace"), leases)


@pytest.mark.parametrize(
    "body", [{"text": ""}, {"text": "a\x00b"}, {"text": 7}, {}, {"text": "x", "offsetUnit": "byte"}]
)
def test_a_preview_of_what_is_no_text_is_refused(client, body):
    refused(client.post(f"{API}/privacy/preview", json=body), 400, "BAD_REQUEST")


def test_a_job_is_made_watched_and_ended(client, context, account, conversation):
    refused(client.post(f"{API}/job/create", json={"kind": "annotate"}), 400, "BAD_REQUEST")
    refused(client.post(f"{API}/job/create", json={"kind": "backfill"}), 400, "BAD_REQUEST")
    body = {"kind": "annotate", "conversationId": str(conversation.id)}
    job = client.post(f"{API}/job/create", json=body).json()["id"]
    refused(client.post(f"{API}/job/create", json={"kind": "annotate", "all": True}), 409, "CONFLICT")
    told = client.get(f"{API}/job/{job}/fetch").json()
    assert (told["kind"], told["state"], told["left"]) == ("annotate", "pending", 0)
    assert told["conversationId"] == str(conversation.id)
    assert client.get(f"{API}/job/list", params={"kind": "annotate"}).json()["items"] == [told]
    assert client.get(f"{API}/job/list", params={"kind": "backfill"}).json()["items"] == []
    refused(client.get(f"{API}/job/list", params={"kind": "x"}), 400, "BAD_REQUEST")
    for verb, state in (("pause", "paused"), ("resume", "pending"), ("cancel", "cancelled")):
        assert client.post(f"{API}/job/{job}/{verb}", json={}).json() == {"id": job}
        assert client.get(f"{API}/job/{job}/fetch").json()["state"] == state
    refused(client.post(f"{API}/job/{job}/resume", json={}), 409, "CONFLICT")


def test_metrics_and_health_tell_of_privacy_and_of_no_value(client, nobody, context, account, conversation):
    policy = {"preset": "strict", "operators": {"falcon_case": "replace"}, "deny": ["Falcon"]}
    client.post(f"{API}/privacy/policy/update", json={"policy": policy})
    entities = [{"type": "falcon_case", "begin": 0, "end": 6}]
    path = f"{API}/conversation/{conversation.id}/message/create"
    client.post(path, json={"type": "user", "text": f"Secret {MAIL} Falcon", "entities": entities})
    told = nobody.get("/metrics").text
    assert 'crontalk_pii_entities_total{kind="EMAIL_ADDRESS"} 1.0' in told
    assert 'crontalk_pii_entities_total{kind="DENIED"} 1.0' in told
    assert 'crontalk_pii_entities_total{kind="other"} 1.0' in told
    assert "crontalk_annotations_waiting 1.0" in told
    assert "crontalk_annotations_failed 0.0" in told
    assert "crontalk_oldest_due_annotation_seconds" in told
    assert "falcon" not in told.lower()
    health = nobody.get("/health/work").json()
    assert (health["status"], health["unannotated"]) == ("working", 1)


def test_annotations_that_nobody_takes_are_a_stop_and_a_backlog_is_none(
    nobody, context, client, conversation
):
    client.post(f"{API}/privacy/policy/update", json={"policy": {"preset": "strict"}})
    path = f"{API}/conversation/{conversation.id}/message/create"
    ids = [client.post(path, json={"type": "user", "text": "x"}).json()["id"] for _ in "12"]
    with context.transaction() as session:
        session.execute(text("UPDATE annotations SET run_at = now() - interval '1 minute'"))
    assert nobody.get("/health/work").json()["status"] == "stuck"
    with context.transaction() as session:
        running = "UPDATE annotations SET state = 'running', lease_until = now() + interval '1 minute'"
        session.execute(text(f"{running} WHERE message_id = :id"), {"id": ids[0]})
    assert nobody.get("/health/work").json()["status"] == "working"
