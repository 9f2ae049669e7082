"""Messages through the ChatBotKit dialect: written, read, changed, deleted, and what a model sees of them."""

from __future__ import annotations

import json
import threading
import uuid
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from core.talking import receive
from core.turns import carry_out
from tests.factories import a_conversation, a_pending_turn, execute, one, rows, the_run
from tests.integration.test_api_conversations import used
from tests.integration.test_api_hostile import VALUES, harmless
from tests.integration.test_api_isolation import refused
from tests.integration.test_turns import good, speak  # noqa: F401 (a fixture)

API = "/api/v1/conversation"


@pytest.fixture
def conversation(context, account):
    return str(a_conversation(context, account).id)


def created(client, conversation, text="Hello", kind="user", **body):
    sent = {"type": kind, "text": text, **body}
    answer = client.post(f"{API}/{conversation}/message/create", json=sent)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def fetched(client, conversation, message):
    answer = client.get(f"{API}/{conversation}/message/{message}/fetch")
    assert answer.status_code == 200, answer.text
    return answer.json()


def updated(client, conversation, message, **body):
    answer = client.post(f"{API}/{conversation}/message/{message}/update", json=body)
    assert answer.json() == {"id": message, "entities": []}, answer.text
    return fetched(client, conversation, message)


def listed(client, conversation, **params):
    answer = client.get(f"{API}/{conversation}/message/list", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def texts(client, conversation, **params):
    return [item["text"] for item in listed(client, conversation, **params)]


def test_a_message_is_stored_as_it_was_sent_and_nobody_answers(client, context, conversation):
    body = {"name": "n", "description": "d", "meta": {"a": {"b": [1]}}}
    answer = client.post(
        f"{API}/{conversation}/message/create", json={"type": "context", "text": " Hi 😀\n", "x": 1, **body}
    )
    assert answer.json()["entities"] == []
    message = fetched(client, conversation, answer.json()["id"])
    assert (message["type"], message["text"], message["conversationId"]) == (
        "context",
        " Hi 😀\n",
        conversation,
    )
    assert {name: message[name] for name in body} == body
    assert message["createdAt"] == message["updatedAt"]
    assert one(context, "SELECT count(*) FROM runs") == 0
    assert used(context) == {"conversations": 1, "messages": 1}


@pytest.mark.parametrize(
    "kind", ["user", "bot", "reasoning", "context", "instruction", "backstory", "activity", "checkpoint"]
)
def test_every_type_of_the_contract_is_taken(client, conversation, kind):
    assert fetched(client, conversation, created(client, conversation, kind=kind))["type"] == kind


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "user"},
        {"text": "x"},
        {"type": "User", "text": "x"},
        {"type": None, "text": "x"},
        {"type": "user", "text": ""},
        {"type": "user", "text": " \n"},
        {"type": "user", "text": None},
        {"type": "user", "text": 5},
        {"type": "user", "text": "é" * 131_073},
        {"type": "user", "text": "x", "meta": {"_x": 1}},
        {"type": "user", "text": "x", "name": "x" * 1001},
        {"type": "user", "text": "x", "entities": "x"},
        {"type": "user", "text": "x", "entities": [5]},
        {"type": "user", "text": "x", "entities": [{"begin": 0}]},
        {"type": "user", "text": "x", "entities": [{"begin": 0, "end": 2}]},
        {"type": "user", "text": "x", "entities": [{"begin": 0.5, "end": 1}]},
        {"type": "user", "text": "x", "entities": [{"begin": "0", "end": 1}]},
    ],
)
def test_what_is_no_message_is_refused(client, context, conversation, body):
    refused(client.post(f"{API}/{conversation}/message/create", json=body), 400, "BAD_REQUEST")
    batch = {"items": [{"type": "user", "text": "fine"}, body]}
    refused(client.post(f"{API}/{conversation}/message/batch/create", json=batch), 400, "BAD_REQUEST")
    assert rows(context, "SELECT * FROM messages") == []
    assert one(context, "SELECT next_seq FROM conversations") == 1


def test_the_longest_text_is_kept_whole_and_found(client, conversation):
    text = "é" * 131_072
    assert fetched(client, conversation, created(client, conversation, text))["text"] == text
    words = " ".join(f"w{n}" for n in range(30_000))
    created(client, conversation, words)
    found = client.get(f"{API}/list", params={"search": "w11000"}).json()["items"]
    assert [item["id"] for item in found] == [conversation]


def test_known_entities_are_told_back_in_utf_16_units(client, context, conversation):
    text = "😀 My name is John."
    sent = [
        {"type": "name", "begin": 14, "end": 18.0, "text": "wrong", "replacement": None},
        {"begin": 0, "end": 2},
    ]
    body = {"type": "user", "text": text, "entities": sent}
    entities = client.post(f"{API}/{conversation}/message/create", json=body).json()["entities"]
    assert entities == [
        {
            "type": "unknown",
            "begin": 0,
            "end": 2,
            "text": "😀",
            "replacement": {"begin": 0, "end": 2, "text": "😀"},
        },
        {
            "type": "name",
            "begin": 14,
            "end": 18,
            "text": "John",
            "replacement": {"begin": 14, "end": 18, "text": "John"},
        },
    ]
    assert all(isinstance(entity[key], int) for entity in entities for key in ("begin", "end"))
    message = listed(client, conversation)[0]
    assert message["text"] == text
    assert message["entities"] == entities
    change = f"{API}/{conversation}/message/{message['id']}/update"
    of_stored = client.post(change, json={"entities": [{"begin": 14, "end": 18}]}).json()["entities"]
    assert of_stored[0]["text"] == "John"
    of_new = client.post(change, json={"text": "Bo", "entities": [{"begin": 0, "end": 2}]}).json()
    assert (of_new["id"], of_new["entities"][0]["text"]) == (message["id"], "Bo")
    refused(client.post(change, json={"text": "A", "entities": [{"begin": 0, "end": 2}]}), 400, "BAD_REQUEST")
    assert fetched(client, conversation, message["id"])["text"] == "Bo"


def test_a_batch_is_stored_in_order_with_the_ids_of_its_sender(client, context, conversation):
    before = created(client, conversation, "first")
    items = [{"type": "user", "text": f"m{n}", "id": f"mine-{n}", "meta": {"n": n}} for n in range(100)]
    del items[3]["id"]
    items[4]["entities"] = [{"begin": 0, "end": 2, "type": "x"}]
    answer = client.post(f"{API}/{conversation}/message/batch/create", json={"items": items}).json()["items"]
    assert [item.get("originalId") for item in answer] == [item.get("id") for item in items]
    assert "originalId" not in answer[3]
    assert [len(item["entities"]) for item in answer] == [int(n == 4) for n in range(100)]
    stored = listed(client, conversation) + listed(client, conversation, cursor=answer[98]["id"])
    assert [item["id"] for item in stored] == [before, *(item["id"] for item in answer)]
    assert [item["text"] for item in stored[1:]] == [item["text"] for item in items]
    told = rows(context, "SELECT id, created_at, seq FROM messages ORDER BY seq")
    assert [row["seq"] for row in told] == list(range(1, 102))
    assert all(a["created_at"] < b["created_at"] and a["id"] < b["id"] for a, b in pairwise(told))
    assert used(context)["messages"] == 101


def test_a_batch_is_all_or_nothing_and_of_one_to_a_hundred(client, context, conversation):
    good_one = {"type": "user", "text": "x"}
    path = f"{API}/{conversation}/message/batch/create"
    for items in (
        [],
        [good_one] * 101,
        [good_one] * 99 + [{"type": "user", "text": ""}],
        [None],
        "x",
        None,
        {},
    ):
        refused(client.post(path, json={"items": items}), 400, "BAD_REQUEST")
    refused(client.post(path, json={}), 400, "BAD_REQUEST")
    assert one(context, "SELECT count(*) FROM messages") == 0
    assert used(context)["messages"] == 0
    message = client.post(path, json={"items": [good_one] * 99 + [{"type": "user", "text": ""}]}).json()[
        "message"
    ]
    assert message == "Message 100: The text must not be empty."


def test_messages_are_filtered_by_meta_and_walked_in_both_directions(client, conversation):
    made = [
        created(client, conversation, f"m{n}", meta={"tag": "even" if n % 2 == 0 else "odd"})
        for n in range(5)
    ]
    assert texts(client, conversation) == ["m0", "m1", "m2", "m3", "m4"]
    assert texts(client, conversation, order="desc", take="2") == ["m4", "m3"]
    assert texts(client, conversation, cursor=made[1], take="2") == ["m2", "m3"]
    assert texts(client, conversation, **{"meta.tag": "odd"}) == ["m1", "m3"]
    lines = client.get(
        f"{API}/{conversation}/message/list", headers={"Accept": "application/jsonl"}, params={"take": "3"}
    ).text.splitlines()
    assert [json.loads(line)["data"]["text"] for line in lines] == ["m0", "m1", "m2"]


def test_an_update_changes_what_is_sent(client, conversation):
    message = created(client, conversation, "Hello", name="n", description="d", meta={"a": 1, "b": 2})
    before = fetched(client, conversation, message)
    changed = updated(client, conversation, message, text="Goodbye")
    assert changed == before | {"text": "Goodbye", "updatedAt": changed["updatedAt"]}
    assert changed["updatedAt"] >= before["updatedAt"]
    assert updated(client, conversation, message, type="bot")["type"] == "bot"
    assert updated(client, conversation, message, meta={"b": None, "c": 3})["meta"] == {
        "a": 1,
        "b": None,
        "c": 3,
    }
    assert updated(client, conversation, message, meta={"$update": {"a": 2}})["meta"]["a"] == 2
    cleared = updated(client, conversation, message, meta=None, name=None, description=None)
    assert not {"meta", "name", "description"} & cleared.keys()
    assert (cleared["text"], cleared["type"]) == ("Goodbye", "bot")
    assert updated(client, conversation, message, unknown=1)["createdAt"] == before["createdAt"]
    for body in (
        {"text": ""},
        {"text": None},
        {"type": "x"},
        {"type": None},
        {"meta": {"_a": 1}},
        {"name": 5},
    ):
        refused(client.post(f"{API}/{conversation}/message/{message}/update", json=body), 400, "BAD_REQUEST")
    assert fetched(client, conversation, message)["text"] == "Goodbye"


def test_merging_goes_on_only_as_long_as_meta_stays_small(client, conversation):
    message = created(client, conversation, meta={"a": "x" * 40_000})
    answer = client.post(f"{API}/{conversation}/message/{message}/update", json={"meta": {"b": "x" * 40_000}})
    refused(answer, 400, "BAD_REQUEST")
    assert fetched(client, conversation, message)["meta"].keys() == {"a"}


def test_concurrent_merges_lose_nothing(client, conversation):
    message = created(client, conversation)
    threads = [
        threading.Thread(target=updated, args=(client, conversation, message), kwargs={"meta": {f"k{n}": n}})
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched(client, conversation, message)["meta"] == {f"k{n}": n for n in range(8)}


def test_concurrent_batches_are_not_mixed_and_no_place_is_given_twice(client, context, conversation):
    def write(name):
        items = [{"type": "user", "text": f"{name}{n}"} for n in range(10)]
        client.post(f"{API}/{conversation}/message/batch/create", json={"items": items})

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = texts(client, conversation)
    assert [said[at : at + 10] for at in range(0, 60, 10)] == [
        [f"{said[at][0]}{n}" for n in range(10)] for at in range(0, 60, 10)
    ]
    told = rows(context, "SELECT created_at, seq FROM messages ORDER BY seq")
    assert sorted({row["created_at"] for row in told}) == [row["created_at"] for row in told]
    assert used(context)["messages"] == 60


def test_a_deleted_message_leaves_the_others_where_they_are(client, context, conversation):
    made = [created(client, conversation, f"m{n}", meta={"n": n}) for n in range(4)]
    before = rows(context, "SELECT id, seq, created_at FROM messages ORDER BY seq")
    client.post(f"{API}/{conversation}/message/{made[1]}/upvote", json={})
    assert client.post(f"{API}/{conversation}/message/{made[1]}/delete", json={}).json() == {"id": made[1]}
    assert rows(context, "SELECT id, seq, created_at FROM messages ORDER BY seq") == [before[0], *before[2:]]
    refused(client.get(f"{API}/{conversation}/message/{made[1]}/fetch"), 404, "NOT_FOUND")
    refused(client.post(f"{API}/{conversation}/message/{made[1]}/delete"), 404, "NOT_FOUND")
    assert one(context, "SELECT count(*) FROM ratings") == 0
    assert one(context, "SELECT purge_epoch FROM conversations") == 1
    assert texts(client, conversation, cursor=made[1]) == ["m2", "m3"]
    created(client, conversation, "m4")
    assert texts(client, conversation) == ["m0", "m2", "m3", "m4"]
    assert client.get(f"{API}/list", params={"search": "m1"}).json()["items"] == []


def test_the_last_message_s_place_is_not_given_again(client, context, conversation):
    message = created(client, conversation)
    client.post(f"{API}/{conversation}/message/{message}/delete")
    created(client, conversation)
    assert one(context, "SELECT seq FROM messages") == 2


def test_two_deletions_of_one_message_are_one(client, context, conversation):
    message = created(client, conversation)
    answers = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(
                client.post(f"{API}/{conversation}/message/{message}/delete").status_code
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 404, 404, 404]
    assert one(context, "SELECT purge_epoch FROM conversations") == 1


def test_a_reply_made_from_a_deleted_message_is_discarded_and_asked_for_again(
    client,
    context,
    account,
    leases,
    speak,  # noqa: F811
):
    run = a_pending_turn(context, account, "My secret is 4711.")
    conversation = str(run.conversation_id)
    (prompt,) = listed(client, conversation)
    speak(
        *good("You said 4711."),
        before=lambda: client.post(f"{API}/{conversation}/message/{prompt['id']}/delete"),
    )
    assert carry_out(context, leases, run.id, worker="w", delivery="d") == "discarded"
    assert listed(client, conversation) == []
    assert the_run(context, run.id)["summary"] is None


def test_a_text_changed_while_a_turn_runs_stays_changed_and_the_turn_goes_on(
    client,
    context,
    account,
    leases,
    speak,  # noqa: F811
):
    run = a_pending_turn(context, account, "Old.")
    conversation = str(run.conversation_id)
    (prompt,) = listed(client, conversation)
    change = f"{API}/{conversation}/message/{prompt['id']}/update"
    speak(*good("Fine."), before=lambda: client.post(change, json={"text": "New."}))
    assert carry_out(context, leases, run.id, worker="w", delivery="d") == "succeeded"
    assert texts(client, conversation) == ["New.", "Fine."]


@pytest.mark.parametrize("act", ["delete", "update"])
def test_the_summary_of_a_run_does_not_outlive_the_reply_it_quotes(client, context, account, leases, act):
    run = a_pending_turn(context, account)
    carry_out(context, leases, run.id, worker="w", delivery="d")
    conversation = str(run.conversation_id)
    prompt, reply = listed(client, conversation)
    assert the_run(context, run.id)["summary"]
    client.post(f"{API}/{conversation}/message/{reply['id']}/update", json={"name": "x", "meta": {"a": 1}})
    client.post(f"{API}/{conversation}/message/{prompt['id']}/{act}", json={"text": "Other."})
    assert the_run(context, run.id)["summary"]
    answer = client.post(f"{API}/{conversation}/message/{reply['id']}/{act}", json={"text": "Other."})
    assert answer.status_code == 200
    assert the_run(context, run.id)["summary"] is None


def test_a_message_of_another_conversation_is_unknown_here(client, context, account, conversation):
    other = str(a_conversation(context, account).id)
    message = created(client, other)
    for method, act in (
        *(("POST", act) for act in ("update", "delete", "upvote", "downvote")),
        ("GET", "fetch"),
    ):
        answer = client.request(method, f"{API}/{conversation}/message/{message}/{act}")
        refused(answer, 404, "NOT_FOUND")
    assert fetched(client, other, message)["text"] == "Hello"
    assert one(context, "SELECT sum(purge_epoch) FROM conversations") == 0


def test_votes_on_a_message_are_recorded(client, context, conversation):
    message = created(client, conversation, kind="bot")
    assert client.post(f"{API}/{conversation}/message/{message}/upvote", json={"value": 3}).json() == {
        "id": message
    }
    body = {"reason": "No."}
    assert client.post(f"{API}/{conversation}/message/{message}/downvote", json=body).json() == {
        "id": message
    }
    ratings = rows(context, "SELECT value, reason, message_id, conversation_id FROM ratings ORDER BY value")
    assert [(row["value"], row["reason"]) for row in ratings] == [(-100, "No."), (3, None)]
    assert {(str(row["message_id"]), str(row["conversation_id"])) for row in ratings} == {
        (message, conversation)
    }


class _Seen:
    """Keeps what a model is asked."""

    def __init__(self):
        self.messages = None

    def stream(self, request, deadline):
        self.messages = [(message.role, message.text) for message in request.messages]
        yield from good("Fine.")

    def close(self):
        pass


def test_hidden_and_archived_messages_stay_out_of_the_models_sight(
    client, context, account, leases, conversation, monkeypatch
):
    seen = _Seen()
    monkeypatch.setattr(type(context.providers), "provider_for", lambda _self, _model: (seen, "scripted", {}))
    created(client, conversation, "One.")
    created(client, conversation, "Hidden.", meta={"hidden": True})
    created(client, conversation, "Two.", "bot")
    created(client, conversation, "Three.", "bot")
    archived = created(client, conversation, "Archived.")
    updated(client, conversation, archived, meta={"archived": True})
    created(client, conversation, "Four.")
    with context.transaction(account) as session:
        run = receive(session, conversation)
    assert carry_out(context, leases, run.id, worker="w", delivery="d") == "succeeded"
    assert [text for _, text in seen.messages] == ["One.", "Two.", "Three.", "Four."]
    assert [role for role, _ in seen.messages] == ["user", "assistant", "assistant", "user"]
    assert len(listed(client, conversation)) == 7


@pytest.mark.parametrize("field", ["type", "text", "name", "description", "meta", "entities", "id"])
def test_any_value_in_any_field_of_a_message_is_stored_or_refused(client, world, field):
    path = f"{API}/{world.conversationId}/message"
    with capture_logs() as logs:
        for value in VALUES:
            body = {"type": "user", "text": "x", field: value}
            harmless(client.post(f"{path}/create", json=body))
            harmless(client.post(f"{path}/batch/create", json={"items": [body]}))
            harmless(client.post(f"{path}/{world.messageId}/update", json={field: value}))
            harmless(client.post(f"{path}/{world.messageId}/upvote", json={"value": value, "reason": value}))
            harmless(client.post(f"{API}/create", json={"messages": [body]}))
        harmless(client.get(f"{path}/list"))
    assert "geheim4711" not in json.dumps(logs, default=str)


def test_a_message_to_a_conversation_that_has_gone_is_unknown(client, context, conversation):
    client.post(f"{API}/{conversation}/delete")
    for missing in (conversation, str(uuid.uuid4()), "nonsense"):
        answer = client.post(f"{API}/{missing}/message/create", json={"type": "user", "text": "x"})
        refused(answer, 404, "NOT_FOUND")
    assert used(context)["messages"] == 0
    assert one(context, "SELECT count(*) FROM messages") == 0


def test_times_rise_though_the_clock_goes_back(client, context, conversation):
    created(client, conversation)
    execute(context, "UPDATE conversations SET last_message_at = now() + interval '1 hour'")
    client.post(
        f"{API}/{conversation}/message/batch/create", json={"items": [{"type": "user", "text": "x"}] * 3}
    )
    execute(context, "UPDATE conversations SET last_message_at = last_message_at + interval '1 hour'")
    created(client, conversation)
    told = [row["created_at"] for row in rows(context, "SELECT created_at FROM messages ORDER BY seq")]
    assert told == sorted(set(told))
