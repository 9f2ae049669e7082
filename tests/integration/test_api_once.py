"""Idempotency keys: one effect, the same answer, and nothing of what was said."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest

from core.errors import KeyReused, Unavailable
from core.idempotency import begin, finish, kept, make_key, sweep_keys
from tests.api import a_client, a_secret
from tests.factories import an_account, execute, one, rows
from tests.hands import hands
from tests.integration.test_api_isolation import BODIES, WAITING, asked, everything_of, ids_of, refused

CREATE = "/api/v1/task/create"
MARKER = "geheim4711"
# These have no effect that a key could guard, the same effect however often, or take no key.
EFFECTLESS = ("/subscribe", "/v1/conversation/complete", "/upload", "/reveal", "/execute")
POSTS = [route for route in BODIES if route[0] == "post" and not route[1].endswith(EFFECTLESS)]


def under(key="k-1"):
    return {"Idempotency-Key": key}


@pytest.mark.parametrize("route", POSTS, ids=" ".join)
def test_every_write_sent_twice_under_a_key_has_one_effect_and_one_answer(
    route, context, client, account, leases, world
):
    with hands(context, leases) if route[1].endswith(WAITING) else nullcontext():
        first = asked(client, route, headers=under(), **ids_of(world))
    assert first.status_code in {200, 409}, first.text
    before = everything_of(context, account)
    again = asked(client, route, headers=under(), **ids_of(world))
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert everything_of(context, account) == before
    assert ("idempotency-replayed" in again.headers) is (first.status_code == 200)
    assert "idempotency-replayed" not in first.headers


def test_a_key_belongs_to_its_request(client, world):
    assert client.post(CREATE, json={"name": "a"}, headers=under()).status_code == 200
    for path, body in (
        (CREATE, {"name": "b"}),
        (CREATE, {"name": "a", "description": None}),
        (CREATE + "?x=1", {"name": "a"}),
        ("/api/v1/bot/create", {"name": "a"}),
        (f"/api/v1/task/{world.taskId}/update", {"name": "a"}),
    ):
        refused(client.post(path, json=body, headers=under()), 422, "UNPROCESSABLE_ENTITY")


def test_the_same_request_in_another_spelling_is_the_same(client):
    first = client.post(CREATE, content=b'{"name": "a", "timezone": null}', headers=under() | JSON)
    again = client.post(
        "/v1/task/create", content=b'{"timezone":null,"name":"\\u0061"}', headers=under() | JSON
    )
    assert first.json() == again.json()


JSON = {"Content-Type": "application/json"}


def test_a_key_of_another_account_is_another_key(context, client):
    stranger = a_client(context, a_secret(context, an_account(context, "Grace")))
    mine = client.post(CREATE, json={"name": "a"}, headers=under()).json()
    theirs = stranger.post(CREATE, json={"name": "b"}, headers=under()).json()
    assert mine["id"] != theirs["id"]


def test_a_request_without_a_key_or_that_only_reads_is_not_remembered(context, client):
    assert client.post(CREATE, json={"name": "a"}).status_code == 200
    assert client.get("/api/v1/task/list", headers=under()).status_code == 200
    assert client.get("/api/v1/task/list", headers=under("")).status_code == 200
    assert one(context, "SELECT count(*) FROM idempotency_keys") == 0


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "schlüssel".encode(), b"\x7f", b"\xff", "a,\tb"])
def test_a_key_that_is_none_is_a_400_and_has_no_effect(context, client, key):
    answer = client.post(CREATE, json={"name": "a"}, headers={"Idempotency-Key": key})
    refused(answer, 400, "BAD_REQUEST")
    assert one(context, "SELECT count(*) FROM tasks") == 0


def test_two_keys_at_once_are_none(client):
    answer = client.post(
        CREATE,
        content=b"{}",
        headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b"), ("Content-Type", "application/json")],
    )
    refused(answer, 400, "BAD_REQUEST")


def test_every_key_of_255_visible_characters_is_one(client):
    for key in ("~" * 255, "!", '"quoted"', str(uuid.uuid4())):
        assert client.post(CREATE, json={"name": "a"}, headers=under(key)).status_code == 200


def test_an_error_stores_nothing_and_the_key_may_be_tried_again(context, client, world):
    task = f"/api/v1/task/{world.taskId}/trigger"
    assert client.post(task, headers=under("other")).status_code == 200
    refused(client.post(task, headers=under()), 409, "CONFLICT")
    refused(client.post(CREATE, json={"schedule": "x"}, headers=under()), 400, "BAD_REQUEST")
    refused(client.post(CREATE, json={"name": 7}, headers=under()), 400, "BAD_REQUEST")
    assert one(context, "SELECT count(*) FROM idempotency_keys") == 1
    assert client.post(f"/api/v1/task/{world.taskId}/cancel").status_code == 200
    assert client.post(task, headers=under()).status_code == 200


def test_nothing_of_what_was_said_is_stored_with_a_key(context, client, world):
    body = {"name": MARKER, "description": MARKER}
    assert client.post(CREATE, json=body, headers=under(MARKER)).status_code == 200
    made = client.post(
        f"/api/v1/task/{world.taskId}/subscription/create",
        json={"kind": "webhook", "target": f"https://{MARKER}.example/in"},
        headers=under("second"),
    ).json()
    stored = rows(context, "SELECT * FROM idempotency_keys")
    assert MARKER not in str(stored)
    assert made["secret"] not in str(stored)
    assert {tuple(row["result"]) for row in stored} == {("id",)}


def test_a_secret_is_told_again_until_its_subscription_is_gone(client, world):
    path, body = (
        f"/api/v1/task/{world.taskId}/subscription/",
        {"kind": "webhook", "target": "https://a.example/"},
    )
    made = client.post(path + "create", json=body, headers=under()).json()
    assert made["secret"].startswith("whsec_")
    assert client.post(path + "create", json=body, headers=under()).json() == made
    assert client.post(f"{path}{made['id']}/delete").status_code == 200
    assert client.post(path + "create", json=body, headers=under()).json() == {"id": made["id"]}


def test_a_key_is_forgotten_after_a_day(context, client):
    first = client.post(CREATE, json={"name": "a"}, headers=under()).json()
    execute(context, "UPDATE idempotency_keys SET created_at = now() - interval '23 hours 59 minutes'")
    assert client.post(CREATE, json={"name": "a"}, headers=under()).json() == first
    execute(context, "UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 second'")
    second = client.post(CREATE, json={"name": "b"}, headers=under()).json()
    assert second["id"] != first["id"]
    assert client.post(CREATE, json={"name": "b"}, headers=under()).json() == second


def test_old_keys_are_swept(context, client):
    for key in ("old", "young"):
        client.post(CREATE, json={"name": key}, headers=under(key))
        if key == "old":
            execute(context, "UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    assert sweep_keys(context) == 1
    assert sweep_keys(context) == 0
    assert one(context, "SELECT count(*) FROM idempotency_keys") == 1


def test_thirty_at_once_under_one_key_have_one_effect(context, client):
    with ThreadPoolExecutor(10) as many:
        sent = [many.submit(client.post, CREATE, json={"name": "a"}, headers=under()) for _ in range(30)]
        answers = [each.result() for each in sent]
    assert {answer.status_code for answer in answers} == {200}, [a.text for a in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert one(context, "SELECT count(*) FROM tasks") == 1


def a_key(name="k", said="said"):
    return make_key(name, "owner", said)


def test_who_comes_second_waits_and_does_the_work_when_the_first_fails(context, account, eventually):
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor(1) as other:
        with context.transaction(account) as session:
            assert begin(session, a_key()) is None
            second = other.submit(_take, context, account)
            eventually(lambda: one(context, waiting))
            session.rollback()
        assert second.result(5) is None


def _take(context, account):
    with context.transaction(account) as session:
        return begin(session, a_key())


def test_who_waits_too_long_is_told_to_come_back(context, account):
    with context.transaction(account) as session:
        begin(session, a_key())
        with pytest.raises(Unavailable):
            _take(context, account)


def test_an_async_endpoint_may_begin_and_finish_in_a_transaction_of_its_own(context, account):
    made = str(uuid.uuid4())
    with context.transaction(account) as session:
        assert begin(session, a_key()) is None
        finish(session, a_key(), {"id": made, "text": "secret", "count": 2})
    assert _take(context, account) == {"id": made, "count": 2}
    with pytest.raises(KeyReused), context.transaction(account) as session:
        begin(session, a_key(said="something else"))


def test_what_is_kept_of_an_answer():
    some = str(uuid.uuid4())
    whole = {
        "id": some,
        "text": "My name is John.",
        "meta": {"age": 7},
        "right": True,
        "number": 1.5,
        "nothing": None,
        "items": [{"id": some, "originalId": "mine", "entities": []}, "word", some],
    }
    assert kept(whole) == {
        "id": some,
        "right": True,
        "number": 1.5,
        "items": [{"id": some, "entities": []}, None, some],
    }


def test_a_route_that_could_not_keep_the_promise_is_refused_when_the_api_starts(monkeypatch):
    from fastapi import APIRouter

    from api import chatbotkit

    careless = APIRouter(prefix="/bot")
    careless.add_api_route("/create", lambda: None, methods=["POST"])
    monkeypatch.setattr(chatbotkit.bots, "router", careless)
    with pytest.raises(TypeError, match="/bot/create needs a router with route_class=Route"):
        chatbotkit.make_router()
