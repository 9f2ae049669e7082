"""Ids of others in what is sent and asked for, not in the path: every field of every body, every filter."""

from __future__ import annotations

import pytest

from api.app import make_app
from tests.api import a_world
from tests.factories import an_account
from tests.integration.test_api_isolation import BODIES, everything_of, ids_of, refused

NAMES = {"taskId", "botId", "contactId", "conversationId", "messageId", "datasetId", "skillsetId", "secretId"}
NAMES |= {
    "fileId",
    "ruleId",
    "runId",
    "jobId",
    "backfillId",
    "abilityId",
    "recordId",
    "memoryId",
    "attachmentId",
}
# Which fields of a body name something.
LINKS = {
    "/api/v1/bot/create": ("datasetId", "skillsetId"),
    "/api/v1/bot/{botId}/update": ("datasetId", "skillsetId"),
    "/api/v1/conversation/complete": ("botId", "contactId", "datasetId", "skillsetId"),
    "/api/v1/conversation/create": ("botId", "contactId", "datasetId", "skillsetId", "taskId"),
    "/api/v1/conversation/dispatch": ("botId", "contactId", "datasetId", "skillsetId"),
    "/api/v1/conversation/{conversationId}/update": (
        "botId",
        "contactId",
        "datasetId",
        "skillsetId",
        "taskId",
    ),
    "/api/v1/job/create": ("botId", "contactId", "conversationId", "fileId"),
    "/api/v1/memory/create": ("botId", "contactId"),
    "/api/v1/memory/search": ("botId", "contactId"),
    "/api/v1/memory/{memoryId}/update": ("botId", "contactId"),
    "/api/v1/privacy/preview": ("botId", "conversationId"),
    "/api/v1/retention/hold/create": ("botId", "contactId", "conversationId", "taskId"),
    "/api/v1/retention/rule/create": ("botId", "taskId"),
    "/api/v1/retention/simulate": ("botId", "ruleId", "taskId"),
    "/api/v1/skillset/{skillsetId}/ability/create": ("botId", "fileId", "secretId"),
    "/api/v1/skillset/{skillsetId}/ability/{abilityId}/execute": ("contactId",),
    "/api/v1/skillset/{skillsetId}/ability/{abilityId}/update": ("botId", "fileId", "secretId"),
    "/api/v1/task/create": ("botId", "contactId"),
    "/api/v1/task/{taskId}/update": ("botId", "contactId"),
}
# What goes with a field where the body of the matrix does not.
INSTEAD = {
    ("/api/v1/job/create", "fileId"): {"kind": "import"},
    ("/api/v1/job/create", "contactId"): {"kind": "import"},
    ("/api/v1/retention/rule/create", "botId"): {"deleteAfter": "30d"},
    ("/api/v1/retention/rule/create", "taskId"): {"deleteAfter": "30d"},
    ("/api/v1/retention/simulate", "ruleId"): {},
    **{("/api/v1/retention/hold/create", name): {} for name in LINKS["/api/v1/retention/hold/create"]},
}
EVERY = [(path, name) for path, names in LINKS.items() for name in names]


@pytest.fixture
def foreign(context, leases):
    return a_world(context, an_account(context, "Grace"), leases)


def named(context, asked, of):
    """What the document names, by path: fields of what is posted or parameters of what is got."""
    document = make_app(context).openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method == asked and (method, path) in BODIES:
                names = NAMES & set(of(document, operation))
                if names:
                    yield path, tuple(sorted(names))


def in_body(document, operation):
    content = operation.get("requestBody", {}).get("content", {})
    shape = content.get("application/json", {}).get("schema", {})
    if "$ref" in shape:
        shape = document["components"]["schemas"][shape["$ref"].rsplit("/", 1)[1]]
    return shape.get("properties", {})


def in_query(document, operation):
    shared = document.get("components", {}).get("parameters", {})
    given = operation.get("parameters", [])
    given = [shared[one["$ref"].rsplit("/", 1)[1]] if "$ref" in one else one for one in given]
    return [one["name"] for one in given if one["in"] == "query"]


def test_every_field_of_a_body_that_names_something_is_in_the_matrix(context):
    assert dict(named(context, "post", in_body)) == LINKS


@pytest.mark.parametrize(("path", "name"), EVERY)
def test_another_accounts_id_in_a_body_is_403_and_touches_nothing(
    path, name, context, client, world, foreign
):
    before = everything_of(context, foreign.account), everything_of(context, world.account)
    given = INSTEAD.get((path, name), BODIES["post", path])
    needs = {"fileId": world.fileId} if name == "contactId" and path == "/api/v1/job/create" else {}
    answer = client.post(path.format(**ids_of(world)), json={**given, **needs, name: getattr(foreign, name)})
    refused(answer, 403, "NOT_AUTHORIZED")
    assert (everything_of(context, foreign.account), everything_of(context, world.account)) == before


def test_another_accounts_id_in_a_filter_is_403(context, client, world, foreign):
    filters = [(path, name) for path, names in named(context, "get", in_query) for name in names]
    assert len(filters) > 8
    for path, name in filters:
        given = {**BODIES["get", path], name: getattr(foreign, name)}
        answer = client.get(path.format(**ids_of(world)), params=given)
        assert (answer.status_code, answer.json().get("code")) == (403, "NOT_AUTHORIZED"), (path, name)
