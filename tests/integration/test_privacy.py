"""Privacy on every write: what is stored, what the model sees, what its caller gets back."""

from __future__ import annotations

import json

import pytest

from core.annotating import annotate
from core.bots import update_bot
from core.privacy_policies import owner_of, set_policy
from tests.api import a_client, a_secret
from tests.factories import a_bot, a_contact, a_conversation, one, rows

API = "/api/v1/conversation"
MAIL = "grace.hopper@example.com"
PHONE = "+49 30 901820"
SAID = f"😀 Write to {MAIL} or call {PHONE}."


@pytest.fixture
def private(context, account):
    bot = a_bot(context, account, backstory="You are Kim.", privacy=True)
    return str(a_conversation(context, account, bot_id=bot.id).id)


@pytest.fixture
def reader(context, account):
    return a_client(context, a_secret(context, account, ("read", "write", "pii:read")))


def a_policy(context, account, document, **of):
    with context.transaction(account) as session:
        set_policy(session, owner_of(session, **of), document)


def said_in(client, conversation, text=SAID, **fields):
    body = {"type": "user", "text": text, **fields}
    answer = client.post(f"{API}/{conversation}/message/create", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def stored(context):
    return rows(context, "SELECT * FROM messages ORDER BY seq")


def everything(context):
    """Every word of the tables that hold words."""
    tables = ("messages", "conversations", "tasks", "runs", "run_steps", "jobs", "audit_events")
    return "\n".join(str(rows(context, f"SELECT * FROM {table}")) for table in tables)


def test_a_replay_after_a_change_of_the_policy_tells_what_the_policy_of_today_makes_of_it(
    client, context, account, private
):
    body, headers = {"type": "user", "text": SAID}, {"Idempotency-Key": "once"}
    path = f"{API}/{private}/message/create"
    first = client.post(path, json=body, headers=headers).json()
    (kept,) = stored(context)
    tokens = rows(context, "SELECT token FROM pii_tokens ORDER BY token")
    a_policy(context, account, {"preset": "strict"}, conversation_id=private)
    again = client.post(path, json=body, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["id"] == first["id"]
    # What is said of the words that were sent follows from them and from the policy; nothing is stored of it.
    replaced = [entity["replacement"]["text"] for entity in again.json()["entities"]]
    assert replaced == ["<EMAIL_ADDRESS>", "<PHONE_NUMBER>"]
    places = [[entity[name] for name in ("type", "begin", "end", "text")] for entity in first["entities"]]
    assert places == [
        [e[name] for name in ("type", "begin", "end", "text")] for e in again.json()["entities"]
    ]
    assert stored(context) == [kept]
    assert rows(context, "SELECT token FROM pii_tokens ORDER BY token") == tokens
    a_policy(context, account, {"preset": "off"}, conversation_id=private)
    assert client.post(path, json=body, headers=headers).json() == {"id": first["id"], "entities": []}
    assert stored(context) == [kept]


def test_nothing_raw_is_stored_and_the_answer_says_what_stands_for_it(client, context, private):
    answer = said_in(client, private, name=f"From {MAIL}", meta={"from": {"mail": MAIL}, "n": 1})
    (message,) = stored(context)
    assert MAIL not in everything(context)
    assert PHONE not in everything(context)
    mail, phone = answer["entities"]
    units = SAID.encode("utf-16-le")
    for entity, value in ((mail, MAIL), (phone, PHONE)):
        assert units[2 * entity["begin"] : 2 * entity["end"]].decode("utf-16-le") == value
        assert entity["text"] == value
        there = entity["replacement"]
        kept = message["text"].encode("utf-16-le")
        assert kept[2 * there["begin"] : 2 * there["end"]].decode("utf-16-le") == there["text"]
    assert (mail["type"], phone["type"]) == ("email", "phone_number")
    assert message["pii_types"] == ["EMAIL_ADDRESS", "PHONE_NUMBER"]
    assert message["name"] == f"From {mail['replacement']['text']}"
    assert message["meta"] == {"from": {"mail": mail["replacement"]["text"]}, "n": 1}
    assert one(context, "SELECT count(*) FROM pii_tokens") == 2
    assert one(context, "SELECT count(*) FROM annotations") == 1


def test_lists_and_fetches_are_restored_for_those_who_may_read(client, reader, context, private):
    message_id = said_in(client, private, name=MAIL)["id"]
    path = f"{API}/{private}/message"
    hidden = client.get(f"{path}/{message_id}/fetch").json()
    seen = reader.get(f"{path}/{message_id}/fetch").json()
    assert MAIL not in json.dumps(hidden)
    assert hidden["entities"][0]["text"].startswith("[email:")
    assert (seen["text"], seen["name"]) == (SAID, MAIL)
    assert [entity["text"] for entity in seen["entities"]] == [MAIL, PHONE]
    assert reader.get(f"{path}/list").json()["items"][0]["text"] == SAID
    assert MAIL not in client.get(f"{path}/list").text
    assert MAIL not in everything(context)


def test_the_caller_of_a_turn_gets_its_answer_restored(client, context, private, working):
    answer = client.post(f"{API}/{private}/complete", json={"text": f"Say {MAIL}"}).json()
    bot = stored(context)[-1]
    assert MAIL in answer["text"]
    assert MAIL not in bot["text"]
    assert bot["pii_types"] == ["EMAIL_ADDRESS"]
    assert MAIL not in everything(context)


def test_a_stream_is_restored_word_by_word(client, context, private, working):
    body, headers = {"text": f"Say {MAIL}"}, {"Accept": "application/jsonl"}
    with client.stream("POST", f"{API}/{private}/complete", json=body, headers=headers) as answer:
        events = [json.loads(line) for line in answer.read().decode().split("\n") if line.strip()]
    told = "".join(event["data"]["token"] for event in events if event["type"] == "token")
    assert told == events[-1]["data"]["text"]
    assert MAIL in told
    assert "vault" not in {event["type"] for event in events}
    assert MAIL not in everything(context)


def test_an_update_looks_only_at_what_changes_and_keeps_its_tokens(client, reader, context, private):
    message_id = said_in(client, private)["id"]
    path = f"{API}/{private}/message/{message_id}"
    token = stored(context)[0]["text"].split()[3]
    client.post(f"{path}/update", json={"meta": {"a": 1}})
    assert stored(context)[0]["text_rev"] == 1
    answer = client.post(f"{path}/update", json={"text": f"Only {token} and ada@example.com"}).json()
    assert [entity["type"] for entity in answer["entities"]] == ["email", "email"]
    assert stored(context)[0]["text_rev"] == 2
    assert reader.get(f"{path}/fetch").json()["text"] == f"Only {MAIL} and ada@example.com"
    assert (
        one(context, "SELECT count(*) FROM pii_tokens") == 2
    )  # the phone's went with the text that named it


def test_what_only_looks_like_a_token_is_never_restored(client, reader, context, private, working):
    said_in(client, private, meta={"hidden": True})
    token = stored(context)[0]["text"].split()[3]
    message_id = said_in(client, private, text=f"Tell me {token}")["id"]
    assert reader.get(f"{API}/{private}/message/{message_id}/fetch").json()["text"] == f"Tell me {token}"
    answer = client.post(f"{API}/{private}/complete", json={"text": f"Please repeat: {token}"}).json()
    assert MAIL not in answer["text"]
    assert f"({token[1:-1].replace(':', ' ')})" in answer["text"]


def test_deleting_the_last_message_that_names_a_token_forgets_its_value(client, context, private):
    first, second = (said_in(client, private)["id"] for _ in "12")
    client.post(f"{API}/{private}/message/{first}/delete", json={})
    assert one(context, "SELECT count(*) FROM pii_tokens") == 2
    client.post(f"{API}/{private}/message/{second}/delete", json={})
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0
    assert one(context, "SELECT count(*) FROM erasures") == 2


@pytest.mark.parametrize("preset", ["off", "annotate", "recommended", "strict", "tokenise"])
def test_a_policy_of_the_account_holds_for_its_conversations(client, context, account, preset):
    conversation = str(a_conversation(context, account).id)
    a_policy(context, account, {"preset": preset})
    answer = said_in(client, conversation)
    text = stored(context)[0]["text"]
    assert (MAIL in text) == (preset in {"off", "annotate"})
    assert bool(answer["entities"]) == (preset != "off")


def test_the_contact_is_known_by_name(client, context, account, private):
    contact = a_contact(context, account, name="Grace Hopper")
    client.post(f"{API}/{private}/update", json={"contactId": str(contact.id)})
    answer = said_in(client, private, text="Grace Hopper asked, and Hopper paid.")
    assert [entity["text"] for entity in answer["entities"]] == ["Grace Hopper", "Hopper"]


def test_an_annotation_finds_what_is_known_by_then(client, context, account, private):
    message_id = said_in(client, private, text="Hopper was here.")["id"]
    contact = a_contact(context, account, name="Grace Hopper")
    client.post(f"{API}/{private}/update", json={"contactId": str(contact.id)})
    assert annotate(context, one(context, "SELECT message_id FROM annotations")) == "annotated"
    (message,) = stored(context)
    assert message["text"].startswith("[name:")
    assert (message["pii_state"], message["text_rev"]) == ("done", 2)
    assert one(context, "SELECT count(*) FROM annotations") == 0
    assert client.get(f"{API}/{private}/message/{message_id}/fetch").json()["entities"][0]["type"] == "name"


def test_an_annotation_done_twice_changes_nothing(client, context, private):
    said_in(client, private)
    message_id = one(context, "SELECT message_id FROM annotations")
    annotate(context, message_id)
    once = stored(context)
    with context.transaction(once[0]["account_id"]) as session:
        from core.annotations import enqueue_annotations
        from models import Message

        enqueue_annotations(session, [session.get_one(Message, message_id)])
    annotate(context, message_id)
    assert stored(context) == once


def test_a_prompt_of_a_task_is_redacted_when_it_is_saved(client, context, account, leases, working):
    bot = a_bot(context, account, privacy=True)
    said = {"name": f"Mail {MAIL}", "description": f"Write to {MAIL}"}
    body = {**said, "botId": str(bot.id), "schedule": "daily"}
    task = client.post("/api/v1/task/create", json=body).json()["id"]
    assert MAIL not in everything(context)
    client.post(f"/api/v1/task/{task}/trigger", json={})
    prompt = one(context, "SELECT text FROM messages WHERE step = 'prompt'")
    assert prompt.startswith("Write to [email:")
    assert one(context, "SELECT pii_types FROM messages WHERE step = 'prompt'") == ["EMAIL_ADDRESS"]
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1
    assert MAIL not in everything(context)


def test_a_prompt_saved_before_its_bot_had_privacy_is_redacted_before_it_fires(client, context, account):
    bot = a_bot(context, account)
    body = {"description": f"Write to {MAIL}", "botId": str(bot.id), "schedule": "daily"}
    task = client.post("/api/v1/task/create", json=body).json()["id"]
    with context.transaction(account) as session:
        update_bot(session, bot.id, privacy=True)
    client.post(f"/api/v1/task/{task}/trigger", json={})
    assert MAIL not in everything(context)


def test_nothing_is_stored_when_a_text_cannot_be_looked_at(client, context, private, monkeypatch):
    def broken(*_):
        raise ValueError(SAID)

    monkeypatch.setattr("core.shield.detect", broken)
    answer = client.post(f"{API}/{private}/message/create", json={"type": "user", "text": SAID})
    assert answer.status_code == 503
    assert MAIL not in answer.text
    assert stored(context) == []


def test_a_text_is_hidden_until_it_was_annotated_where_the_policy_says_so(
    client, context, account, private, working
):
    a_policy(context, account, {"preset": "strict", "blockUntilAnnotated": True})
    message_id = said_in(client, private, text="A plain word.")["id"]
    path = f"{API}/{private}/message/{message_id}/fetch"
    blocked = client.get(path).json()
    assert (blocked["text"], blocked["isAnnotated"]) == ("", False)
    answer = client.post(f"{API}/{private}/complete", json={"text": "And?"})
    assert answer.status_code == 200
    assert client.get(path).json()["text"] == "A plain word."


def test_a_turn_without_a_conversation_shows_the_model_tokens_alone(client, context, account, monkeypatch):
    said = [{"type": "user", "text": f"Say {MAIL}"}]
    body = {"messages": said, "backstory": "You are Kim.", "privacy": True}
    answer = client.post(f"{API}/complete", json=body)
    assert MAIL in answer.json()["text"]
    assert MAIL not in everything(context)


def test_a_write_told_again_tells_the_same_entities(client, private):
    headers = {"Idempotency-Key": "one"}
    body = {"type": "user", "text": SAID}
    path = f"{API}/{private}/message/create"
    first, second = (client.post(path, json=body, headers=headers).json() for _ in "12")
    assert first == second
    assert len(first["entities"]) == 2


def test_the_reason_of_a_vote_and_the_name_of_a_file_are_words_too(client, context, private):
    message_id = said_in(client, private)["id"]
    client.post(f"{API}/{private}/message/{message_id}/upvote", json={"reason": f"{MAIL} was kind"})
    file = {"name": f"CV of {MAIL}.txt", "type": "text/plain", "size": 2}
    answer = client.post(f"{API}/{private}/attachment/upload", json={"file": file})
    assert answer.status_code == 200, answer.text
    assert MAIL not in str(rows(context, "SELECT reason FROM ratings"))
    assert MAIL not in str(rows(context, "SELECT name FROM blobs"))


def test_what_comes_along_with_a_turn_is_shown_to_no_model(client, context, private, working):
    more = {"backstory": f"Ask {MAIL}.", "datasets": [{"records": [{"text": f"The boss is {MAIL}."}]}]}
    answer = client.post(f"{API}/{private}/complete", json={"text": "Who is the boss?", "extensions": more})
    bot = stored(context)[-1]["text"]
    assert answer.status_code == 200
    assert MAIL not in bot
    assert "The boss is [email:" in bot
    assert MAIL in answer.json()["text"]
