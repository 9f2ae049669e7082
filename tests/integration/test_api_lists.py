"""Lists: take, cursor and order, on every list there is."""

from __future__ import annotations

import uuid

import pytest

from core.talking import send
from tests.factories import a_bot, a_conversation, a_task, execute, rows

API = "/api/v1"


def ids(client, path, **params):
    answer = client.get(f"{API}/{path}", params=params)
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert page["cursor"] == (page["items"][-1]["id"] if page["items"] else "")
    return [item["id"] for item in page["items"]]


@pytest.fixture
def five_tasks(context, account):
    return [str(a_task(context, account, name=f"t{n}").id) for n in range(5)]


def test_pages_walk_the_whole_list_newest_first_or_oldest_first(client, five_tasks):
    for order, expected in (("desc", five_tasks[::-1]), ("asc", five_tasks), ("sideways", five_tasks[::-1])):
        walked, cursor = [], ""
        while page := ids(client, "task/list", take=2, cursor=cursor, order=order):
            walked += page
            cursor = page[-1]
        assert walked == expected


@pytest.mark.parametrize(
    ("take", "length"),
    [
        ("2", 2),
        ("0", 5),
        ("-3", 1),
        ("many", 5),
        ("1e999", 5),
        ("nan", 5),
        ("9" * 5000, 5),
        ("2.9", 2),
        ("", 5),
    ],
)
def test_take_is_clamped(client, five_tasks, take, length):
    assert len(ids(client, "task/list", take=take)) == length


def test_take_never_exceeds_a_hundred(client, context, account):
    execute(
        context,
        "INSERT INTO bots (id, account_id, name) SELECT gen_random_uuid(), :account, 'b'"
        " FROM generate_series(1, 120)",
        account=account,
    )
    assert len(ids(client, "bot/list")) == len(ids(client, "bot/list", take=5000)) == 100


@pytest.mark.parametrize(
    "cursor", ["nonsense", "\x00", "..%2f", "'; DROP TABLE tasks", "\ud800".encode("utf-8", "surrogatepass")]
)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_cursor_that_is_no_id_is_followed_by_nothing(client, world, cursor, order):
    for path in (
        "task/list",
        "run/list",
        "bot/list",
        "conversation/list",
        f"conversation/{world.conversationId}/message/list",
        f"task/{world.taskId}/execution/list",
    ):
        assert ids(client, path, cursor=cursor, order=order) == []


def test_a_cursor_survives_the_deletion_of_its_row(client, context, account):
    conversations = [str(a_conversation(context, account).id) for _ in range(3)]
    cursor = ids(client, "conversation/list", take=1)[0]
    client.post(f"{API}/conversation/{cursor}/delete")
    assert ids(client, "conversation/list", cursor=cursor) == conversations[1::-1]


@pytest.fixture
def talk(context, account):
    conversation = a_conversation(context, account)
    with context.transaction(account) as session:
        messages = [str(send(session, conversation.id, f"m{n}").message.id) for n in range(5)]
    return conversation, messages


def test_messages_come_in_the_order_of_their_conversation(client, talk):
    conversation, messages = talk
    path = f"conversation/{conversation.id}/message/list"
    assert ids(client, path) == messages
    assert ids(client, path, order="desc") == messages[::-1]
    assert ids(client, path, cursor=messages[1], take=2) == messages[2:4]
    assert ids(client, path, cursor=messages[3], order="desc") == messages[2::-1]
    assert ids(client, path, cursor=messages[-1]) == []


def test_a_cursor_in_messages_survives_the_deletion_of_its_message(client, context, talk):
    conversation, _ = talk
    # Made in the same millisecond, ids do not tell the order; space them out.
    for row in rows(context, "SELECT id, seq FROM messages ORDER BY seq"):
        moved = uuid.UUID(int=row["id"].int + (row["seq"] << 80))
        execute(context, "UPDATE messages SET id = :new WHERE id = :old", new=moved, old=row["id"])
    path = f"conversation/{conversation.id}/message/list"
    stored = ids(client, path)
    execute(context, "DELETE FROM messages WHERE id = :id", id=uuid.UUID(stored[2]))
    assert ids(client, path, cursor=stored[2]) == stored[3:]
    assert ids(client, path, cursor=stored[2], order="desc") == stored[1::-1]


def test_conversations_are_filtered_by_task_and_bot(client, context, account, world):
    other = str(a_conversation(context, account, bot_id=world.botId).id)
    assert ids(client, "conversation/list", taskId=world.taskId) == [world.conversationId]
    assert ids(client, "conversation/list", botId=world.botId) == [other]
    both = [str(a_task(context, account).id), world.taskId]
    assert ids(client, "conversation/list", taskId=",".join(both)) == [world.conversationId]


def test_runs_are_filtered_by_task_and_state(client, world):
    assert ids(client, "run/list", taskId=world.taskId, state="succeeded,failed") == [world.runId]
    assert ids(client, "run/list", state="failed") == []
    assert client.get(f"{API}/run/list", params={"state": "tired"}).status_code == 400


@pytest.mark.parametrize("key", ["a b", "a,b", "a{b", "a}b", 'a"b', "a\\b", "NULL", "a ", "null,", "ä+", "5"])
def test_a_meta_filter_takes_any_key(client, context, account, key):
    bot = a_bot(context, account, meta={key: "x", "deep": {key: True}})
    a_bot(context, account, meta={"a": {"b": "x"}})
    for filter_ in ({f"meta[{key}]": "x"}, {f"meta.{key}": "x"}, {f"meta[deep][{key}]": "true"}):
        assert ids(client, "bot/list", **filter_) == [str(bot.id)]


@pytest.mark.parametrize("key", ["", " ", "{", "}", ",", '"', "\\", "{}", "a]["])
def test_a_meta_filter_by_a_key_that_nothing_has_finds_nothing(client, context, account, key):
    a_bot(context, account, meta={"a": "x"})
    for filter_ in ({f"meta[{key}]": "x"}, {f"meta[a][{key}]": "x"}, {f"meta[{key}]": "true"}):
        assert ids(client, "bot/list", **filter_) == []


def test_a_filter_takes_a_bounded_number_of_ids(client):
    many = ",".join(str(uuid.uuid4()) for _ in range(101))
    assert client.get(f"{API}/conversation/list", params={"taskId": many}).status_code == 400


def test_a_bot_is_created_listed_and_fetched(client, context, account):
    body = {"name": "Kim", "backstory": "Kind.", "model": "offline/latency=1", "privacy": None}
    bot_id = client.post(f"{API}/bot/create", json=body).json()["id"]
    bot = client.get(f"{API}/bot/{bot_id}/fetch").json()
    assert {key: bot[key] for key in ("name", "backstory", "model")} == {
        "name": "Kim",
        "backstory": "Kind.",
        "model": "offline/latency=1",
    }
    older = str(a_bot(context, account).id)
    assert set(ids(client, "bot/list")) >= {bot_id, older}


def test_a_list_is_answered_in_json_and_in_lines_only(client):
    for accept in ("*/*", "application/json", "text/html, application/*;q=0.8"):
        assert client.get(f"{API}/bot/list", headers={"Accept": accept}).status_code == 200
    for accept in ("text/csv", "text/event-stream", "image/png"):
        answer = client.get(f"{API}/bot/list", headers={"Accept": accept})
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")


def test_a_conversation_is_read_with_its_messages_and_deleted_for_good(client, context, world):
    conversation = client.get(f"{API}/conversation/{world.conversationId}/fetch").json()
    assert (conversation["taskId"], conversation["runId"]) == (world.taskId, world.runId)
    messages = client.get(f"{API}/conversation/{world.conversationId}/message/list").json()["items"]
    assert [message["type"] for message in messages] == ["user", "bot"]
    client.post(f"{API}/conversation/{world.conversationId}/delete", json={})
    assert client.get(f"{API}/conversation/{world.conversationId}/fetch").status_code == 404
    assert rows(context, "SELECT * FROM messages") == []
