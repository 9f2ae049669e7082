"""Jobs, operations and the rest of the pages; and what hostile people wrote, as text on every one of them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from api.dashboard.charts import runs_chart, strips, top_of
from core.carrying import carry_on
from core.delete_jobs import create_delete_job
from core.overviews import Hour, how_it_goes
from tests.api import LOOPBACK, a_browser, a_secret
from tests.factories import a_conversation, a_pending_run, execute, one, rows
from tests.integration.test_dashboard_frame import filled, routes
from tests.pages import PAYLOADS, Page, assert_harmless

OURS = {"Origin": LOOPBACK}


@pytest.fixture
def browser(context, account):
    return a_browser(context, account)


def a_deletion(context, account):
    with context.transaction(account) as session:
        return create_delete_job(session, "conversations", {"all": True})[0]


def test_a_deletion_waits_to_be_confirmed_is_watched_and_leaves_a_receipt(browser, context, account, leases):
    for _ in range(3):
        a_conversation(context, account)
    job = a_deletion(context, account)
    place = f"/jobs/{job.id}"
    page = Page(browser.get(place))
    assert "It waits to be confirmed: 3 would go for good." in page.text
    wrong = browser.post(f"{place}/confirm", data={"confirmation": str(uuid.uuid4())}, headers=OURS)
    assert wrong.status_code == 409
    assert "preview it again" in Page(wrong).text
    confirmation = next(f["value"] for f in page.all("input") if f.get("name") == "confirmation")
    answer = browser.post(f"{place}/confirm", data={"confirmation": confirmation}, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, place)
    assert carry_on(context, job.id) == "completed"
    page = Page(browser.get(place))
    assert "completed" in page.text
    assert "Receipt" in page.text
    assert "conversations 3" in page.text
    assert "hx-trigger" not in [name for tag, at in page.elements if at.get("id") == "job" for name in at]
    assert browser.post(f"{place}/cancel", headers=OURS).status_code == 409


def test_a_job_is_paused_resumed_and_cancelled(browser, context, account, world):
    place = f"/jobs/{world.jobId}"
    for act, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert browser.post(f"{place}/{act}", headers=OURS).status_code == 303
        shown = one(context, "SELECT state FROM jobs WHERE id = :id", id=world.jobId)
        assert shown == state or (state, shown) == ("running", "pending")
    assert browser.post(f"{place}/dance", headers=OURS).status_code == 404
    assert "Backfill" in Page(browser.get("/jobs?kind=backfill")).text
    assert "No jobs of this kind." in Page(browser.get("/jobs?kind=import")).text


def test_lists_lead_to_details_and_those_to_conversations(browser, world):
    for section, row in (
        ("bots", world.botId),
        ("contacts", world.contactId),
        ("datasets", world.datasetId),
        ("skillsets", world.skillsetId),
    ):
        links = [a.get("href") for a in Page(browser.get(f"/{section}")).all("a")]
        assert f"/{section}/{row}" in links
        assert browser.get(f"/{section}/{row}").status_code == 200
    links = [a["href"] for a in Page(browser.get(f"/bots/{world.botId}")).all("a")]
    assert f"/conversations?q=bot%3A{world.botId}" in links
    assert browser.get(f"/conversations?q=bot%3A{world.botId}").status_code == 200


def test_a_token_is_listed_without_its_secret_and_revoked(browser, context, account):
    secret = a_secret(context, account, ("read",))
    answer = browser.get("/tokens")
    assert secret[:9] in answer.text
    assert secret[9:] not in answer.text
    row = rows(context, "SELECT id FROM api_tokens ORDER BY id DESC")[0]["id"]
    assert browser.post(f"/tokens/{row}/revoke", headers=OURS).status_code == 303
    assert "revoked" in Page(browser.get("/tokens")).text
    assert one(context, "SELECT count(*) FROM api_tokens WHERE revoked_at IS NULL") == 1


def test_operations_show_what_waits_who_works_and_what_failed(browser, context, account, leases):
    page = Page(browser.get("/ops"))
    assert "What is due is being worked on." in page.text
    assert len(page.all("svg")) >= 1
    run = a_pending_run(context, account)
    execute(context, "UPDATE runs SET run_at = now() - interval '1 minute'")
    page = Page(browser.get("/ops"))
    assert "Due rows wait and nobody takes them." in page.text
    execute(
        context,
        "UPDATE runs SET state = 'failed', error_class = 'quota', worker = 'chat-1@here', started_at = now(),"
        " finished_at = now() WHERE id = :id",
        id=run.id,
    )
    page = Page(browser.get("/ops"))
    assert "quota 1" in page.text
    assert "chat-1@here" in page.text
    assert "quota by the hour, 1 in all" in {
        svg["aria-label"] for svg in page.all("svg") if "aria-label" in svg
    }


def test_operations_show_queues_deletions_database_and_broker(browser, context, account):
    conversation = a_conversation(context, account)
    execute(
        context,
        "UPDATE conversations SET expires_at = now() - interval '26 hours' WHERE id = :id",
        id=conversation.id,
    )
    page = Page(browser.get("/ops"))
    assert "Deletions that wait" in page.text
    assert "the oldest for 1 day" in page.text
    assert "Database answers in" in page.text
    assert "connections" in page.text
    for queue in ("chat 0 runs", "chat 0 deliveries", "annotate 0 annotations", "bulk 0 jobs"):
        assert queue in page.text


def test_operations_are_shown_without_a_chart_where_counting_takes_too_long(browser, context, monkeypatch):
    monkeypatch.setattr("core.overviews.BY_HOUR", text("SELECT pg_sleep(2), CAST(:since AS uuid)"))
    monkeypatch.setattr("core.overviews.TIME", 20)
    answer = browser.get("/ops")
    assert answer.status_code == 200
    with context.transaction() as session:
        assert sum(sum(hour.runs.values()) for hour in how_it_goes(session).hours) == 0


def test_operations_without_a_broker_say_so(browser, context, monkeypatch):
    monkeypatch.setattr(type(context.publisher), "waiting", lambda _self, _queue: None)
    assert "Broker away" in Page(browser.get("/ops")).text


def test_every_class_of_failure_has_a_strip_on_one_scale_within_its_box():
    begin = datetime(2026, 12, 1, tzinfo=UTC)
    hours = [Hour(begin, {"failed": 9}, {"quota": 8, "timeout": 1}), Hour(begin, {}, {"timeout": 2})]
    quota, timeout = strips(hours)
    assert (quota.name, quota.total, timeout.name, timeout.total) == ("quota", 8, "timeout", 3)
    assert [bar.height for bar in (*quota.bars, *timeout.bars)] == [24, 3, 6]
    for strip in (quota, timeout):
        for bar in strip.bars:
            assert 0 <= bar.x <= bar.x + bar.width <= strip.width
            assert 0 <= bar.y <= bar.y + bar.height <= strip.height
    assert strips([]) == []


def test_a_chart_stays_within_its_box_and_its_bars_add_up():
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    counts = [{"succeeded": n, "failed": n % 3, "running": 1} for n in range(24)]
    chart = runs_chart([Hour(begin + timedelta(hours=n), runs) for n, runs in enumerate(counts)])
    assert chart is not None
    assert all(bar.y >= 0 and bar.y + bar.height <= chart.base + 0.2 for bar in chart.bars)
    assert all(chart.left <= bar.x and bar.x + bar.width <= chart.width for bar in chart.bars)
    assert len(chart.bars) == sum(1 for runs in counts for count in runs.values() if count)
    assert runs_chart([]) is None
    assert [top_of(n) for n in (0, 1, 3, 7, 9, 61, 80, 81)] == [1, 1, 4, 8, 10, 80, 80, 100]


ACTIVITY = (
    "jsonb_build_object('records', jsonb_build_array(jsonb_build_object('source', {x}, 'datasetId', {x})),"
    " 'activity', jsonb_build_object('function', jsonb_build_object('name', {x}, 'arguments',"
    " jsonb_build_object({x}, {x}), 'result', {x})))"
)
NAMED = ("bots", "contacts", "datasets", "skillsets", "abilities", "tasks", "conversations")
HOSTILE = (
    *((table, "name = {x}, description = {x}") for table in NAMED),
    ("bots", "backstory = {x}, model = {x}, meta = jsonb_build_object({x}, {x})"),
    ("contacts", "email = {x}, phone = {x}, nick = {x}, preferences = {x}, fingerprint = id || {x}"),
    ("records", "text = {x}, source = {x}, meta = jsonb_build_object({x}, {x})"),
    ("abilities", "action = jsonb_build_object('type', {x})"),
    ("api_tokens", "name = {x}"),
    ("blobs", "name = {x}"),
    ("conversations", "source = {x}, model = {x}, meta = jsonb_build_object({x}, {x})"),
    ("messages", "type = CASE WHEN type = 'bot' THEN 'activity' ELSE type END"),
    ("messages", f"text = {{x}}, name = {{x}}, description = {{x}}, meta = {ACTIVITY}"),
    ("runs", "summary = {x}, worker = {x}, model = {x}, error_code = {x}, reason = {x}"),
    ("run_steps", "outcome = {x}, error_code = {x}, worker = {x}, model = {x}"),
)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_hostile_people_wrote_is_text_on_every_page(browser, context, world, payload):
    for table, columns in HOSTILE:
        execute(context, f"UPDATE {table} SET {columns.format(x='CAST(:x AS text)')}", x=payload)
    shown = 0
    for path in routes(context, "GET"):
        if path.startswith(("/login", "/assets")) or "attachments" in path:
            continue
        answer = browser.get(filled(path, world))
        assert answer.status_code == 200, path
        page = assert_harmless(answer, payload)
        shown += " ".join(payload.split()) in page.text
    assert shown >= 12
    for q in (payload, f'source:"{payload}"', f"bot:{payload}"):
        answer = browser.get("/conversations", params={"q": q})
        assert answer.status_code in {200, 400}
        assert_harmless(answer, payload)
