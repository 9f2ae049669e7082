"""Bots over the API: the whole of their configuration, votes, clones, use and end."""

from __future__ import annotations

import json
import threading
import uuid

import pytest

from core.bots import delete_bot, find_bot
from core.errors import Conflict
from core.firing import fire
from core.talking import send
from core.turns import carry_out
from tests.factories import (
    a_bot,
    a_conversation,
    a_due_task,
    a_pending_turn,
    a_task,
    an_account,
    execute,
    one,
    rows,
)
from tests.integration.test_api_hostile import VALUES, harmless
from tests.integration.test_races import WAITING

API = "/api/v1"


def created(client, **body):
    answer = client.post(f"{API}/bot/create", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def fetched(client, bot_id):
    return client.get(f"{API}/bot/{bot_id}/fetch").json()


def changed(client, bot_id, **body):
    answer = client.post(f"{API}/bot/{bot_id}/update", json=body)
    assert answer.status_code == 200, answer.text
    return fetched(client, bot_id)


@pytest.fixture
def knowledge(context, account):
    """The ids of a dataset and a skillset of the account."""
    ids = uuid.uuid4(), uuid.uuid4()
    a_dataset(context, account, ids[0])
    execute(
        context, "INSERT INTO skillsets (id, account_id) VALUES (:id, :account)", id=ids[1], account=account
    )
    return tuple(map(str, ids))


def a_dataset(context, account, row_id):
    execute(
        context,
        "INSERT INTO datasets (id, account_id, store) VALUES (:id, :account, 'postgresql')",
        id=row_id,
        account=account,
    )


def test_a_bot_is_kept_with_all_of_its_configuration(client, knowledge):
    whole = {
        "name": "Kim",
        "description": "Helps.",
        "backstory": "You are kind.",
        "model": "offline/latency=1",
        "datasetId": knowledge[0],
        "skillsetId": knowledge[1],
        "privacy": True,
        "moderation": True,
        "visibility": "public",
        "alias": "kim",
        "meta": {"app": "x"},
    }
    bot = fetched(client, created(client, **whole, unknown=1))
    assert {name: bot[name] for name in whole} == whole


def test_a_bot_without_configuration_is_private_and_keeps_to_itself(client):
    bot = fetched(client, created(client))
    assert (bot["privacy"], bot["moderation"], bot["visibility"]) == (False, False, "private")
    assert bot.keys() == {"id", "privacy", "moderation", "visibility", "createdAt", "updatedAt"}


def test_an_update_changes_what_is_sent_and_null_clears(client, knowledge):
    bot_id = created(client, name="Kim", privacy=True, datasetId=knowledge[0], meta={"a": 1}, alias="kim")
    bot = changed(client, bot_id, backstory="Kind.", meta={"b": 2})
    assert (bot["name"], bot["backstory"], bot["privacy"]) == ("Kim", "Kind.", True)
    assert (bot["datasetId"], bot["meta"]) == (knowledge[0], {"a": 1, "b": 2})
    bot = changed(client, bot_id, datasetId=None, privacy=None, visibility=None, alias=None, meta=None)
    assert (bot["privacy"], bot["visibility"]) == (False, "private")
    assert bot.keys().isdisjoint({"datasetId", "alias", "meta"})
    assert bot["updatedAt"] >= bot["createdAt"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"name": "gpt-5-mini", "config": {"temperature": 0.2}}, "gpt-5-mini/temperature=0.2"),
        ({"name": "offline", "config": {}}, "offline"),
        ({"name": "offline"}, "offline"),
        ({"name": "a/b", "config": {"seed": 7, "json": True, "x": None}}, "a/b/seed=7/json=true"),
        ("gpt-5-mini/temperature=0.2", "gpt-5-mini/temperature=0.2"),
    ],
)
def test_a_model_is_a_string_or_a_name_with_a_config(client, given, kept):
    assert fetched(client, created(client, model=given))["model"] == kept


@pytest.mark.parametrize(
    "model",
    [
        "",
        "/",
        "offline/temperature=9",
        {},
        {"name": ""},
        {"name": 7},
        {"name": "x", "config": 7},
        {"name": "x", "config": {"a": []}},
        {"name": "x", "config": {"a": "b/c=d"}},
        {"name": "x", "config": {"temperature": 9}},
        ["offline"],
        7,
    ],
)
def test_a_model_that_is_neither_is_refused(client, model):
    assert client.post(f"{API}/bot/create", json={"model": model}).status_code == 400


def test_a_bot_knows_nothing_of_another_account(client, context, knowledge):
    theirs = uuid.uuid4()
    a_dataset(context, an_account(context, "Grace"), theirs)
    bot_id = created(client, datasetId=knowledge[0])
    for path in ("create", f"{bot_id}/update"):
        for wrong, status in ((str(theirs), 403), (str(uuid.uuid4()), 404), ("x", 404)):
            answer = client.post(f"{API}/bot/{path}", json={"datasetId": wrong})
            assert answer.status_code == status
        assert client.post(f"{API}/bot/{path}", json={"skillsetId": knowledge[0]}).status_code == 404
    assert fetched(client, bot_id)["datasetId"] == knowledge[0]


def test_a_clone_is_another_bot_like_it(client, context, account, knowledge):
    bot_id = created(client, name="Kim", backstory="Kind.", datasetId=knowledge[0], meta={"a": 1})
    answer = client.post(f"{API}/bot/{bot_id}/clone", json={})
    clone_id = answer.json()["id"]
    assert clone_id != bot_id
    apart = {"id", "createdAt", "updatedAt"}
    bot, clone = fetched(client, bot_id), fetched(client, clone_id)
    assert {k: v for k, v in clone.items() if k not in apart} == {
        k: v for k, v in bot.items() if k not in apart
    }


def test_a_clone_of_the_default_bot_is_not_the_default(client, context, account):
    with context.transaction(account) as session:
        default = find_bot(session, None)
    clone_id = client.post(f"{API}/bot/{default.id}/clone").json()["id"]
    assert "default" not in fetched(client, clone_id)


def test_a_deleted_bot_leaves_its_conversations_and_tasks(client, context, account):
    bot = a_bot(context, account)
    task = a_task(context, account, bot_id=bot.id, schedule="daily")
    conversation = a_conversation(context, account, bot_id=bot.id)
    assert client.post(f"{API}/bot/{bot.id}/delete", json={}).json() == {"id": str(bot.id)}
    assert client.get(f"{API}/bot/{bot.id}/fetch").status_code == 404
    task_left = client.get(f"{API}/task/{task.id}/fetch").json()
    assert "botId" not in task_left
    assert task_left["nextRunAt"]
    assert "botId" not in client.get(f"{API}/conversation/{conversation.id}/fetch").json()


def test_a_task_without_its_bot_writes_down_why_it_does_not_run(client, context, account):
    bot = a_bot(context, account)
    task = a_due_task(context, account, bot_id=bot.id)
    client.post(f"{API}/bot/{bot.id}/delete")
    fire(context)
    (run,) = rows(context, "SELECT state, reason FROM runs WHERE task_id = :id", id=task.id)
    assert (run["state"], run["reason"]) == ("skipped", "no_bot")
    answer = client.post(f"{API}/task/{task.id}/trigger")
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")


def test_a_trigger_that_meets_the_deletion_of_its_bot_is_a_conflict(client, context, account, eventually):
    bot = a_bot(context, account)
    task = a_task(context, account, bot_id=bot.id)
    answers = []
    trigger = threading.Thread(target=lambda: answers.append(client.post(f"{API}/task/{task.id}/trigger")))
    with context.transaction(account) as session:
        delete_bot(session, bot.id)
        trigger.start()
        eventually(lambda: one(context, WAITING) == 1)
    trigger.join(10)
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "CONFLICT")]


def test_the_default_bot_stays(client, context, account):
    with context.transaction(account) as session:
        default = find_bot(session, None).id
        with pytest.raises(Conflict):
            delete_bot(session, default)
    answer = client.post(f"{API}/bot/{default}/delete")
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert fetched(client, default)["default"] is True


def test_votes_are_recorded_with_their_reason_once_an_hour(client, context, account):
    bot = a_bot(context, account)
    for path, body in (
        ("upvote", {}),
        ("upvote", {"value": 5}),
        ("downvote", {"value": None, "reason": "Rude."}),
        ("downvote", {"value": -7}),
    ):
        assert client.post(f"{API}/bot/{bot.id}/{path}", json=body).json() == {"id": str(bot.id)}
    stored = rows(context, "SELECT value, reason, bot_id FROM ratings ORDER BY value")
    assert [(row["value"], row["reason"]) for row in stored] == [(-100, "Rude."), (100, None)]


def test_a_vote_has_the_sign_of_its_address(client, context, account):
    bot = a_bot(context, account)
    for path, value in (("upvote", -1), ("upvote", 101), ("downvote", 1), ("downvote", 0), ("upvote", 1.5)):
        assert client.post(f"{API}/bot/{bot.id}/{path}", json={"value": value}).status_code == 400
    assert rows(context, "SELECT * FROM ratings") == []


def test_the_use_of_a_bot_is_what_its_conversations_came_to(client, context, account, leases):
    bot = a_bot(context, account)
    run = a_pending_turn(context, account, bot_id=bot.id)
    carry_out(context, leases, run.id, worker="w", delivery="d")
    a_pending_turn(context, account)
    with context.transaction(account) as session:
        send(session, a_conversation(context, account, bot_id=bot.id).id, "Hello?")

    def use(**params):
        answer = client.get(f"{API}/bot/{bot.id}/usage/fetch", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    tokens = one(context, "SELECT input_tokens + output_tokens FROM runs WHERE id = :id", id=run.id)
    assert use() == {"tokens": tokens, "conversations": 2, "messages": 3}
    today = one(context, "SELECT current_date").isoformat()
    assert use(**{"from": today, "to": today}) == use()
    nothing = {"tokens": 0, "conversations": 0, "messages": 0}
    assert use(to="2020-12-31T23:59:59.999Z") == use(**{"from": "2999-01-01"}) == nothing


@pytest.mark.parametrize("bound", ["soon", "2026-02-30", "\x00", "9" * 5000, "0000-00-00"])
def test_a_span_that_is_none_is_refused(client, world, bound):
    for name in ("from", "to"):
        answer = client.get(f"{API}/bot/{world.botId}/usage/fetch", params={name: bound})
        assert answer.status_code == 400
    for name in ("from", "to"):
        answer = client.get(f"{API}/bot/{world.botId}/usage/fetch", params={name: "9999-12-31"})
        assert answer.status_code == 200


def test_a_bots_memories_are_searched(client, world):
    def found(words):
        answer = client.post(f"{API}/bot/{world.botId}/memory/search", json={"search": words})
        return answer.json()["items"]

    assert found("Tea, or what?") == [{"id": world.memoryId, "text": "Likes tea without milk."}]
    assert found("x") == []


def test_bots_are_streamed_and_filtered_by_meta(client):
    bot_id = created(client, meta={"app": "x"})
    created(client)
    stream = client.get(f"{API}/bot/list", params={"meta.app": "x"}, headers={"Accept": "application/jsonl"})
    assert [json.loads(line)["data"]["id"] for line in stream.text.splitlines()] == [bot_id]


@pytest.mark.parametrize(
    "field",
    [
        "name",
        "description",
        "backstory",
        "model",
        "datasetId",
        "skillsetId",
        "privacy",
        "moderation",
        "visibility",
        "alias",
        "meta",
    ],
)
def test_any_value_in_any_field_of_a_bot_is_stored_or_refused(client, world, field):
    for value in [*VALUES, "\x00", {"name": "x", "config": {"k": "v" * 5000}}, {"name": "\x00"}]:
        for verb in ("create", f"{world.botId}/update"):
            harmless(client.post(f"{API}/bot/{verb}", json={field: value}))
    harmless(client.get(f"{API}/bot/list"))


def test_any_vote_is_recorded_or_refused(client, world):
    for value in [*VALUES, "\x00"]:
        for field in ("value", "reason"):
            for path in ("upvote", "downvote"):
                harmless(client.post(f"{API}/bot/{world.botId}/{path}", json={field: value}))
