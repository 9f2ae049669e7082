"""Whoever asks, on every route: the matrix is made from the OpenAPI document."""

from __future__ import annotations

import re
import uuid
from contextlib import nullcontext

import pytest

from api.app import make_app
from tests.api import (
    World,
    a_client,
    a_revoked_secret,
    a_secret,
    a_world,
    an_expired_secret,
)
from tests.factories import an_account, rows
from tests.generalbots import TALK, a_contacts_secret
from tests.hands import hands

# What each route needs besides its path: a route that is not here fails the test that follows.
BODIES = {
    ("post", "/api/v1/task/create"): {"name": "x"},
    ("get", "/api/v1/task/list"): {},
    ("get", "/api/v1/task/export"): {},
    ("get", "/api/v1/task/{taskId}/fetch"): {},
    ("post", "/api/v1/task/{taskId}/update"): {"name": "x"},
    ("post", "/api/v1/task/{taskId}/delete"): {},
    ("post", "/api/v1/task/{taskId}/trigger"): {},
    ("post", "/api/v1/task/{taskId}/cancel"): {},
    ("post", "/api/v1/task/{taskId}/pause"): {},
    ("post", "/api/v1/task/{taskId}/resume"): {},
    ("get", "/api/v1/task/{taskId}/preview"): {},
    ("get", "/api/v1/task/{taskId}/why"): {"at": "2030-01-01T00:00:00Z"},
    ("get", "/api/v1/task/{taskId}/history"): {},
    ("get", "/api/v1/task/{taskId}/execution/list"): {},
    ("post", "/api/v1/task/{taskId}/execution/{executionId}/cancel"): {},
    ("post", "/api/v1/task/{taskId}/subscription/create"): {
        "kind": "webhook",
        "target": "https://hooks.example/other",
    },
    ("get", "/api/v1/task/{taskId}/subscription/list"): {},
    ("post", "/api/v1/task/{taskId}/subscription/{subscriptionId}/update"): {"includeText": True},
    ("post", "/api/v1/task/{taskId}/subscription/{subscriptionId}/delete"): {},
    ("post", "/api/v1/task/{taskId}/subscription/{subscriptionId}/test"): {},
    ("get", "/api/v1/task/{taskId}/delivery/list"): {},
    ("post", "/api/v1/task/{taskId}/delivery/{deliveryId}/redeliver"): {},
    ("post", "/api/v1/task/{taskId}/backfill/create"): {"from": "2020-01-01", "until": 1_577_858_400_000},
    ("get", "/api/v1/task/{taskId}/backfill/list"): {},
    ("get", "/api/v1/backfill/{backfillId}/fetch"): {},
    ("post", "/api/v1/backfill/{backfillId}/pause"): {},
    ("post", "/api/v1/backfill/{backfillId}/resume"): {},
    ("post", "/api/v1/backfill/{backfillId}/cancel"): {},
    ("post", "/api/v1/job/create"): {"kind": "annotate", "all": True},
    ("post", "/api/v1/job/preview"): {"what": "messages", "filter": {"all": True}},
    ("post", "/api/v1/job/migrate"): {"baseUrl": "https://chat.example", "token": "x"},
    ("get", "/api/v1/job/list"): {},
    ("post", "/api/v1/job/{jobId}/confirm"): {"confirmation": "x"},
    ("get", "/api/v1/job/{jobId}/receipt"): {},
    ("get", "/api/v1/job/{jobId}/fetch"): {},
    ("post", "/api/v1/job/{jobId}/pause"): {},
    ("post", "/api/v1/job/{jobId}/resume"): {},
    ("post", "/api/v1/job/{jobId}/cancel"): {},
    ("post", "/api/v1/job/{jobId}/undo"): {},
    ("post", "/api/v1/job/{jobId}/subscribe"): {},
    ("get", "/api/v1/job/{jobId}/error/list"): {},
    ("post", "/api/v1/job/upload"): {"file": {"type": "text/csv", "size": 5, "name": "e.csv"}},
    ("get", "/api/v1/privacy/policy/fetch"): {},
    ("post", "/api/v1/privacy/policy/update"): {"policy": {"preset": "strict"}},
    ("post", "/api/v1/privacy/preview"): {"text": "x@example.com", "policy": {"preset": "tokenise"}},
    ("get", "/api/v1/bot/{botId}/privacy/policy/fetch"): {},
    ("post", "/api/v1/bot/{botId}/privacy/policy/update"): {"policy": None},
    ("get", "/api/v1/conversation/{conversationId}/privacy/policy/fetch"): {},
    ("post", "/api/v1/conversation/{conversationId}/privacy/policy/update"): {"policy": {"model": True}},
    ("get", "/api/v1/run/list"): {},
    ("get", "/api/v1/run/{runId}/fetch"): {},
    ("post", "/api/v1/run/{runId}/cancel"): {},
    ("post", "/api/v1/conversation/create"): {"name": "x", "messages": [{"type": "user", "text": "x"}]},
    ("get", "/api/v1/conversation/list"): {},
    ("get", "/api/v1/conversation/export"): {},
    ("get", "/api/v1/conversation/{conversationId}/fetch"): {},
    ("post", "/api/v1/conversation/{conversationId}/update"): {"name": "x"},
    ("post", "/api/v1/conversation/{conversationId}/delete"): {},
    ("post", "/api/v1/conversation/{conversationId}/upvote"): {},
    ("post", "/api/v1/conversation/{conversationId}/downvote"): {},
    ("post", "/api/v1/conversation/{conversationId}/contact/upsert"): {"name": "x"},
    ("get", "/api/v1/conversation/{conversationId}/usage/fetch"): {},
    ("post", "/api/v1/conversation/{conversationId}/message/create"): {"type": "user", "text": "x"},
    ("post", "/api/v1/conversation/{conversationId}/message/batch/create"): {
        "items": [{"type": "user", "text": "x"}]
    },
    ("get", "/api/v1/conversation/{conversationId}/message/list"): {},
    ("get", "/api/v1/conversation/{conversationId}/message/{messageId}/fetch"): {},
    ("post", "/api/v1/conversation/{conversationId}/message/{messageId}/update"): {"text": "x"},
    ("post", "/api/v1/conversation/{conversationId}/message/{messageId}/delete"): {},
    ("post", "/api/v1/conversation/{conversationId}/message/{messageId}/reveal"): {},
    ("post", "/api/v1/retention/rule/create"): {"source": "x", "deleteAfter": "30d"},
    ("get", "/api/v1/retention/rule/list"): {},
    ("get", "/api/v1/retention/rule/{ruleId}/fetch"): {},
    ("post", "/api/v1/retention/rule/{ruleId}/update"): {"deleteAfter": "60d"},
    ("post", "/api/v1/retention/rule/{ruleId}/delete"): {},
    ("post", "/api/v1/retention/rule/{ruleId}/run"): {},
    ("post", "/api/v1/retention/simulate"): {"deleteAfter": "30d"},
    ("post", "/api/v1/retention/hold/create"): {"all": True},
    ("get", "/api/v1/retention/hold/list"): {},
    ("post", "/api/v1/retention/hold/{holdId}/delete"): {},
    ("get", "/api/v1/erasure/list"): {},
    ("get", "/api/v1/erasure/{erasureId}/fetch"): {},
    ("get", "/api/v1/audit/list"): {},
    ("post", "/api/v1/conversation/{conversationId}/message/{messageId}/upvote"): {},
    ("post", "/api/v1/conversation/{conversationId}/message/{messageId}/downvote"): {},
    ("post", "/api/v1/bot/create"): {"name": "x"},
    ("get", "/api/v1/bot/list"): {},
    ("get", "/api/v1/bot/{botId}/fetch"): {},
    ("post", "/api/v1/bot/{botId}/update"): {"name": "x"},
    ("post", "/api/v1/bot/{botId}/clone"): {},
    ("post", "/api/v1/bot/{botId}/delete"): {},
    ("post", "/api/v1/bot/{botId}/upvote"): {"reason": "x"},
    ("post", "/api/v1/bot/{botId}/downvote"): {"value": -7},
    ("get", "/api/v1/bot/{botId}/usage/fetch"): {"from": "2020-01-01"},
    ("post", "/api/v1/bot/{botId}/memory/search"): {"search": "x"},
    ("post", "/api/v1/contact/create"): {"name": "x"},
    ("post", "/api/v1/contact/ensure"): {"fingerprint": "x"},
    ("get", "/api/v1/contact/list"): {},
    ("get", "/api/v1/contact/export"): {},
    ("get", "/api/v1/contact/{contactId}/fetch"): {},
    ("post", "/api/v1/contact/{contactId}/update"): {"name": "x"},
    ("post", "/api/v1/contact/{contactId}/delete"): {},
    ("get", "/api/v1/contact/{contactId}/conversation/list"): {},
    ("get", "/api/v1/contact/{contactId}/task/list"): {},
    ("get", "/api/v1/contact/{contactId}/rating/list"): {},
    ("get", "/api/v1/contact/{contactId}/space/list"): {},
    ("get", "/api/v1/contact/{contactId}/secret/list"): {},
    ("get", "/api/v1/contact/{contactId}/memory/list"): {},
    ("post", "/api/v1/memory/create"): {"text": "x"},
    ("get", "/api/v1/memory/list"): {},
    ("get", "/api/v1/memory/export"): {},
    ("post", "/api/v1/memory/search"): {"search": "x"},
    ("get", "/api/v1/memory/{memoryId}/fetch"): {},
    ("post", "/api/v1/memory/{memoryId}/update"): {"text": "y"},
    ("post", "/api/v1/memory/{memoryId}/delete"): {},
    ("get", "/api/v1/usage/fetch"): {},
    ("get", "/api/v1/usage/series/fetch"): {},
    ("get", "/api/v1/usage/list"): {},
    ("get", "/api/v1/platform/model/list"): {},
    ("get", "/api/v1/team/list"): {},
    ("post", "/api/v1/conversation/{conversationId}/session/create"): {},
    ("post", "/api/v1/conversation/{conversationId}/send"): {"text": "x"},
    ("post", "/api/v1/conversation/{conversationId}/receive"): {},
    ("post", "/api/v1/conversation/{conversationId}/complete"): {"text": "x"},
    ("post", "/api/v1/conversation/{conversationId}/compact"): {},
    ("post", "/api/v1/conversation/{conversationId}/dispatch"): {"text": "x"},
    ("post", "/api/v1/conversation/complete"): {"messages": [{"type": "user", "text": "x"}]},
    ("post", "/api/v1/conversation/dispatch"): {"messages": [{"type": "user", "text": "x"}]},
    ("post", "/api/v1/task/{taskId}/subscribe"): {},
    ("post", "/api/v1/channel/{channelId}/publish"): {"message": {}},
    ("post", "/api/v1/channel/{channelId}/subscribe"): {},
    ("post", "/api/v1/bot/{botId}/session/create"): {},
    ("get", "/api/v1/event/log/list"): {},
    ("get", "/api/v1/event/log/export"): {},
    ("post", "/api/v1/event/log/subscribe"): {"historyLength": 10},
    ("post", "/api/v1/conversation/{conversationId}/attachment/upload"): {"file": "data:,x"},
    ("post", "/api/v1/Attachment/{conversationId}/upload"): {"file": {"type": "text/plain", "size": 1}},
    ("get", "/api/v1/conversation/{conversationId}/attachment/list"): {},
    ("get", "/api/v1/conversation/{conversationId}/attachment/{attachmentId}/download"): {},
    ("post", "/api/v1/conversation/{conversationId}/attachment/{attachmentId}/delete"): {},
    ("post", "/api/v1/file/create"): {"name": "x"},
    ("get", "/api/v1/file/list"): {},
    ("get", "/api/v1/file/{fileId}/fetch"): {},
    ("post", "/api/v1/file/{fileId}/update"): {"name": "x"},
    ("post", "/api/v1/file/{fileId}/delete"): {},
    ("post", "/api/v1/file/{fileId}/upload"): {"file": "data:,x"},
    ("get", "/api/v1/file/{fileId}/download"): {},
    ("post", "/api/v1/file/{fileId}/sync"): {},
    ("post", "/api/v1/dataset/create"): {"name": "x"},
    ("get", "/api/v1/dataset/list"): {},
    ("get", "/api/v1/dataset/{datasetId}/fetch"): {},
    ("post", "/api/v1/dataset/{datasetId}/update"): {"name": "x"},
    ("post", "/api/v1/dataset/{datasetId}/delete"): {},
    ("post", "/api/v1/dataset/{datasetId}/search"): {"search": "x"},
    ("post", "/api/v1/dataset/{datasetId}/record/create"): {"text": "x"},
    ("get", "/api/v1/dataset/{datasetId}/record/list"): {},
    ("get", "/api/v1/dataset/{datasetId}/record/export"): {},
    ("get", "/api/v1/dataset/{datasetId}/record/{recordId}/fetch"): {},
    ("post", "/api/v1/dataset/{datasetId}/record/{recordId}/update"): {"text": "x"},
    ("post", "/api/v1/dataset/{datasetId}/record/{recordId}/delete"): {},
    ("get", "/api/v1/dataset/{datasetId}/file/list"): {},
    ("post", "/api/v1/dataset/{datasetId}/file/{fileId}/attach"): {"type": "source"},
    ("post", "/api/v1/dataset/{datasetId}/file/{fileId}/detach"): {"deleteRecords": True},
    ("post", "/api/v1/dataset/{datasetId}/file/{fileId}/sync"): {},
    ("post", "/api/v1/skillset/create"): {"name": "x"},
    ("get", "/api/v1/skillset/list"): {},
    ("get", "/api/v1/skillset/{skillsetId}/fetch"): {},
    ("post", "/api/v1/skillset/{skillsetId}/update"): {"name": "x"},
    ("post", "/api/v1/skillset/{skillsetId}/delete"): {},
    ("post", "/api/v1/skillset/{skillsetId}/ability/create"): {"name": "x"},
    ("get", "/api/v1/skillset/{skillsetId}/ability/list"): {},
    ("get", "/api/v1/skillset/{skillsetId}/ability/export"): {},
    ("get", "/api/v1/skillset/{skillsetId}/ability/{abilityId}/fetch"): {},
    ("post", "/api/v1/skillset/{skillsetId}/ability/{abilityId}/update"): {"name": "x"},
    ("post", "/api/v1/skillset/{skillsetId}/ability/{abilityId}/delete"): {},
    ("post", "/api/v1/skillset/{skillsetId}/ability/{abilityId}/execute"): {"input": "{}"},
    ("post", "/api/v1/secret/create"): {"name": "x", "value": "a-secret"},
    ("get", "/api/v1/secret/list"): {},
    ("get", "/api/v1/secret/{secretId}/fetch"): {},
    ("post", "/api/v1/secret/{secretId}/update"): {"value": "another"},
    ("post", "/api/v1/secret/{secretId}/delete"): {},
}
# What a route needs beside `read` or `write`.
ALSO_NEEDS = {("post", "/api/v1/conversation/{conversationId}/message/{messageId}/reveal"): ("pii:read",)}
# Answered with bytes as they are, so with no shape.
BYTES = {("get", "/api/v1/conversation/{conversationId}/attachment/{attachmentId}/download")}
OPEN = {("get", "/health/live"), ("get", "/health/ready"), ("get", "/health/work"), ("get", "/metrics")}
FILTERS = {
    "/api/v1/task/list": {"botId": "botId", "contactId": "contactId"},
    "/api/v1/run/list": {"taskId": "taskId"},
    "/api/v1/conversation/list": {"taskId": "taskId", "botId": "botId"},
}
PLACES = re.compile(r"{(\w+)}")
# A channel is a name of the caller's in its own account: nobody else's, and never unknown.
OWN_NAMES = {"channelId"}
ROUTES = list(BODIES)
WITH_IDS = [route for route in ROUTES if set(PLACES.findall(route[1])) - OWN_NAMES]
WAITING = ("/receive", "/complete", "/compact")  # a worker has to carry the turn out


def asked(client, route, *, headers=None, **ids):
    method, path = route
    given = {"json": BODIES[route]} if method == "post" else {"params": BODIES[route]}
    return client.request(method, path.format(**ids), headers=headers, **given)


def ids_of(world: World):
    return {name: str(value) for name, value in vars(world).items()}


def refused(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json().keys() == {"message", "code"}


@pytest.fixture
def foreign(context, leases):
    return a_world(context, an_account(context, "Grace"), leases)


def everything_of(context, account):
    """Every row of an account, as it is stored."""
    tables = (
        "tasks",
        "task_clocks",
        "runs",
        "conversations",
        "messages",
        "bots",
        "contacts",
        "ratings",
        "subscriptions",
        "deliveries",
        "jobs",
        "rate_buckets",
        "annotations",
        "session_tokens",
        "idempotency_keys",
        "attachments",
        "blobs",
        "blob_tickets",
        "files",
        "dataset_files",
        "datasets",
        "records",
        "skillsets",
        "abilities",
        "secrets",
        "erasures",
        "audit_events",
        "retention_rules",
        "legal_holds",
        "memories",
        "pii_tokens",
    )
    return {
        table: rows(context, f"SELECT * FROM {table} WHERE account_id = :id ORDER BY 1", id=account)
        for table in tables
    }


def test_every_documented_route_is_in_the_matrix(context):
    paths = make_app(context).openapi()["paths"]
    documented = {(method, path) for path, methods in paths.items() for method in methods}
    assert documented == BODIES.keys() | TALK.keys() | OPEN


def test_every_route_of_the_dialect_is_documented_and_mirrored(context):
    app = make_app(context)
    served = {(method.lower(), path) for path, methods in routes_of(app) for method in methods}
    documented = {(m, path) for path, methods in app.openapi()["paths"].items() for m in methods}
    api = {route for route in served if route[1].startswith("/api/v1/")} - {("get", "/api/v1/spec")}
    assert api == documented - OPEN - TALK.keys()
    assert {(m, path.removeprefix("/api")) for m, path in api} == {
        route for route in served if route[1].startswith("/v1/")
    } - {("get", "/v1/spec")}


def routes_of(app):
    """(path, methods) of every route, those of included routers as well."""

    def walk(routes, prefix=""):
        for route in routes:
            if hasattr(route, "methods"):
                yield prefix + route.path, route.methods
            elif hasattr(route, "original_router"):  # a WebSocket has neither
                inner = route.original_router.routes
                yield from walk(inner, prefix + route.include_context.prefix)

    return walk(app.routes)


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_no_route_answers_without_a_valid_token(route, context, account, world, nobody):
    secrets = {
        "none": None,
        "malformed": "Bearer",
        "empty": "Bearer ",
        "another scheme": f"Basic {a_secret(context, account)}",
        "unknown": "Bearer ct_" + "x" * 43,
        "not ASCII": b"Bearer ct_\xff\xfe",
        "very long": "Bearer " + "x" * 10_000,
        "revoked": f"Bearer {a_revoked_secret(context, account)}",
        "expired": f"Bearer {an_expired_secret(context, account)}",
    }
    before = everything_of(context, account)
    for secret in secrets.values():
        headers = {} if secret is None else {"Authorization": secret}
        answer = asked(nobody, route, headers=headers, **ids_of(world))
        refused(answer, 401, "NOT_AUTHENTICATED")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert everything_of(context, account) == before


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_no_api_route_takes_a_cookie(route, context, account, world, nobody):
    secret = a_secret(context, account)
    for name in ("crontalk", "__Host-crontalk"):
        nobody.cookies.set(name, secret)
    refused(asked(nobody, route, **ids_of(world)), 401, "NOT_AUTHENTICATED")


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_a_scope_opens_what_it_names_and_nothing_else(route, context, account, leases, world):
    opens = "read" if route[0] == "get" else "write"
    other = "write" if opens == "read" else "read"
    answer = asked(a_client(context, a_secret(context, account, (other,))), route, **ids_of(world))
    refused(answer, 403, "NOT_AUTHORIZED")
    assert answer.headers["x-failure-code"] == "NOT_AUTHORIZED"
    with hands(context, leases) if route[1].endswith(WAITING) else nullcontext():
        also = ALSO_NEEDS.get(route, ())
        if also:
            answer = asked(a_client(context, a_secret(context, account, (opens,))), route, **ids_of(world))
            refused(answer, 403, "NOT_AUTHORIZED")
        answer = asked(a_client(context, a_secret(context, account, (opens, *also))), route, **ids_of(world))
    assert answer.status_code in {200, 409}, answer.text


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_a_contacts_token_opens_nothing_of_this_dialect(route, context, account, world):
    before = everything_of(context, account)
    secret = a_contacts_secret(context, account, uuid.UUID(world.contactId), ("read", "write", "pii:read"))
    refused(asked(a_client(context, secret), route, **ids_of(world)), 403, "NOT_AUTHORIZED")
    assert everything_of(context, account) == before


@pytest.mark.parametrize("route", WITH_IDS, ids=" ".join)
def test_another_accounts_ids_are_403_and_touch_nothing(route, context, client, world, foreign):
    before = everything_of(context, foreign.account)
    for place in set(PLACES.findall(route[1])) - OWN_NAMES:
        answer = asked(client, route, **{**ids_of(world), place: getattr(foreign, place)})
        refused(answer, 403, "NOT_AUTHORIZED")
        assert answer.headers["x-failure-code"] == "NOT_AUTHORIZED"
    assert everything_of(context, foreign.account) == before


@pytest.mark.parametrize("route", WITH_IDS, ids=" ".join)
def test_unknown_and_malformed_ids_are_404(route, client, world):
    for place in set(PLACES.findall(route[1])) - OWN_NAMES:
        for unknown in (
            str(uuid.uuid4()),
            "nonsense",
            "%00",
            "%ff",
            "..%2f..",
            "0",
            "-",
            "a" * 500,
            "%F0%9F%98%80",
        ):
            answer = asked(client, route, **{**ids_of(world), place: unknown})
            refused(answer, 404, "NOT_FOUND")


@pytest.mark.parametrize("path", FILTERS)
def test_filters_do_not_reach_into_other_accounts(path, client, world, foreign):
    for parameter, noun in FILTERS[path].items():
        mine, theirs = getattr(world, noun), getattr(foreign, noun)
        assert client.get(path, params={parameter: mine}).status_code == 200
        for value in (theirs, f"{mine},{theirs}"):
            refused(client.get(path, params={parameter: value}), 403, "NOT_AUTHORIZED")
        for value in (str(uuid.uuid4()), "nonsense", "\x00", ","):
            refused(client.get(path, params={parameter: value}), 404, "NOT_FOUND")


def test_lists_hold_the_callers_own_rows_only_whatever_the_cursor(client, world, foreign):
    theirs = set(ids_of(foreign).values())
    for method, path in ROUTES:
        if method != "get" or not path.endswith("/list"):
            continue
        for cursor in ("", foreign.taskId, foreign.runId, foreign.conversationId):
            for order in ("asc", "desc"):
                address = path.format(**ids_of(world))
                items = client.get(address, params={"cursor": cursor, "order": order}).json()["items"]
                assert not {str(v) for item in items for v in item.values()} & theirs


def test_another_accounts_bot_cannot_be_used(client, world, foreign):
    for path in ("task/create", f"task/{world.taskId}/update"):
        answer = client.post(f"/api/v1/{path}", json={"name": "x", "botId": foreign.botId})
        refused(answer, 403, "NOT_AUTHORIZED")


def test_fields_the_server_sets_cannot_be_written(client, context, world, foreign):
    answer = client.post(
        "/api/v1/task/create",
        json={
            "name": "x",
            "id": foreign.taskId,
            "account_id": str(foreign.account),
            "accountId": str(foreign.account),
            "state": "deleted",
            "status": "running",
            "consecutiveFailures": 7,
            "nextRunAt": 1,
            "createdAt": 1,
        },
    )
    (stored,) = rows(context, "SELECT * FROM tasks WHERE id = :id", id=uuid.UUID(answer.json()["id"]))
    assert stored["account_id"] == world.account
    assert (stored["state"], stored["consecutive_failures"]) == ("active", 0)


def test_a_token_revoked_a_moment_ago_opens_nothing(context, client, account):
    from core.accounts import list_tokens, revoke_token

    assert client.get("/api/v1/task/list").status_code == 200
    with context.transaction(account) as session:
        for token in list_tokens(session):
            revoke_token(session, token.id)
    refused(client.get("/api/v1/task/list"), 401, "NOT_AUTHENTICATED")
