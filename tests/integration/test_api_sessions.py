"""Session tokens: a browser talks in one conversation, and does nothing else."""

from __future__ import annotations

import uuid

import pytest

from api.app import make_app
from core.accounts import close_account
from core.session_tokens import sweep_session_tokens
from models import Account
from tests.api import a_client, a_secret, a_signed_in_browser
from tests.factories import a_conversation, an_account, execute, one, rows
from tests.integration.test_api_isolation import BODIES, asked, everything_of, ids_of, refused

HERE = "/api/v1/conversation/{conversationId}"
THEIRS = {("get", f"{HERE}/message/list")} | {
    ("post", f"{HERE}/{verb}") for verb in ("message/create", "send", "receive", "complete")
}
OTHERS = [route for route in BODIES if route not in THEIRS]
HOUR = 3600_000


def a_session(client, conversation_id, **body):
    answer = client.post(f"/api/v1/conversation/{conversation_id}/session/create", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def browser(context, client, world):
    """The API, asked with the token of a session in the world's conversation."""
    return a_client(context, a_session(client, world.conversationId)["token"])


def test_a_session_is_a_token_for_one_conversation_and_an_hour(context, client, world):
    now = one(context, "SELECT extract(epoch FROM now()) * 1000")
    made = a_session(client, world.conversationId)
    assert made.keys() == {"id", "token", "expiresAt"}
    assert made["id"] == world.conversationId
    assert made["token"].startswith("cts_")
    assert len(made["token"]) == 47
    assert abs(made["expiresAt"] - float(now) - HOUR) < 60_000
    assert a_session(client, world.conversationId)["token"] != made["token"]


@pytest.mark.parametrize("seconds", [1800, 86_400, 7200.0, None])
def test_a_session_lasts_as_long_as_it_was_asked_for(context, client, world, seconds):
    now = one(context, "SELECT extract(epoch FROM now()) * 1000")
    made = a_session(client, world.conversationId, durationInSeconds=seconds)
    assert abs(made["expiresAt"] - float(now) - (seconds or 3600) * 1000) < 60_000


@pytest.mark.parametrize("seconds", [1799, 86_401, 0, -1, 10**30, -(2**63), 1800.5, "3600", True, [3600]])
def test_no_session_is_shorter_or_longer_or_nonsense(context, client, world, seconds):
    for path in (f"conversation/{world.conversationId}", f"bot/{world.botId}"):
        answer = client.post(f"/api/v1/{path}/session/create", json={"durationInSeconds": seconds})
        refused(answer, 400, "BAD_REQUEST")
    assert one(context, "SELECT count(*) FROM session_tokens") == 0
    assert one(context, "SELECT count(*) FROM conversations WHERE source = 'api'") == 0


def test_only_the_hash_of_a_session_token_is_stored(context, client, world):
    token = a_session(client, world.conversationId)["token"]
    assert token not in str(rows(context, "SELECT * FROM session_tokens"))


def test_a_session_token_lists_the_messages_of_its_conversation(browser, client, world):
    path = f"/api/v1/conversation/{world.conversationId}/message/list"
    assert browser.get(path).json() == client.get(path).json()
    assert browser.get(path.removeprefix("/api")).json()["items"]


@pytest.mark.parametrize("route", OTHERS, ids=" ".join)
def test_a_session_token_opens_no_other_route(route, context, account, browser, world):
    before = everything_of(context, account)
    answer = asked(browser, route, **ids_of(world))
    refused(answer, 403, "NOT_AUTHORIZED")
    assert answer.headers["x-failure-code"] == "NOT_AUTHORIZED"
    assert everything_of(context, account) == before


def test_the_routes_that_take_session_tokens_are_those_of_the_contract(context):
    marked = {
        (method, route.path)
        for route in _routes(make_app(context))
        for method in route.methods
        if getattr(route.endpoint, "takes_session_tokens", False)
    }
    turns = {"send", "receive", "complete", "message/create"}
    allowed = {("POST", f"/conversation/{{conversationId}}/{verb}") for verb in turns}
    allowed |= {("GET", "/conversation/{conversationId}/message/list")}
    assert marked <= allowed
    assert ("GET", "/conversation/{conversationId}/message/list") in marked


def _routes(app):
    from fastapi.routing import APIRoute, iter_route_contexts

    for found in iter_route_contexts(app.routes):
        if isinstance(found.original_route, APIRoute):
            yield found.original_route


def test_a_session_token_opens_no_other_conversation(context, account, browser, world):
    sibling = a_conversation(context, account).id
    foreign = a_conversation(context, an_account(context, "Grace")).id
    for other in (sibling, foreign, uuid.uuid4(), "nonsense", "%00", world.conversationId + "x"):
        answer = browser.get(f"/api/v1/conversation/{other}/message/list")
        refused(answer, 403, "NOT_AUTHORIZED")


def test_an_expired_session_is_401(context, browser, world):
    execute(context, "UPDATE session_tokens SET expires_at = now()")
    answer = browser.get(f"/api/v1/conversation/{world.conversationId}/message/list")
    refused(answer, 401, "NOT_AUTHENTICATED")
    assert sweep_session_tokens(context) == 1
    assert one(context, "SELECT count(*) FROM session_tokens") == 0


def test_a_session_goes_with_its_conversation_and_closes_with_its_account(
    context, account, client, browser, world
):
    path = f"/api/v1/conversation/{world.conversationId}/message/list"
    with context.transaction() as session:
        close_account(session, session.get(Account, account))
    refused(browser.get(path), 401, "NOT_AUTHENTICATED")
    execute(context, "UPDATE accounts SET closed_at = NULL")
    assert browser.get(path).status_code == 200
    assert client.post(f"/api/v1/conversation/{world.conversationId}/delete").status_code == 200
    refused(browser.get(path), 401, "NOT_AUTHENTICATED")
    assert one(context, "SELECT count(*) FROM session_tokens") == 0


@pytest.mark.parametrize("token", ["cts_", "cts_" + "x" * 43, "cts_\xe9", "cts_" + "x" * 10_000])
def test_a_session_token_that_is_none_is_401(context, world, token):
    client = a_client(context)
    headers = {"Authorization": f"Bearer {token}".encode("latin-1")}
    path = f"/api/v1/conversation/{world.conversationId}/message/list"
    refused(client.get(path, headers=headers), 401, "NOT_AUTHENTICATED")


def test_a_session_token_opens_neither_pages_nor_metrics(context, account, browser):
    from dataclasses import replace

    token = browser.headers["authorization"].removeprefix("Bearer ")
    visitor = a_client(context)
    visitor.cookies.set("crontalk", token)
    assert visitor.get("/").status_code == 401
    beyond = replace(context, settings=context.settings.model_copy(update={"host": "0.0.0.0"}))
    assert a_client(beyond, token).get("/metrics").status_code == 401
    assert a_signed_in_browser(context, account).get("/").status_code == 200


def test_a_bot_session_is_a_new_conversation_with_what_was_said_before(context, client, world):
    said = [{"type": "user", "text": "Hello", "id": "ignored"}, {"type": "bot", "text": "Hello, you."}]
    body = {"messages": said, "meta": {"page": "home"}, "durationInSeconds": 1800}
    made = client.post(f"/api/v1/bot/{world.botId}/session/create", json=body).json()
    assert made["id"] == world.botId
    assert made["messages"] == [{"type": each["type"], "text": each["text"]} for each in said]
    conversation = client.get(f"/api/v1/conversation/{made['conversationId']}/fetch").json()
    assert (conversation["botId"], conversation["meta"]) == (world.botId, {"page": "home"})
    visitor = a_client(context, made["token"])
    listed = visitor.get(f"/api/v1/conversation/{made['conversationId']}/message/list").json()["items"]
    assert [(each["type"], each["text"]) for each in listed] == [("user", "Hello"), ("bot", "Hello, you.")]
    assert "messages" not in client.post(f"/api/v1/bot/{world.botId}/session/create", json={}).json()


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"type": "user"}]},
        {"messages": [{"text": "x"}]},
        {"messages": [{"type": "shout", "text": "x"}]},
        {"messages": [{"type": "user", "text": ""}]},
        {"messages": [{"type": "user", "text": 7}]},
        {"messages": "x"},
        {"messages": [{"type": "user", "text": "x"}] * 101},
        {"messages": [{"type": "user", "text": "x"}, {"type": "user", "text": " "}]},
        {"meta": "x"},
        {"meta": {"_hidden": 1}},
    ],
)
def test_a_bot_session_that_cannot_begin_leaves_no_conversation(context, client, world, body):
    before = one(context, "SELECT count(*) FROM conversations")
    refused(client.post(f"/api/v1/bot/{world.botId}/session/create", json=body), 400, "BAD_REQUEST")
    assert one(context, "SELECT count(*) FROM conversations") == before


def test_a_session_asked_for_twice_under_a_key_has_one_token(context, client, world):
    key = {"Idempotency-Key": "k"}
    for path, body in (
        (f"/api/v1/conversation/{world.conversationId}/session/create", {}),
        (f"/api/v1/bot/{world.botId}/session/create", {"messages": [{"type": "user", "text": "geheim4711"}]}),
    ):
        first, again = (client.post(path, json=body, headers=key) for _ in range(2))
        assert first.json() == again.json()
        assert again.headers["idempotency-replayed"] == "true"
        stored = str(rows(context, "SELECT * FROM idempotency_keys"))
        assert first.json()["token"] not in stored
        assert "geheim4711" not in stored
        conversation = first.json().get("conversationId", world.conversationId)
        visitor = a_client(context, again.json()["token"])
        assert visitor.get(f"/api/v1/conversation/{conversation}/message/list").status_code == 200
        key = {"Idempotency-Key": "another"}
    assert one(context, "SELECT count(*) FROM session_tokens") == 2


def test_another_token_or_a_session_that_is_gone_is_not_told_again(context, account, client, world):
    path, key = f"/api/v1/conversation/{world.conversationId}/session/create", {"Idempotency-Key": "k"}
    assert client.post(path, headers=key).status_code == 200
    refused(a_client(context, a_secret(context, account)).post(path, headers=key), 409, "CONFLICT")
    execute(context, "DELETE FROM session_tokens")
    refused(client.post(path, headers=key), 409, "CONFLICT")


def test_a_session_does_not_listen_to_the_channels_of_its_account(context, client, world, browser):
    function = {"name": "ask", "description": "Asks.", "parameters": {"type": "object", "properties": {}}}
    body = {"functions": [{**function, "result": {"channel": "a-channel-of-others"}}]}
    before = one(context, "SELECT count(*) FROM runs")
    for path in ("receive", "complete"):
        answer = browser.post(f"/api/v1/conversation/{world.conversationId}/{path}", json=body)
        refused(answer, 403, "NOT_AUTHORIZED")
    assert one(context, "SELECT count(*) FROM runs") == before
