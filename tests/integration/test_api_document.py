"""The OpenAPI document is exact, and the pages below /docs show all of it."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from api.app import make_app
from api.chatbotkit.examples import EXAMPLES
from api.dashboard.assets import PLACES
from api.docs import base_url
from api.docs.views import curl, find_operation
from api.openapi import ALWAYS, OF_POSTS, WITHOUT_KEY, operations_of, resolved
from core.settings import Settings
from tests.api import a_client, a_secret
from tests.generalbots import TALK
from tests.integration.test_api_isolation import ALSO_NEEDS, BODIES, BYTES, OPEN, asked, ids_of

POSTS = [route for route in BODIES if route[0] == "post"]
LISTS = [route for route in BODIES if route[1].endswith("/list")]


@pytest.fixture(scope="module")
def document(session_context):
    return make_app(session_context).openapi()


def body_schema(operation, document):
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    parts = (resolved(part, document) for part in (schema, *schema.get("anyOf", [])))
    return next(part for part in parts if "properties" in part)


def test_the_document_is_served_in_three_places_and_refers_to_nothing_that_is_not_there(nobody, document):
    served = nobody.get("/api/v1/spec").json()
    assert served == nobody.get("/openapi.json").json() == nobody.get("/v1/spec").json()
    assert served == json.loads(json.dumps(document))
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)):
        assert resolved({"$ref": reference}, document)
    names = [operation["operationId"] for operation in operations_of(document)]
    assert len(names) == len(set(names))


def test_every_operation_says_what_it_does_and_what_opens_it(document):
    schemes = document["components"]["securitySchemes"]
    assert schemes["HTTPBearer"]["scheme"] == schemes["SessionToken"]["scheme"] == "bearer"
    for method, path in BODIES:
        operation = document["paths"][path][method]
        assert operation["security"][0] == {"HTTPBearer": []}
        assert operation["description"], path
        assert operation["tags"], path
    assert {tag["name"] for tag in document["tags"]} == {
        tag for operation in operations_of(document) for tag in operation["tags"]
    }
    listing = document["paths"]["/api/v1/conversation/{conversationId}/message/list"]["get"]
    assert listing["security"] == [{"HTTPBearer": []}, {"SessionToken": []}]
    assert document["paths"]["/api/v1/task/list"]["get"]["security"] == [{"HTTPBearer": []}]


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
def test_every_operation_lists_its_statuses_one_by_one(route, document):
    method, path = route
    operation = document["paths"][path][method]
    statuses = {int(status) for status in operation["responses"]}
    assert statuses >= {200} | ALWAYS
    assert (statuses >= OF_POSTS) is (method == "post")
    assert not statuses & OF_POSTS or method == "post"
    assert 405 not in statuses
    if "{" in path:
        assert 404 in statuses
    for status in statuses - {200}:
        part = resolved(operation["responses"][str(status)], document)
        assert part["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}
    limited = resolved(operation["responses"]["429"], document)["headers"]
    assert limited.keys() >= {"Retry-After", "X-Failure-Code", "RateLimit-Limit", "RateLimit-Reset"}
    assert operation["responses"]["200"]["headers"].keys() >= {"RateLimit-Remaining"}
    if route not in BYTES:
        assert "$ref" in operation["responses"]["200"]["content"]["application/json"]["schema"]


def test_not_found_stands_only_where_an_id_is_taken(document):
    paths = document["paths"]
    assert "404" not in paths["/api/v1/bot/list"]["get"]["responses"]
    assert "404" not in paths["/api/v1/contact/create"]["post"]["responses"]
    assert "404" in paths["/api/v1/task/create"]["post"]["responses"], "by its botId"
    assert "404" in paths["/api/v1/task/list"]["get"]["responses"], "by its filter"


def test_conflicts_stand_only_where_they_can_be(document):
    paths = document["paths"]
    conflicts = {
        path for path, methods in paths.items() for each in methods.values() if "409" in each["responses"]
    }
    assert "/api/v1/task/{taskId}/trigger" in conflicts
    held = ("bot", "contact", "conversation", "task", "memory")  # and all below a conversation
    assert {path for path in conflicts if path.endswith(("/fetch", "/list", "/delete"))} == {
        *(f"/api/v1/{noun}/{{{noun}Id}}/delete" for noun in held),
        "/api/v1/conversation/{conversationId}/message/{messageId}/delete",
        "/api/v1/conversation/{conversationId}/attachment/{attachmentId}/delete",
    }
    assert "/api/v1/task/create" not in conflicts


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
def test_no_operation_answers_a_status_it_does_not_document(route, document, client, nobody, world, working):
    method, path = route
    documented = document["paths"][path][method]["responses"].keys()
    ids = ids_of(world)
    answers = [
        asked(client, route, **ids),
        asked(client, route, **ids),
        asked(nobody, route, **ids),
        asked(client, route, **dict.fromkeys(ids, "nonsense")),
        asked(client, route, headers={"Accept": "image/png"}, **ids),
        asked(client, route, headers={"Idempotency-Key": ""}, **ids),
    ]
    if method == "post":
        address = path.format(**ids)
        answers += [
            client.post(address, content=b"{", headers={"Content-Type": "application/json"}),
            client.post(address, content=b"x", headers={"Content-Type": "text/plain"}),
            client.post(address, content=b"x" * 2_000_000),
        ]
    assert {str(answer.status_code) for answer in answers} <= documented


@pytest.mark.parametrize("route", POSTS, ids=" ".join)
def test_every_example_is_a_request_that_works(route, document, client, world, working):
    operation = document["paths"][route[1]]["post"]
    ids = ids_of(world)
    keyed = {"$ref": "#/components/parameters/IdempotencyKey"} in operation.get("parameters", ())
    assert keyed is not route[1].endswith(WITHOUT_KEY)
    if "requestBody" not in operation:
        return
    example = operation["requestBody"]["content"]["application/json"]["example"]
    schema = body_schema(operation, document)
    assert example.keys() <= schema["properties"].keys()
    answer = client.post(route[1].format(**ids), json=example)
    assert answer.status_code in {200, 409}, answer.text
    if operation["requestBody"]["required"]:
        assert client.post(route[1].format(**ids), json={}).status_code == 400


def test_every_example_belongs_to_an_operation(document):
    names = {operation["operationId"] for operation in operations_of(document)}
    assert EXAMPLES.keys() <= names


@pytest.mark.parametrize("route", LISTS, ids=" ".join)
def test_a_list_documents_the_lines_it_streams(route, document, client, world):
    operation = document["paths"][route[1]]["get"]
    content = operation["responses"]["200"]["content"]
    answer = client.get(route[1].format(**ids_of(world)), headers={"Accept": "application/jsonl"})
    assert (answer.status_code == 200) is ("application/jsonl" in content)
    if answer.status_code != 200:
        return
    line = content["application/jsonl"]["schema"]
    assert line["required"] == ["type", "data"]
    fields = resolved(line["properties"]["data"], document)["properties"]
    for said in answer.text.splitlines():
        event = json.loads(said)
        assert event["type"] == line["properties"]["type"]["const"]
        assert event["data"].keys() <= fields.keys()
    assert {"$ref": "#/components/parameters/Meta"} in operation.get("parameters", ())


def test_every_operation_has_a_page_that_the_index_links_to(nobody, document):
    index = nobody.get("/docs")
    assert (index.status_code, index.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for method, path in BODIES.keys() | TALK.keys() | OPEN:
        name = document["paths"][path][method]["operationId"]
        assert f'href="/docs/{name}"' in index.text
        answer = nobody.get(f"/docs/{name}")
        assert answer.status_code == 200
        assert path in answer.text
        assert "curl" in answer.text


def test_the_pages_hold_no_script_and_ask_nobody_else(nobody, document):
    for path in ("/docs", "/docs/create_task", "/docs/list_tasks", "/docs/metrics"):
        text = nobody.get(path).text
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", text)
        assert set(re.findall(r'(?:src|href)="([^"#]*)', text)) <= {
            "/",
            "",
            "/docs",
            "/openapi.json",
            *PLACES.values(),
            *(f"/docs/{operation['operationId']}" for operation in operations_of(document)),
        }


def test_an_operation_that_is_none_is_a_page_that_says_so(nobody):
    for name in ("nothing", "<script>", "%00", "x" * 500):
        answer = nobody.get(f"/docs/{name}")
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "<script>" not in answer.text


def test_a_page_shows_fields_statuses_and_an_example(nobody):
    text = nobody.get("/docs/create_task").text
    for word in ("schedule", "Idempotency-Key", "429", "Retry-After", "assertions.minLength", "30 9 * * 1-5"):
        assert word in text
    text = nobody.get("/docs/list_tasks").text
    for word in ("application/jsonl", "items[].nextRunAt", "data.nextRunAt", "meta[app]=x"):
        assert word in text
    assert "cts_…" in nobody.get("/docs/list_messages").text
    assert "cts_…" not in text.replace(
        "Where a route says so, also the token of a session: <code>cts_…</code>", ""
    )


@pytest.mark.parametrize("route", POSTS, ids=" ".join)
def test_the_curl_of_a_page_is_a_command_that_works(
    route, document, context, account, client, world, working
):
    if route in ALSO_NEEDS:
        client = a_client(context, a_secret(context, account, ("read", "write", *ALSO_NEEDS[route])))
    operation = document["paths"][route[1]]["post"]
    found = find_operation(document, operation["operationId"])
    example = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    words = shlex.split(curl(found, example, "http://127.0.0.1:8080").replace("\\\n", " "))
    assert words[0] == "curl"
    assert "Authorization: Bearer $CRONTALK_TOKEN" in words
    path = words[1].removeprefix("http://127.0.0.1:8080")
    for name, value in ids_of(world).items():
        path = path.replace("$" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper(), value)
    body = words[words.index("-d") + 1]
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {200, 409}, answer.text


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"host": "0.0.0.0", "port": 80}, "http://127.0.0.1:80"),
        ({"host": "::1"}, "http://[::1]:8080"),
        ({"public_url": "https://talk.example/x/"}, "https://talk.example/x"),
    ],
)
def test_examples_name_the_address_people_use(given, base):
    assert base_url(Settings(**given)) == base


@pytest.mark.parametrize("route", TALK, ids=" ".join)
def test_the_other_dialect_documents_its_own_errors_and_examples(route, document):
    method, path = route
    operation = document["paths"][path][method]
    assert operation["security"] == [{"HTTPBearer": []}]
    assert operation["tags"] == ["conversations"]
    assert operation["description"]
    keyed = {"$ref": "#/components/parameters/IdempotencyKey"} in operation.get("parameters", ())
    assert keyed is (method == "post")
    assert ("422" in operation["responses"]) is (method == "post")
    for status in operation["responses"].keys() - {"200"}:
        shape = operation["responses"][status]["content"]["application/json"]["schema"]
        assert shape == {"$ref": "#/components/schemas/TalkError"}
    assert "Retry-After" in operation["responses"]["429"]["headers"]
    assert ("X-RateLimit-Reset" in operation["responses"]["200"]["headers"]) is (method != "patch")
    assert operation["responses"].keys() >= {"200", "400", "401", "403", "404", "429", "503"}
    if method != "get":
        body = operation["requestBody"]["content"]["application/json"]
        assert body["example"].keys() <= body["schema"]["properties"].keys()
