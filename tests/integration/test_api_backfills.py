"""Backfills through our own routes, in the style of the dialect."""

from __future__ import annotations

import pytest

from api.chatbotkit.shapes import BackfillAnswer, BackfillPlan
from core.advancing import advance_backfills
from tests.factories import a_task, one, rows

API = "/api/v1"
FIRST, LAST = 1_577_836_800_000, 1_577_840_400_000  # 2020-01-01T00:00Z and an hour later


@pytest.fixture
def task_id(context, account):
    return str(a_task(context, account, schedule="0 * * * *", timezone="Europe/Berlin").id)


def created(client, task_id, **body):
    body = {"from": "2020-01-01T00:00Z", "until": "2020-01-01T02:00Z", **body}
    return client.post(f"{API}/task/{task_id}/backfill/create", json=body)


def fetched(client, backfill_id):
    answer = client.get(f"{API}/backfill/{backfill_id}/fetch")
    assert answer.status_code == 200, answer.text
    return BackfillAnswer.model_validate(answer.json()).model_dump(by_alias=True, exclude_unset=True)


def test_a_backfill_is_created_watched_paused_resumed_and_cancelled(client, context, task_id):
    answer = created(client, task_id, atOnce=2, pace=30, prompt="Look back.", unknown=1)
    assert answer.status_code == 200, answer.text
    plan = BackfillPlan.model_validate(answer.json()).model_dump(exclude_unset=True)
    backfill_id = plan.pop("id")
    assert plan == {"total": 2, "toRun": 2, "first": FIRST, "last": LAST, "ledger": {}}
    backfill = fetched(client, backfill_id)
    assert (backfill["taskId"], backfill["state"], backfill["from"]) == (task_id, "pending", FIRST)
    assert (backfill["atOnce"], backfill["pace"], backfill["prompt"]) == (2, 30, "Look back.")
    assert (backfill["all"], backfill["timezone"], backfill["left"]) == (False, "Europe/Berlin", 2)
    assert advance_backfills(context) == 1
    assert fetched(client, backfill_id)["underWay"] == 2
    (run,) = client.get(f"{API}/run/list", params={"take": 1}).json()["items"]
    assert (run["trigger"], run["backfillId"]) == ("backfill", backfill_id)
    for verb, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert client.post(f"{API}/backfill/{backfill_id}/{verb}", json={}).json() == {"id": backfill_id}
        assert fetched(client, backfill_id)["state"] == state
    listed = client.get(f"{API}/task/{task_id}/backfill/list").json()
    assert listed == {
        "items": [client.get(f"{API}/backfill/{backfill_id}/fetch").json()],
        "cursor": backfill_id,
    }
    again = client.post(f"{API}/backfill/{backfill_id}/resume")
    assert (again.status_code, again.json()["code"]) == (409, "CONFLICT")


def test_a_dry_run_has_no_id_and_stores_nothing(client, context, task_id):
    answer = created(client, task_id, dryRun=True)
    assert answer.json() == {"total": 2, "toRun": 2, "first": FIRST, "last": LAST, "ledger": {}}
    assert one(context, "SELECT count(*) FROM jobs") == 0


def test_a_range_is_read_as_milliseconds_or_as_local_time_of_the_task(client, task_id):
    for since in (FIRST, float(FIRST), "2020-01-01T01:00", "2020-01-01T00:00:00+00:00"):
        assert created(client, task_id, dryRun=True, **{"from": since}).json()["first"] == FIRST


@pytest.mark.parametrize(
    "body",
    [
        {"from": None},
        {"from": True},
        {"from": -1},
        {"from": 1.5},
        {"from": 10**30},
        {"from": []},
        {"from": "geheim"},
        {"until": 253_402_300_799_999},
        {"until": "9999-12-31"},
        {"from": FIRST, "until": FIRST},
        {"all": "yes"},
        {"all": 1},
        {"dryRun": None},
        {"atOnce": 0},
        {"atOnce": 101},
        {"atOnce": "1"},
        {"pace": 0},
        {"pace": 2**63},
        {"prompt": ""},
        {"prompt": {}},
        {"from": 0},
    ],
)
def test_a_backfill_that_cannot_be_is_refused_with_a_sentence(client, context, task_id, body):
    answer = created(client, task_id, **body)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST"), answer.text
    assert "geheim" not in answer.text
    assert one(context, "SELECT count(*) FROM jobs") == 0


def test_a_range_must_be_given(client, task_id):
    answer = client.post(f"{API}/task/{task_id}/backfill/create", json={})
    assert answer.status_code == 400
    assert answer.json()["message"] == "from: Field required; until: Field required"


def test_a_deleted_task_shows_no_backfills_but_they_are_still_there(client, context, task_id):
    backfill_id = created(client, task_id).json()["id"]
    client.post(f"{API}/task/{task_id}/delete")
    assert client.get(f"{API}/task/{task_id}/backfill/list").status_code == 404
    assert fetched(client, backfill_id)["state"] == "cancelled"
    assert rows(context, "SELECT finished_at IS NOT NULL AS ended FROM jobs") == [{"ended": True}]
