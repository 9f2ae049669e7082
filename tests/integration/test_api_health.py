"""Health, metrics, headers and the OpenAPI document."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.metrics import is_loopback
from core.context import make_context
from core.database import make_engine
from core.firing import fire
from core.turns import carry_out
from tests.api import World, a_client, a_secret, a_signed_in_browser
from tests.factories import a_bot, a_due_task, a_pending_run, execute, one
from tests.integration.test_api_isolation import BODIES, ids_of

AWAY = "postgresql://crontalk@127.0.0.1:1/nowhere"
MARKER = "geheim4711"


@pytest.fixture
def away(settings):
    """The API with no database behind it."""
    context = make_context(settings.model_copy(update={"database_url": AWAY}), "api tests")
    yield a_client(context, "ct_some")
    context.close()


def test_live_needs_no_database(away):
    assert away.get("/health/live").json() == {"status": "live"}


def test_ready_means_the_database_answers_at_this_schema(nobody, context, away):
    assert nobody.get("/health/ready").json() == {"status": "ready"}
    version = one(context, "SELECT version_num FROM alembic_version")
    execute(context, "UPDATE alembic_version SET version_num = '0000'")
    try:
        answer = nobody.get("/health/ready")
    finally:
        execute(context, "UPDATE alembic_version SET version_num = :version", version=version)
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "reason": "schema"})
    answer = away.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "reason": "database"})


def test_an_empty_database_is_not_ready(settings, admin_url, nobody):
    from sqlalchemy import text

    from tests.servers import at_database

    admin = make_engine(admin_url, pool_size=2, name="tests")
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("DROP DATABASE IF EXISTS crontalk_empty"))
        connection.execute(text("CREATE DATABASE crontalk_empty OWNER crontalk"))
    admin.dispose()
    url = at_database(admin_url, user="crontalk", database="crontalk_empty")
    context = make_context(settings.model_copy(update={"database_url": url}), "api tests")
    try:
        answer = a_client(context).get("/health/ready")
    finally:
        context.close()
    assert (answer.status_code, answer.json()["reason"]) == (503, "schema")


def test_work_is_healthy_until_something_due_has_waited_for_half_a_minute(nobody, context, account):
    assert nobody.get("/health/work").status_code == 200
    run = a_pending_run(context, account)
    answer = nobody.get("/health/work")
    assert (answer.status_code, answer.json()["waiting"]) == (200, 1)
    execute(context, "UPDATE runs SET run_at = now() - interval '31 seconds' WHERE id = :id", id=run.id)
    answer = nobody.get("/health/work")
    assert (answer.status_code, answer.json()["status"]) == (503, "stuck")
    assert answer.json()["oldestSeconds"] >= 31


def test_work_is_stuck_when_no_scheduler_fires(nobody, context, account):
    a_due_task(context, account, late=timedelta(seconds=31))
    answer = nobody.get("/health/work")
    assert (answer.status_code, answer.json()["status"]) == (503, "stuck")
    assert answer.json()["schedulerLagSeconds"] >= 31
    fire(context)
    assert nobody.get("/health/work").json()["schedulerLagSeconds"] == 0


def test_work_without_a_database_is_503(away):
    assert away.get("/health/work").status_code == 503


def figures(text):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_what_the_rows_say(nobody, context, account, leases):
    done = a_pending_run(context, account)
    carry_out(context, leases, done.id, worker="w", delivery="d")
    empty = a_bot(context, account, model="offline/empty=1")
    failed = a_pending_run(context, account, bot_id=empty.id)
    execute(
        context,
        "UPDATE runs SET state = 'failed', error_class = 'quota', finished_at = now() WHERE id = :id",
        id=failed.id,
    )
    a_pending_run(context, account)
    a_due_task(context, account, late=timedelta(seconds=5))
    answer = nobody.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    told = figures(answer.text)
    assert told["crontalk_runs_last_hour", "", "succeeded"] == 1
    assert told["crontalk_runs_last_hour", "failed", "quota"] == 1
    assert told["crontalk_runs_due",] == 1
    assert told["crontalk_scheduler_lag_seconds",] >= 5
    assert told["crontalk_runs_total",] == 1
    assert told["crontalk_output_tokens_total",] > 0
    assert told["crontalk_broker_up",] == 1
    assert ("crontalk_hints_waiting", "chat") in told


def test_labels_stay_within_our_vocabulary_and_hold_no_content(nobody, context, account):
    run = a_pending_run(context, account, name=MARKER)
    execute(
        context,
        "UPDATE runs SET state = 'failed', error_class = :cause, finished_at = now() WHERE id = :id",
        cause=MARKER,
        id=run.id,
    )
    answer = nobody.get("/metrics")
    assert figures(answer.text)["crontalk_runs_last_hour", "failed", "other"] == 1
    assert MARKER not in answer.text
    assert str(account) not in answer.text


def test_metrics_without_a_database_are_503_and_without_a_broker_say_so(away, context, settings):
    answer = away.get("/metrics")
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert answer.headers["retry-after"] == "1"
    from core.publisher import NoPublisher

    told = figures(a_client(replace(context, publisher=NoPublisher())).get("/metrics").text)
    assert told["crontalk_broker_up",] == 0


def test_metrics_beyond_loopback_need_a_token(context, account):
    beyond = replace(context, settings=context.settings.model_copy(update={"host": "0.0.0.0"}))
    assert a_client(beyond).get("/metrics").status_code == 401
    assert a_client(beyond, "ct_wrong").get("/metrics").status_code == 401
    assert a_client(beyond, a_secret(context, account, ("write",))).get("/metrics").status_code == 403
    assert a_client(beyond, a_secret(context, account, ("read",))).get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_what_counts_as_loopback(host, loopback):
    assert is_loopback(host) is loopback


def test_an_api_without_a_database_says_when_to_come_back(away, context):
    for method, path in BODIES:
        ids = dict.fromkeys(World.__dataclass_fields__, "x")
        answer = away.request(method, path.format(**ids))
        assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert answer.headers["retry-after"] == "1"
        assert "127.0.0.1" not in answer.text


STRICT = {
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def strict(answer):
    assert {name: answer.headers.get(name) for name in STRICT} == STRICT, answer.url
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    page = answer.headers.get("content-type", "").startswith("text/html")
    assert answer.headers["referrer-policy"] == ("same-origin" if page else "no-referrer")
    assert ("style-src 'self'" in policy) is page
    assert len(answer.headers["x-request-id"]) == 36
    assert "server" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


def test_every_answer_carries_the_strict_headers(
    client, nobody, away, context, account, world, working, monkeypatch
):
    ids = ids_of(world)
    for method, path in BODIES:
        strict(client.request(method, path.format(**ids)))
        strict(nobody.request(method, path.format(**ids)))
        strict(away.request(method, path.format(**ids)))
    browser = a_signed_in_browser(context, account)
    for path in (
        "/",
        f"/runs/{world.runId}",
        "/runs/x",
        "/login/code",
        "/login",
        "/assets/none.css",
        "/conversations",
        f"/conversations/{world.conversationId}",
        "/tasks",
        f"/tasks/{world.taskId}",
        "/ops",
        "/docs",
        "/docs/create_task",
        "/docs/nothing",
    ):
        strict(browser.get(path))
        strict(nobody.get(path))
    for path in ("/health/live", "/health/ready", "/health/work", "/metrics", "/openapi.json", "/nothing"):
        strict(nobody.get(path))
    strict(browser.post("/logout", headers={"Origin": "http://127.0.0.1:8080"}))
    strict(browser.post("/login", data={"code": "x"}))
    strict(client.put("/api/v1/task/list"))
    strict(client.post("/api/v1/task/create", content=b"{", headers={"Content-Type": "application/json"}))
    strict(client.post("/api/v1/task/create", content=b"x" * 2_000_000))
    monkeypatch.setattr("api.chatbotkit.bots.bots.list_bots", None)
    broken = client.get("/api/v1/bot/list")
    assert broken.status_code == 500
    strict(broken)


def test_https_is_remembered(context):
    answer = a_client(context, base_url="https://crontalk.example").get("/health/live")
    assert "max-age" in answer.headers["strict-transport-security"]
    assert "strict-transport-security" not in a_client(context).get("/health/live").headers


def test_unknown_routes_and_methods_answer_in_the_dialects_shape(client, world):
    for path in ("/api/v1/nothing", "/api/v1/task", "/nothing", "/api/v1/task/list/", "/redoc"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    for method, path in (
        ("POST", "task/list"),
        ("GET", "task/create"),
        ("DELETE", f"task/{world.taskId}/fetch"),
    ):
        answer = client.request(method, f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"]


def test_every_answer_has_the_shape_the_document_tells(client, context, account, world, working):
    shapes = {
        (method.lower(), route.path): route.responses[200]["model"]
        for route in _routes()
        for method in route.methods
        if getattr(route, "responses", None) and 200 in route.responses
    }
    a_pending_run(context, account, schedule="daily", timezone="Europe/Paris")
    for (method, path), shape in shapes.items():
        if method == "get" and path != "/job/{jobId}/receipt":  # the job at hand is no deletion
            asked = BODIES["get", "/api/v1" + path]
            answer = client.get("/api/v1" + path.format(**ids_of(world)), params=asked)
            assert answer.status_code == 200, path
            shape.model_validate(answer.json(), strict=True)
    trigger = client.post(f"/api/v1/task/{world.taskId}/trigger").json()
    shapes["post", "/task/{taskId}/trigger"].model_validate(trigger, strict=True)


def _routes():
    from api import chatbotkit

    for noun in chatbotkit.NOUNS:
        yield from noun.router.routes
