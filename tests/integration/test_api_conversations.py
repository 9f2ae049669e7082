"""Conversations through the ChatBotKit dialect: created, changed, found, voted on, counted."""

from __future__ import annotations

import csv
import io
import json
import uuid

import pytest
from structlog.testing import capture_logs

from core.turns import carry_out
from models import new_id
from tests.factories import (
    a_bot,
    a_conversation,
    a_pending_turn,
    a_task,
    an_account,
    execute,
    one,
    rows,
    the_run,
)
from tests.integration.test_api_hostile import VALUES, harmless
from tests.integration.test_api_isolation import refused

API = "/api/v1/conversation"
FUTURE = 4_102_444_800_000


def created(client, **body):
    answer = client.post(f"{API}/create", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def fetched(client, conversation_id):
    answer = client.get(f"{API}/{conversation_id}/fetch")
    assert answer.status_code == 200, answer.text
    return answer.json()


def updated(client, conversation_id, **body):
    answer = client.post(f"{API}/{conversation_id}/update", json=body)
    assert answer.json() == {"id": conversation_id}, answer.text
    return fetched(client, conversation_id)


def listed(client, **params):
    answer = client.get(f"{API}/list", params=params)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def used(context):
    query = "SELECT sum(conversations)::int AS conversations, sum(messages)::int AS messages FROM usage_days"
    return rows(context, query)[0]


NEEDS = {
    "contactId": ("contacts", "fingerprint"),
    "datasetId": ("datasets", "store"),
    "skillsetId": ("skillsets", "name"),
}


def something_of(context, account, parameter):
    """The id of something a conversation can be linked to."""
    if parameter == "botId":
        return str(a_bot(context, account).id)
    if parameter == "taskId":
        return str(a_task(context, account).id)
    table, column = NEEDS[parameter]
    made = new_id()
    statement = f"INSERT INTO {table} (id, account_id, {column}) VALUES (:id, :account, 'x')"
    execute(context, statement, id=made, account=account)
    return str(made)


@pytest.fixture
def links(context, account):
    """One of everything a conversation can be linked to."""
    return {name: something_of(context, account, name) for name in ("botId", "taskId", *NEEDS)}


def test_nothing_needs_to_be_said_of_a_conversation(client, context, account):
    conversation = fetched(client, created(client))
    default = one(context, "SELECT id FROM bots WHERE is_default AND account_id = :id", id=account)
    assert conversation["botId"] == str(default)
    assert (conversation["source"], conversation["status"]) == ("api", "active")
    assert (conversation["privacy"], conversation["moderation"]) == (False, False)
    assert not {"name", "meta", "model", "contactId", "taskId", "runId", "expiresAt"} & conversation.keys()


def test_all_that_can_be_said_is_kept_and_told(client, links):
    body = {
        "name": "Anfrage",
        "description": "Von Zoë 😀",
        "meta": {"app": "x", "deep": {"a": [1, 2.5, None]}},
        "backstory": "You are a pirate.",
        "model": "offline/temperature=0.5",
        "privacy": True,
        "moderation": True,
        "source": "whatsapp",
        "expiresAt": FUTURE,
        **links,
    }
    conversation = fetched(client, created(client, **body, spaceId="ignored", fromTheFuture=1))
    assert {name: conversation[name] for name in body} == body
    assert isinstance(conversation["createdAt"], int)


def test_a_model_may_be_an_object_as_the_sdk_takes_it(client):
    model = {"name": "offline", "config": {"temperature": 0.2, "maxTokens": 100}}
    assert fetched(client, created(client, model=model))["model"] == "offline/temperature=0.2/maxTokens=100"
    assert client.post(f"{API}/create", json={"model": {"name": 5}}).status_code == 400
    assert client.post(f"{API}/create", json={"model": "offline/temperature=9"}).status_code == 400


def test_a_conversation_that_speaks_for_itself_has_no_bot_unless_one_is_named(client, world):
    assert "botId" not in fetched(client, created(client, backstory="A pirate."))
    assert "botId" not in fetched(client, created(client, model="offline"))
    both = fetched(client, created(client, backstory="A pirate.", botId=world.botId))
    assert (both["botId"], both["backstory"]) == (world.botId, "A pirate.")
    assert "botId" in fetched(client, created(client, privacy=True, name="x"))


def test_messages_are_stored_in_order_with_the_conversation_and_echoed(client, context):
    sent = [
        {"type": "backstory", "text": "Be brief."},
        {"type": "user", "text": "Hi 😀", "meta": {"n": 1}, "name": "Zoë", "description": "d"},
        {"type": "bot", "text": "One."},
        {"type": "bot", "text": "Two."},
        {
            "type": "activity",
            "text": "called",
            "meta": {"activity": {"type": "request", "function": {"name": "f", "arguments": {}}}},
        },
    ]
    ignored = {"id": "mine", "createdAt": 5, "x": 1}
    answer = client.post(f"{API}/create", json={"messages": [{**item, **ignored} for item in sent]}).json()
    assert answer["messages"] == sent
    stored = client.get(f"{API}/{answer['id']}/message/list").json()["items"]
    kept = ("type", "text", "meta", "name", "description")
    assert [{key: item[key] for key in kept if key in item} for item in stored] == sent
    instants = rows(context, "SELECT created_at, id FROM messages ORDER BY seq")
    assert sorted({row["created_at"] for row in instants}) == [row["created_at"] for row in instants]
    assert sorted(row["id"] for row in instants) == [row["id"] for row in instants]
    assert used(context) == {"conversations": 1, "messages": 5}
    assert "messages" not in client.post(f"{API}/create", json={"messages": []}).json()


def test_a_thousand_messages_come_along_and_not_one_more(client, context):
    many = [{"type": "user", "text": str(n)} for n in range(1001)]
    refused(client.post(f"{API}/create", json={"messages": many}), 400, "BAD_REQUEST")
    assert one(context, "SELECT count(*) FROM conversations") == 0
    conversation = created(client, messages=many[:1000])
    said = rows(context, "SELECT text, seq FROM messages ORDER BY seq")
    assert [row["text"] for row in said] == [str(n) for n in range(1000)]
    assert one(context, "SELECT next_seq FROM conversations") == 1001
    client.post(f"{API}/{conversation}/message/create", json={"type": "user", "text": "more"})
    assert one(context, "SELECT max(seq) FROM messages") == 1001


@pytest.mark.parametrize(
    "message",
    [
        {"text": "x"},
        {"type": "user"},
        {"type": "user", "text": ""},
        {"type": "user", "text": None},
        {"type": "shout", "text": "geheim4711"},
        {"type": "user", "text": "x" * 262_145},
        {"type": "user", "text": "x", "meta": {"_x": 1}},
        {"type": "user", "text": "x", "meta": []},
        {"type": "activity", "text": "x"},
        {"type": "activity", "text": "x", "meta": {"activity": "request"}},
        {"type": "activity", "text": "x", "meta": {"activity": {"type": "request"}}},
        {"type": "activity", "text": "x", "meta": {"activity": {"type": "x", "function": {"name": "f"}}}},
        {"type": "activity", "text": "x", "meta": {"activity": {"type": "trigger", "function": {}}}},
        "x",
        None,
    ],
)
def test_one_message_that_cannot_be_stored_and_nothing_is(client, context, message):
    good = {"type": "user", "text": "fine"}
    answer = client.post(f"{API}/create", json={"contact": {"name": "x"}, "messages": [good, message, good]})
    refused(answer, 400, "BAD_REQUEST")
    assert "geheim4711" not in answer.text
    for table in ("conversations", "messages", "contacts"):
        assert one(context, f"SELECT count(*) FROM {table}") == 0
    assert rows(context, "SELECT * FROM usage_days") == []


def test_a_refusal_says_which_message_it_is(client):
    messages = [{"type": "user", "text": "fine"}, {"type": "shout", "text": "x"}]
    message = client.post(f"{API}/create", json={"messages": messages}).json()["message"]
    assert message.startswith("Message 2: The type of a message is one of user, bot,")


def test_a_contact_is_made_or_found_by_its_fingerprint(client, context):
    first = fetched(client, created(client, contact={"fingerprint": "f1", "name": "Ada"}))
    again = fetched(client, created(client, contact={"fingerprint": "f1", "email": "a@example.com"}))
    assert first["contactId"] == again["contactId"]
    assert fetched(client, created(client, contact={"name": "Bo"}))["contactId"] != first["contactId"]
    stored = one(context, "SELECT name FROM contacts WHERE fingerprint = 'f1'")
    assert stored == "Ada"
    both = {"contactId": first["contactId"], "contact": {"fingerprint": "f2"}}
    refused(client.post(f"{API}/create", json=both), 400, "BAD_REQUEST")
    refused(client.post(f"{API}/create", json={"contact": {"email": "no address"}}), 400, "BAD_REQUEST")


def test_an_update_changes_what_is_sent_and_null_clears(client, links):
    conversation_id = created(client, name="a", description="b", meta={"a": 1, "b": {"x": 1}}, **links)
    before = fetched(client, conversation_id)
    after = updated(client, conversation_id, name="c", meta={"b": 2, "c": 3}, status="archived")
    assert {key for key in before if before[key] != after[key]} - {"updatedAt"} == {"name", "meta", "status"}
    assert after["meta"] == {"a": 1, "b": 2, "c": 3}
    assert after["updatedAt"] >= before["updatedAt"]
    merged = updated(client, conversation_id, meta={"$update": {"d": 4}})
    assert merged["meta"] == {"a": 1, "b": 2, "c": 3, "d": 4}
    cleared = updated(
        client, conversation_id, **dict.fromkeys([*links, "name", "description", "meta", "source", "status"])
    )
    assert (
        not {"name", "description", "meta", "contactId", "taskId", "datasetId", "skillsetId"} & cleared.keys()
    )
    assert (cleared["source"], cleared["status"]) == ("api", "active")
    assert cleared["botId"] != links["botId"]
    assert updated(client, conversation_id) | {"updatedAt": 0} == cleared | {"updatedAt": 0}


def test_an_update_points_a_conversation_elsewhere(client, links):
    conversation_id = created(client)
    body = {
        **links,
        "backstory": "x",
        "model": "offline",
        "privacy": True,
        "source": "slack",
        "expiresAt": FUTURE,
    }
    after = updated(client, conversation_id, **body)
    assert {name: after[name] for name in body} == body
    named = updated(client, conversation_id, contactId=None, contact={"fingerprint": "new"})
    assert named["contactId"] not in {None, links["contactId"]}
    assert "expiresAt" not in updated(client, conversation_id, expiresAt=None)


def test_what_was_linked_to_may_go_and_the_conversation_stays(client, context, links):
    conversation_id = created(client, **links)
    for table in ("contacts", "datasets", "skillsets"):
        execute(context, f"DELETE FROM {table}")
    client.post(f"/api/v1/task/{links['taskId']}/delete")
    conversation = fetched(client, conversation_id)
    assert not {"contactId", "datasetId", "skillsetId"} & conversation.keys()
    assert conversation["taskId"] == links["taskId"]
    refused(client.post(f"{API}/create", json={"taskId": links["taskId"]}), 404, "NOT_FOUND")


@pytest.mark.parametrize("name", ["botId", "contactId", "taskId", "datasetId", "skillsetId"])
def test_nothing_of_another_account_can_be_linked(client, context, name):
    own_id = created(client)
    foreign = something_of(context, an_account(context, "Grace"), name)
    for path in ("create", f"{own_id}/update"):
        refused(client.post(f"{API}/{path}", json={name: foreign}), 403, "NOT_AUTHORIZED")
        for unknown in (str(uuid.uuid4()), "nonsense", ""):
            refused(client.post(f"{API}/{path}", json={name: unknown}), 404, "NOT_FOUND")
    if name in {"botId", "contactId", "taskId"}:
        refused(client.get(f"{API}/list", params={name: foreign}), 403, "NOT_AUTHORIZED")
        refused(client.get(f"{API}/list", params={name: str(uuid.uuid4())}), 404, "NOT_FOUND")
    assert one(context, "SELECT count(*) FROM conversations") == 1


@pytest.mark.parametrize(
    "body",
    [
        {"source": "x" * 101},
        {"source": ""},
        {"source": 5},
        {"privacy": "yes"},
        {"privacy": 1},
        {"model": "/"},
        {"model": []},
        {"expiresAt": 1},
        {"expiresAt": 1_700_000_000},
        {"expiresAt": "soon"},
        {"expiresAt": 10**17},
        {"meta": "x"},
        {"meta": {"_secret": 1}},
        {"meta": {"a": "x" * 70_000}},
        {"name": "x" * 1001},
        {"backstory": "x" * 65_537},
        {"contact": "x"},
        {"contact": {"fingerprint": 5}},
        {"messages": "x"},
        {"messages": {}},
    ],
)
def test_what_cannot_be_stored_is_refused_and_nothing_changes(client, context, body):
    conversation_id = created(client, name="before", source="é" * 100)
    before = rows(context, "SELECT * FROM conversations")
    refused(client.post(f"{API}/create", json=body), 400, "BAD_REQUEST")
    if "messages" not in body:
        refused(client.post(f"{API}/{conversation_id}/update", json=body), 400, "BAD_REQUEST")
    assert rows(context, "SELECT * FROM conversations") == before
    refused(client.post(f"{API}/{conversation_id}/update", json={"status": "gone"}), 400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "field",
    [
        *("name", "description", "meta", "botId", "backstory", "model", "datasetId", "skillsetId", "privacy"),
        *("moderation", "contactId", "contact", "taskId", "source", "expiresAt", "messages", "status"),
    ],
)
def test_any_value_in_any_field_of_a_conversation_is_stored_or_refused(client, world, field):
    with capture_logs() as logs:
        for value in VALUES:
            harmless(client.post(f"{API}/create", json={field: value}))
            harmless(client.post(f"{API}/{world.conversationId}/update", json={field: value}))
            harmless(client.post(f"{API}/create", json={"contact": {field: value}}))
            harmless(client.post(f"{API}/{world.conversationId}/contact/upsert", json={field: value}))
        harmless(client.get(f"{API}/list"))
    assert "geheim4711" not in json.dumps(logs, default=str)


def test_conversations_are_filtered_by_all_they_are_linked_to(client, links):
    plain = created(client, source="slack")
    linked = created(client, **links, source="widget")
    updated(client, plain, status="archived")
    for name in ("botId", "contactId", "taskId"):
        assert listed(client, **{name: links[name]}) == [linked]
    assert listed(client, source="widget") == [linked]
    assert listed(client, source="nowhere") == []
    assert listed(client, status="archived") == [plain]
    assert plain not in listed(client, status="active")
    assert listed(client, source="widget", contactId=links["contactId"], status="active") == [linked]
    assert listed(client, source="widget", status="archived") == []
    refused(client.get(f"{API}/list", params={"status": "gone"}), 400, "BAD_REQUEST")


def test_conversations_are_filtered_by_meta_and_walked_in_both_orders(client):
    made = [created(client, meta={"even": n % 2 == 0}) for n in range(5)]
    assert listed(client, **{"meta.even": "true"}) == [made[4], made[2], made[0]]
    assert listed(client, order="asc", take="2", cursor=made[1]) == made[2:4]


def test_a_search_finds_words_of_names_descriptions_and_messages(client, context, account):
    named = created(client, name="Invoice 4711 for Zoë")
    described = created(client, description="about an INVOICE, late")
    said = created(
        client, messages=[{"type": "user", "text": "Where is my invoice?"}, {"type": "bot", "text": "Here."}]
    )
    other = created(client, name="Weather", messages=[{"type": "user", "text": "Will it rain"}])
    theirs = an_account(context, "Grace")
    a_conversation(context, theirs, name="invoice")
    assert listed(client, search="invoice") == [said, described, named]
    assert listed(client, search="invoice", order="asc", take="2") == [named, described]
    assert listed(client, search="INVOICE -late") == [said, named]
    assert listed(client, search='"my invoice"') == [said]
    assert listed(client, search="zoë or rain") == [other, named]
    assert listed(client, search="invoice rain") == []
    assert listed(client, search="invoice", cursor=said) == [described, named]
    assert listed(client, search=" ") == [other, said, described, named]
    assert listed(client, search="!!! &|") == []
    message = client.get(f"{API}/{said}/message/list").json()["items"][0]["id"]
    client.post(f"{API}/{said}/message/{message}/update", json={"text": "Never mind."})
    assert listed(client, search="invoice") == [described, named]
    assert listed(client, search="mind") == [said]


def test_a_search_for_what_is_everywhere_looks_through_the_newest(client, monkeypatch):
    monkeypatch.setattr("core.search.RARE", 2)
    made = [created(client, messages=[{"type": "user", "text": f"hello {n}"}] * 2) for n in range(4)]
    named = created(client, name="hello")
    created(client, name="other")
    assert listed(client, search="hello") == [named, *made[::-1]]
    assert listed(client, search="hello", cursor=made[2], take="1") == [made[1]]
    assert listed(client, search="hello 3") == [made[3]]


def test_a_search_that_takes_too_long_is_refused(client, monkeypatch):
    from sqlalchemy import text

    monkeypatch.setattr("core.search.TIME", text("SET LOCAL statement_timeout = '50ms'"))
    monkeypatch.setattr("core.search.SAID", text("SELECT pg_sleep(5), :account, :words, :most"))
    refused(client.get(f"{API}/list", params={"search": "x"}), 400, "BAD_REQUEST")
    assert client.get(f"{API}/list").status_code == 200


SEARCHES = [
    "\x00",
    "'",
    "'''",
    '"',
    "\\",
    ":*",
    "a:b",
    "!",
    "-",
    "--",
    "(((",
    "&&&",
    "| | |",
    "or or or",
    "-a -b -c",
    "x" * 1001,
    "x " * 500,
    "😀",
    "\u202e",
    "'; DROP TABLE messages; --",
    "<->",
    "a<->b",
    "%",
    "_",
    "\ud800",
]


@pytest.mark.parametrize("words", SEARCHES, ids=range(len(SEARCHES)))
def test_no_search_is_a_fault(client, words):
    created(client, name="x", messages=[{"type": "user", "text": "a b"}])
    harmless(client.get(f"{API}/list", params={"search": words.encode("utf-8", "surrogatepass")}))
    harmless(client.get(f"{API}/export", params={"search": words.encode("utf-8", "surrogatepass")}))


def test_an_export_is_a_list_a_stream_or_a_table(client):
    made = [created(client, name=name, meta={"a": 1}) for name in ("=cmd()", "Zoë 😀", "c")]
    assert [item["id"] for item in client.get(f"{API}/export").json()["items"]] == made[::-1]
    lines = client.get(f"{API}/export", headers={"Accept": "application/jsonl"}).text.splitlines()
    assert [json.loads(line)["data"]["id"] for line in lines] == made[::-1]
    table = client.get(f"{API}/export", headers={"Accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    found = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["id"] for row in found] == made[::-1]
    assert [row["name"] for row in found] == ["c", "Zoë 😀", "'=cmd()"]
    only = client.get(f"{API}/export", params={"search": "zoë"}).json()["items"]
    assert [item["id"] for item in only] == [made[1]]


def test_votes_are_recorded_beside_the_conversation(client, context):
    conversation_id = created(client, contact={"fingerprint": "f"})
    assert client.post(f"{API}/{conversation_id}/upvote", json={}).json() == {"id": conversation_id}
    assert client.post(f"{API}/{conversation_id}/upvote", json={"value": 5}).json() == {"id": conversation_id}
    down = {"value": -7, "reason": "Too long."}
    assert client.post(f"{API}/{conversation_id}/downvote", json=down).json() == {"id": conversation_id}
    ratings = rows(
        context, "SELECT value, reason, contact_id IS NOT NULL AS known FROM ratings ORDER BY value"
    )
    assert ratings == [
        {"value": -7, "reason": "Too long.", "known": True},
        {"value": 100, "reason": None, "known": True},
    ]
    assert one(context, "SELECT count(*) FROM messages") == 0
    for path, value in (("upvote", 0), ("upvote", -1), ("upvote", 101), ("downvote", 1), ("upvote", "x")):
        answer = client.post(f"{API}/{conversation_id}/{path}", json={"value": value})
        refused(answer, 400, "BAD_REQUEST")


def test_a_contact_is_upserted_and_linked(client, context):
    conversation_id = created(client)
    upsert = f"{API}/{conversation_id}/contact/upsert"
    first = client.post(upsert, json={"fingerprint": "f", "name": "Ada"}).json()["id"]
    assert fetched(client, conversation_id)["contactId"] == first
    same = client.post(upsert, json={"email": "ada@example.com", "meta": {"a": 1}}).json()["id"]
    assert same == first
    stored = rows(context, "SELECT name, email, meta FROM contacts")
    assert stored == [{"name": "Ada", "email": "ada@example.com", "meta": {"a": 1}}]
    other = client.post(upsert, json={"fingerprint": "g"}).json()["id"]
    assert fetched(client, conversation_id)["contactId"] == other != first
    refused(client.post(upsert, json={"email": "nobody"}), 400, "BAD_REQUEST")
    nobody = created(client)
    made = client.post(f"{API}/{nobody}/contact/upsert", json={"name": "Bo"}).json()["id"]
    assert fetched(client, nobody)["contactId"] == made not in {first, other}


def test_usage_counts_tokens_and_messages_in_whole_numbers(client, context, account, leases):
    turn = a_pending_turn(context, account)
    carry_out(context, leases, turn.id, worker="w", delivery="d")
    usage = client.get(f"{API}/{turn.conversation_id}/usage/fetch").json()
    run = the_run(context, turn.id)
    assert usage == {"tokens": run["input_tokens"] + run["output_tokens"], "messages": 2}
    assert usage["tokens"] > 0

    def between(**params):
        return client.get(f"{API}/{turn.conversation_id}/usage/fetch", params=params)

    assert between(**{"from": "2020-01-01", "to": "2021-01-01"}).json() == {"tokens": 0, "messages": 0}
    assert between(**{"from": "2020-01-01T00:00:00Z", "to": "2100-01-01"}).json() == usage
    for wrong in ("soon", "2020-13-01", "\x00", "9" * 400, "2020-01-01T00:00+99:00"):
        refused(between(**{"from": wrong}), 400, "BAD_REQUEST")
        refused(between(to=wrong), 400, "BAD_REQUEST")
    assert client.get(f"{API}/{created(client)}/usage/fetch").json() == {"tokens": 0, "messages": 0}


def test_a_conversation_of_the_api_can_be_answered(client, context, account, leases):
    from core.talking import receive

    bot = a_bot(context, account)
    conversation_id = created(client, botId=str(bot.id), messages=[{"type": "user", "text": "Hello?"}])
    with context.transaction(account) as session:
        run = receive(session, conversation_id)
    assert carry_out(context, leases, run.id, worker="w", delivery="d") == "succeeded"
    items = client.get(f"{API}/{conversation_id}/message/list").json()["items"]
    assert [item["type"] for item in items] == ["user", "bot"]
