"""What an account is told of its use, of the models there are, and of itself."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from itertools import pairwise

from core.firing import fire
from core.turns import carry_out
from tests.api import a_client, a_secret
from tests.factories import a_due_task, a_pending_run, an_account, execute, one, rows

API = "/api/v1"
DAY = 86_400_000


def answered(client, path, **params):
    answer = client.get(f"{API}/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def use(context, account, ago, slot=0, **counts):
    values = {"conversations": 0, "messages": 0, "input_tokens": 0, "output_tokens": 0, **counts}
    execute(
        context,
        "INSERT INTO usage_days (account_id, day, slot, conversations, messages, input_tokens, output_tokens)"
        " VALUES (:account, current_date - CAST(:ago AS int), :slot, :conversations, :messages,"
        " :input_tokens, :output_tokens)",
        account=account,
        ago=ago,
        slot=slot,
        **values,
    )


def test_usage_is_the_sum_over_days_and_slots(client, context, account):
    use(context, account, 0, conversations=1, messages=2, input_tokens=3, output_tokens=4)
    use(context, account, 0, slot=7, conversations=10, messages=20, input_tokens=30, output_tokens=40)
    use(context, account, 400, messages=100)
    use(context, an_account(context, "Grace"), 0, messages=1000)
    told = answered(client, "usage/fetch")
    assert {name: told[name] for name in ("tokens", "conversations", "messages")} == {
        "tokens": 77,
        "conversations": 11,
        "messages": 122,
    }


def test_usage_tells_what_is_kept(client, context, account):
    dataset = uuid.uuid4()
    for owner in (account, an_account(context, "Grace")):
        execute(
            context,
            "INSERT INTO datasets (id, account_id, store) VALUES (gen_random_uuid(), :account, 'x')",
            account=owner,
        )
    execute(
        context,
        "INSERT INTO datasets (id, account_id, store) VALUES (:id, :account, 'x')",
        id=dataset,
        account=account,
    )
    execute(
        context,
        "INSERT INTO records (id, account_id, dataset_id, text)"
        " SELECT gen_random_uuid(), :account, :id, 'x' FROM generate_series(1, 3)",
        id=dataset,
        account=account,
    )
    assert answered(client, "usage/fetch")["database"] == {
        "datasets": 2,
        "records": 3,
        "skillsets": 0,
        "abilities": 0,
        "files": 0,
        "users": 0,
    }


def test_a_run_counts_its_conversation_its_prompt_and_its_answer(client, context, account, leases):
    run = a_pending_run(context, account)
    carry_out(context, leases, run.id, worker="w", delivery="d")
    a_due_task(context, account)
    a_due_task(context, account)
    fire(context)
    told = answered(client, "usage/fetch")
    assert (told["conversations"], told["messages"]) == (3, 4)
    assert told["tokens"] == one(context, "SELECT sum(input_tokens + output_tokens)::int FROM runs")


def test_the_series_has_ninety_days_with_or_without_use(client, context, account):
    use(context, account, 0, messages=2)
    use(context, account, 89, messages=5)
    use(context, account, 90, messages=7)
    series = answered(client, "usage/series/fetch")
    assert series.keys() == {"tokens", "conversations", "messages"}
    totals = [day["total"] for day in series["messages"]]
    assert totals == [5, *[0] * 88, 2]
    dates = [day["date"] for day in series["tokens"]]
    assert [b - a for a, b in pairwise(dates)] == [DAY] * 89
    assert dates[-1] == one(context, "SELECT extract(epoch FROM current_date)::bigint * 1000")


def test_the_list_tells_each_day_and_walks_in_pages(client, context, account):
    for ago in range(4):
        use(context, account, ago, conversations=1, messages=2 * (ago % 2), input_tokens=5)
    use(context, account, 10)  # Nothing but calls: it says nothing.
    use(context, an_account(context, "Grace"), 1, messages=9)
    whole = answered(client, "usage/list")["items"]
    assert [(item["type"], item["count"]) for item in whole] == [
        ("token", 5),
        ("conversation", 1),
        ("token", 5),
        ("message", 2),
        ("conversation", 1),
    ] * 2
    assert [item["createdAt"] for item in whole] == sorted(
        (item["createdAt"] for item in whole), reverse=True
    )
    for order, expected in (("desc", whole), ("asc", whole[::-1])):
        walked, cursor = [], ""
        while page := answered(client, "usage/list", take=3, cursor=cursor, order=order)["items"]:
            walked += page
            cursor = page[-1]["id"]
        assert walked == expected
    stream = client.get(f"{API}/usage/list", headers={"Accept": "application/jsonl"})
    assert [json.loads(line)["data"] for line in stream.text.splitlines()] == whole


def test_a_cursor_of_something_else_is_followed_by_something_or_nothing(client, context, account, world):
    for cursor in (world.taskId, str(uuid.uuid4()), str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1))):
        for order in ("asc", "desc"):
            answered(client, "usage/list", cursor=cursor, order=order)


def test_the_models_are_the_offline_one_and_the_configured_one(client, context, account):
    (offline,) = answered(client, "platform/model/list")["items"]
    assert (offline["id"], offline["type"], offline["provider"]) == ("offline", "language", "crontalk")
    assert offline["maxTokens"] == offline["maxInputTokens"] + offline["maxOutputTokens"]
    settings = context.settings.model_copy(
        update={"llm_model": "gpt-5-mini/temperature=0.2", "llm_base_url": "http://127.0.0.1:1"}
    )
    configured = a_client(replace(context, settings=settings), a_secret(context, account))
    page = answered(configured, "platform/model/list")
    assert [item["name"] for item in page["items"]] == ["gpt-5-mini", "offline"]
    assert "127.0.0.1" not in str(page)
    assert answered(configured, "platform/model/list", cursor=page["cursor"])["items"] == []
    assert len(answered(configured, "platform/model/list", take=1)["items"]) == 1


def test_the_account_is_a_team_of_one(client, context, account):
    page = answered(client, "team/list")
    (team,) = page["items"]
    assert (team["id"], team["name"]) == (str(account), rows(context, "SELECT name FROM accounts")[0]["name"])
    assert answered(client, "team/list", cursor=page["cursor"])["items"] == []
    assert answered(client, "team/list", cursor=page["cursor"], order="asc")["items"] == []
