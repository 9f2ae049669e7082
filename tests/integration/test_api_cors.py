"""Cross-origin requests: conversations may be talked in from any page, nothing else may be asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.api import a_client, a_secret, a_signed_in_browser

ORIGIN = {"Origin": "https://shop.example"}
ASKING = ORIGIN | {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}
NEEDED = {"authorization", "content-type", "accept", "x-timezone", "idempotency-key"}


@pytest.mark.parametrize("prefix", ["/api/v1", "/v1"])
@pytest.mark.parametrize(
    "path", ["/conversation/x/send", "/conversation/x/message/list", "/conversation/create"]
)
def test_a_page_of_any_origin_may_ask_in_conversations(nobody, prefix, path):
    answer = nobody.options(prefix + path, headers=ASKING)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert set(answer.headers["access-control-allow-headers"].split(", ")) == NEEDED
    assert set(answer.headers["access-control-allow-methods"].split(", ")) == {"GET", "POST"}
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_answers_and_errors_there_are_readable_for_it(client, nobody, world):
    path = f"/api/v1/conversation/{world.conversationId}/message/list"
    for asker, address in ((client, path), (nobody, path), (client, "/api/v1/conversation/x/fetch")):
        answer = asker.get(address, headers=ORIGIN)
        assert answer.headers["access-control-allow-origin"] == "*"
        shown = answer.headers["access-control-expose-headers"]
        for name in ("RateLimit-Remaining", "Retry-After", "X-Request-Id", "Idempotency-Replayed"):
            assert name in shown
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/login",
        "/runs/x",
        "/assets/crontalk.css",
        "/metrics",
        "/health/live",
        "/openapi.json",
        "/api/v1/spec",
        "/api/v1/task/list",
        "/api/v1/conversation",
        "/api/v1/conversations/x",
        "/nothing",
    ],
)
def test_nothing_else_is_open_to_other_origins(context, account, client, path):
    browser = a_signed_in_browser(context, account)
    for answer in (
        client.get(path, headers=ORIGIN),
        browser.get(path, headers=ORIGIN),
        client.options(path, headers=ASKING),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_question_that_is_no_preflight_is_405(nobody):
    for headers in ({}, ORIGIN, {"Access-Control-Request-Method": "POST"}):
        answer = nobody.options("/api/v1/conversation/list", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")


@pytest.fixture
def listed(context, account):
    settings = context.settings.model_copy(update={"origins": ORIGIN["Origin"]})
    return a_client(replace(context, settings=settings), a_secret(context, account))


@pytest.mark.parametrize("path", ["/start", "/x/messages", "/x/history", "", "/x"])
def test_a_page_of_a_listed_origin_may_ask_in_the_other_dialect(listed, path):
    answer = listed.options(f"/api/conversations{path}", headers=ASKING)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
    assert set(answer.headers["access-control-allow-methods"].split(", ")) == {"GET", "POST", "PATCH"}
    assert set(answer.headers["access-control-allow-headers"].split(", ")) == NEEDED
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_answers_and_errors_there_are_readable_for_it_alone(listed):
    for path, status in (("", 200), ("/x/history", 404)):
        answer = listed.get(f"/api/conversations{path}", headers=ORIGIN)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
        assert "X-RateLimit-Remaining" in answer.headers["access-control-expose-headers"]
        for other in ("https://other.example", "http://shop.example", "null", "https://shop.example.evil"):
            answer = listed.get(f"/api/conversations{path}", headers={"Origin": other})
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert answer.headers["vary"] == "Origin"
            asked = listed.options(f"/api/conversations{path}", headers={**ASKING, "Origin": other})
            assert not [name for name in asked.headers if name.startswith("access-control-")]


def test_with_no_origin_listed_the_other_dialect_is_closed_to_pages(client):
    for answer in (
        client.get("/api/conversations", headers=ORIGIN),
        client.options("/api/conversations/start", headers=ASKING),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
