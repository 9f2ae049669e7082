"""Nothing a client can send makes the server answer 5xx, and no answer repeats what was sent."""

from __future__ import annotations

import json
import random

import pytest
from structlog.testing import capture_logs

from tests.integration.test_api_isolation import BODIES, ids_of
from tests.unit.test_strict_json import HOSTILE

MARKER = "geheim4711"
VALUES = [
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    10**30,
    1.5,
    1e308,
    "",
    " ",
    "\n",
    MARKER,
    "x" * 2000,
    "é" * 300_000,
    "\u202e\ufeff\uffff😀",
    "'; DROP TABLE tasks; --",
    "<script>alert(1)</script>",
    "%s %n {0} ${x} {{x}}",
    "../../etc/passwd",
    [],
    [MARKER],
    {},
    {"$gt": ""},
    {"a": {"b": MARKER}},
    ["x"] * 10_000,
]
SCHEDULES = [
    "* * * * *",
    "0 0 30 2 *",
    "99 99 99 99 99",
    "@every 0s",
    "@every -1s",
    "@every 1e9999s",
    "@every 999999999999999999d",
    "@every 0.000001s",
    "@reboot",
    "24:61",
    "9999-12-31T23:59:59.999Z",
    "0000-00-00",
    "-99999-01-01",
    "2026-02-30",
    "*/0 * * * *",
    "1-0 * * * *",
    "0 0 1 1 * 99999",
    "R/5 * * * *",
    "H * * * *",
    "0 0 L * *",
    "٠ ٠ * * *",
    "Thu, 01 Jan 2099 00:00:00 GMT",
    "0 9 * * 1#9",
    ",".join(map(str, range(60))) * 50 + " * * * *",
]
ZONES = [
    "",
    "UTC",
    "../../etc/passwd",
    "/etc/localtime",
    "Europe",
    "posixrules",
    "x" * 5000,
    "Europe/Berlin\n",
    "é",
]
QUERIES = [
    "take=%00",
    "take=" + "9" * 4000,
    "take=0x10&take=-5",
    "cursor=%00",
    "cursor=%ff%fe",
    "cursor=%ed%a0%80",
    "cursor=" + "a" * 5000,
    "cursor[]=1",
    "order=%00",
    "order=asc;drop",
    "taskId=%00",
    "taskId=%ff",
    "taskId=,,,",
    "botId=*",
    "state=%00",
    "state=failed,%27",
    "status=%00",
    "count=1e3",
    "count=%00",
    "count=" + "9" * 5000,
    "meta.a=b&meta[x]=y&meta.=&meta",
    "&".join(f"k{n}" for n in range(10_000)),
    "%",
    "=&=&=",
    "a=%zz",
]
PATHS = [
    "/api/v1/task/..%2f..%2fetc/fetch",
    "/api/v1/task/%2e%2e/fetch",
    "/api/v1/task/%00/fetch",
    "/api/v1/task/%ed%a0%80/fetch",
    "/api/v1/task//fetch",
    "/api/v1//task/list",
    "/api/v1/task/list/",
    "/api/v1/task/{id}/fetch",
    "/api/v1/task/urn:uuid:00000000-0000-0000-0000-000000000000/fetch",
    "/api/v1/" + "a/" * 2000,
    "/api/v2/task/list",
    "/v1",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/assets/..%2ftemplates%2fbase.html",
    "/assets/../rendering.py",
    "/assets/",
    "/runs/%00",
    "/runs/nonsense",
    "/login/%00",
    "/login/%3Cscript%3E",
    "/favicon.ico",
]


def harmless(answer):
    assert answer.status_code < 500, (answer.status_code, answer.text)
    if answer.status_code >= 400 and answer.headers["content-type"] == "application/json":
        assert answer.json().keys() == {"message", "code"}
        assert MARKER not in answer.text
    return answer


@pytest.mark.parametrize(
    "field", ["name", "description", "botId", "action", "maxTime", "maxIterations", "maxTokens"]
)
def test_any_value_in_any_field_of_a_task_is_stored_or_refused(client, world, field):
    for value in VALUES:
        harmless(client.post("/api/v1/task/create", json={"name": "x", field: value}))
        harmless(client.post(f"/api/v1/task/{world.taskId}/update", json={field: value}))
    harmless(client.get("/api/v1/task/list"))


@pytest.mark.parametrize("field", ["schedule", "timezone"])
def test_any_schedule_and_zone_is_stored_or_refused(client, world, field):
    for value in [*VALUES, *SCHEDULES, *ZONES]:
        body = {"name": "x", "schedule": "daily", field: value}
        answer = harmless(client.post("/api/v1/task/create", json=body))
        if answer.status_code == 200:
            task_id = answer.json()["id"]
            harmless(client.get(f"/api/v1/task/{task_id}/fetch"))
            harmless(client.get(f"/api/v1/task/{task_id}/preview", params={"count": 5}))


@pytest.mark.parametrize("field", ["name", "description", "backstory", "model"])
def test_any_value_in_any_field_of_a_bot_is_stored_or_refused(client, field):
    for value in [*VALUES, "offline/latency=x", "/", "a/b=c=d/", "offline/" + "k=v/" * 5000]:
        harmless(client.post("/api/v1/bot/create", json={field: value}))
    harmless(client.get("/api/v1/bot/list"))


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
def test_any_query_on_any_route_is_served_or_refused(client, world, working, route):
    method, path = route
    for query in QUERIES:
        harmless(client.request(method, f"{path.format(**ids_of(world))}?{query}"))


def test_any_path_is_served_or_refused(client):
    for path in PATHS:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PROPFIND"):
            answer = client.request(method, path)
            assert 400 <= answer.status_code < 500 or path.startswith("/login/"), (method, path)


@pytest.mark.parametrize("route", [route for route in BODIES if route[0] == "post"], ids=" ".join)
def test_hostile_json_on_any_route_is_a_400(client, world, route):
    for body, _ in HOSTILE.values():
        answer = harmless(
            client.post(
                route[1].format(**ids_of(world)), content=body, headers={"Content-Type": "application/json"}
            )
        )
        assert answer.status_code == 400


def test_random_bytes_in_the_middle_of_a_good_body_do_no_harm(client):
    chance = random.Random(4711)
    good = json.dumps({"name": "x", "schedule": "daily", "timezone": "UTC", "maxTime": 900000}).encode()
    for _ in range(300):
        at, length = chance.randrange(len(good)), chance.randrange(1, 4)
        body = good[:at] + chance.randbytes(length) + good[at + chance.randrange(3) :]
        harmless(
            client.post("/api/v1/task/create", content=body, headers={"Content-Type": "application/json"})
        )


def test_hostile_headers_do_no_harm(client):
    for name, value in (
        ("Accept", "\xff"),
        ("Accept", "," * 5000),
        ("Content-Type", "application/json; charset=\xff"),
        ("Content-Length", "-5"),
        ("X-Timezone", "Mars/Olympus"),
        ("Cookie", "crontalk=\xff\xfe; =; ;;"),
        ("Host", "evil.example"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Forwarded-Proto", "https"),
    ):
        for path in ("/api/v1/task/list", "/", "/health/live"):
            harmless(client.get(path, headers={name: value.encode("latin-1")}))


def test_a_text_with_every_awkward_character_comes_back_as_it_was_sent(client):
    name = "\u202e\ufeff\u0301\uffff😀 ' \" \\ <b> & {{x}} %s \t\r\n"
    task_id = client.post("/api/v1/task/create", json={"name": name}).json()["id"]
    assert client.get(f"/api/v1/task/{task_id}/fetch").json()["name"] == name


def test_what_nobody_foresaw_is_a_500_that_tells_the_log_no_content(client, monkeypatch):
    from api.chatbotkit import bots

    def broken(*_, **__):
        raise ValueError(MARKER)

    monkeypatch.setattr(bots.bots, "list_bots", broken)
    with capture_logs() as lines:
        answer = client.get("/api/v1/bot/list")
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_SERVER_ERROR")
    assert MARKER not in answer.text
    (line,) = [line for line in lines if line["event"] == "request_failed"]
    assert line["error"] == "ValueError"
    assert MARKER not in str(lines)
    assert answer.headers["x-request-id"]
