"""The pages: signing in, the runs, a run's transcript; everything escaped and nothing scripted."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api.dashboard.assets import PLACES
from api.dashboard.views import duration, flower_link, instant
from core.accounts import create_login_link, list_tokens, revoke_token
from core.conversations import delete_conversation
from core.firing import fire
from core.messages import append
from core.tasks import delete_task
from core.turns import carry_out
from models import MessageType
from tests.api import LOOPBACK, a_client, a_secret, a_signed_in_browser, a_world
from tests.factories import (
    a_conversation,
    a_due_task,
    a_pending_run,
    a_pending_turn,
    a_task,
    an_account,
    execute,
    one,
    rows,
)
from tests.pages import HARMLESS_TAGS, PAYLOADS, Page

HTTPS = "https://crontalk.example"
OURS = {"Origin": LOOPBACK}


@pytest.fixture
def browser(context, account):
    return a_signed_in_browser(context, account)


def a_link(context, account):
    with context.transaction() as session:
        return create_login_link(session, account)


def test_without_a_login_every_page_says_how_to_get_one(nobody, world):
    for path in ("/", f"/runs/{world.runId}", "/runs/nonsense"):
        answer = nobody.get(path)
        assert answer.status_code == 401
        assert answer.headers["content-type"].startswith("text/html")
        assert "crontalk token link" in Page(answer).text
        assert "www-authenticate" not in answer.headers


def test_opening_the_link_uses_nothing_up_and_the_button_works_once(nobody, context, account):
    code = a_link(context, account)
    for _ in range(3):
        shown = Page(nobody.get(f"/login/{code}"))
    assert {"type": "hidden", "name": "code", "value": code} in shown.all("input")
    assert nobody.get("/").status_code == 401
    answer = nobody.post("/login", data={"code": code}, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert nobody.get("/").status_code == 200
    other = a_client(context)
    again = other.post("/login", data={"code": code}, headers=OURS)
    assert again.status_code == 401
    assert "crontalk token link" in Page(again).text
    assert "set-cookie" not in again.headers


def test_a_link_is_good_for_a_quarter_of_an_hour(nobody, context, account):
    code = a_link(context, account)
    execute(context, "UPDATE login_links SET expires_at = now()")
    assert nobody.post("/login", data={"code": code}, headers=OURS).status_code == 401


def test_the_cookie_is_strict_and_its_token_may_only_read(context, account):
    client = a_client(context)
    answer = client.post("/login", data={"code": a_link(context, account)}, headers=OURS)
    cookie = answer.headers["set-cookie"]
    secret = re.match(r"crontalk=(ct_[\w-]+);", cookie)[1]
    for part in ("HttpOnly", "Path=/", "SameSite=strict", "Max-Age=604800"):
        assert part in cookie
    assert "Secure" not in cookie
    assert "Domain" not in cookie
    assert rows(context, "SELECT scopes FROM api_tokens") == [{"scopes": ["read"]}]
    api = a_client(context, secret)
    assert api.get("/api/v1/task/list").status_code == 200
    assert api.post("/api/v1/task/create", json={"name": "x"}).status_code == 403


def test_over_https_the_cookie_is_secure_and_bound_to_this_host(context, account):
    browser = a_signed_in_browser(context, account, HTTPS)
    assert browser.get("/").status_code == 200
    client = a_client(context, base_url=HTTPS)
    code = a_link(context, account)
    answer = client.post("/login", data={"code": code}, headers={"Origin": HTTPS})
    assert answer.headers["set-cookie"].startswith("__Host-crontalk=ct_")
    assert "Secure" in answer.headers["set-cookie"]
    plain = a_client(context, base_url=HTTPS)
    plain.cookies.set("crontalk", a_secret(context, account, ("read",)))
    assert plain.get("/").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": "https://127.0.0.1:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": LOOPBACK},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ],
)
def test_forms_from_elsewhere_are_refused(browser, context, account, headers):
    code = a_link(context, account)
    answer = a_client(context).post("/login", data={"code": code}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert browser.post("/logout", headers=headers).status_code == 403
    assert browser.get("/").status_code == 200
    assert one(context, "SELECT used_at FROM login_links ORDER BY used_at NULLS FIRST LIMIT 1") is None


def test_a_form_vouched_for_by_the_browser_is_accepted(context, account):
    answer = a_client(context).post(
        "/login", data={"code": a_link(context, account)}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert answer.status_code == 303


def test_a_hostile_code_is_refused(nobody):
    for data in (
        {},
        {"code": ""},
        {"code": "x" * 201},
        {"code": "\x00"},
        {"code": ["a", "b"]},
        {"other": "x"},
    ):
        assert nobody.post("/login", data=data, headers=OURS).status_code in {400, 401}
    assert nobody.post("/login", json={"code": "x"}, headers=OURS).status_code == 415
    raw = nobody.post(
        "/login",
        content=b"code=%ff%00%ed%a0%80&&&=;",
        headers={**OURS, "Content-Type": "application/x-www-form-urlencoded"},
    )
    assert raw.status_code == 401
    shown = nobody.get("/login/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E".replace("%2F", "")).text
    assert "<script" not in shown


def test_logging_out_revokes_the_token(browser, context):
    stolen = browser.cookies["crontalk"]
    answer = browser.post("/logout", headers=OURS)
    assert answer.status_code == 200
    assert 'crontalk=""' in answer.headers["set-cookie"]
    assert one(context, "SELECT count(*) FROM api_tokens WHERE revoked_at IS NULL") == 0
    thief = a_client(context)
    thief.cookies.set("crontalk", stolen)
    assert thief.get("/").status_code == 401


def test_a_revoked_token_opens_no_page_from_the_next_request_on(browser, context, account):
    assert browser.get("/").status_code == 200
    with context.transaction(account) as session:
        revoke_token(session, list_tokens(session)[0].id)
    assert browser.get("/").status_code == 401


def test_a_token_that_may_not_read_opens_no_page(context, account):
    client = a_client(context)
    client.cookies.set("crontalk", a_secret(context, account, ("write",)))
    assert client.get("/").status_code == 403


def test_a_bearer_token_opens_no_page(client):
    assert client.get("/").status_code == 401


def test_an_empty_list_tells_what_to_do_next(browser):
    page = Page(browser.get("/"))
    assert "Nothing has run yet" in page.text
    assert "crontalk task create" in page.text


def test_a_run_is_listed_with_its_task_its_times_and_its_end(browser, context, account, leases):
    task = a_due_task(context, account, schedule="0 9 * * *", timezone="Asia/Tokyo", name="Nine o'clock")
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=2)
    execute(context, "UPDATE task_clocks SET next_run_at = :due WHERE task_id = :id", due=due, id=task.id)
    fire(context)
    run = rows(context, "SELECT id FROM runs")[0]["id"]
    carry_out(context, leases, run, worker="w", delivery="d")
    page = Page(browser.get("/"))
    assert "Nine o'clock" in page.text
    assert "succeeded" in page.text
    assert "on schedule" in page.text
    assert f"{due:%Y-%m-%d %H:%M:%S} UTC" in page.text
    assert "Asia/Tokyo" in page.text
    assert (due + timedelta(hours=9)).strftime("%H:%M:%S") in page.text
    assert re.search(r"\d (ms|s)\b", page.text)
    assert f"/runs/{run}" in [a["href"] for a in page.all("a")]
    assert all(th.get("scope") for th in page.all("th"))


def test_a_list_is_paged_newest_first(browser, context, account):
    execute(
        context,
        "INSERT INTO runs (id, account_id, trigger, action, state, error_class, finished_at)"
        " SELECT CAST('00000000-0000-7000-8000-' || lpad(n::text, 12, '0') AS uuid), :account, 'api', 'send',"
        " 'failed', 'quota', now() FROM generate_series(1, 120) AS n",
        account=account,
    )
    path, seen, refreshed = "/", [], []
    while path:
        page = Page(browser.get(path))
        seen += [a["href"][-3:] for a in page.all("a") if a["href"].startswith("/runs/")]
        refreshed.append(any("15s" in part.get("hx-trigger", "") for part in page.all("div")))
        path = next((a["href"] for a in page.all("a") if a.get("rel") == "next"), None)
    assert seen == [f"{n:03}" for n in range(120, 0, -1)]
    assert refreshed == [True, False, False]


def test_a_run_shows_its_timeline_and_its_transcript_and_leads_to_flower(context, account, leases):
    flower = replace(
        context, settings=context.settings.model_copy(update={"flower_url": "http://127.0.0.1:5555/"})
    )
    run = a_pending_run(context, account, description="Say hello.\nIn two  lines.")
    carry_out(context, leases, run.id, worker="celery@here", delivery=f"{run.id}.1")
    answer = a_signed_in_browser(flower, account).get(f"/runs/{run.id}")
    page = Page(answer)
    assert "Say hello.\nIn two  lines." in answer.text
    reply = one(context, "SELECT text FROM messages WHERE type = 'bot'")
    assert " ".join(reply.split()) in page.text
    for word in ("attempt.1", "model.1", "celery@here", "User", "Bot", "by hand", "succeeded"):
        assert word in page.text
    links = [a["href"] for a in page.all("a") if "5555" in a["href"]]
    assert set(links) == {f"http://127.0.0.1:5555/task/{run.id}.1"}


def test_a_run_of_every_kind_has_a_page(browser, context, account, leases):
    failing = a_pending_run(context, account)
    execute(
        context,
        "UPDATE runs SET state = 'failed', error_class = 'provider_error', error_code = 'http_500',"
        " finished_at = now() WHERE id = :id",
        id=failing.id,
    )
    assert "provider_error http_500" in Page(browser.get(f"/runs/{failing.id}")).text
    waiting = a_pending_run(context, account)
    page = Page(browser.get(f"/runs/{waiting.id}"))
    assert "No worker has taken it up yet." in page.text
    assert any(part.get("hx-get") == f"/runs/{waiting.id}" for part in page.all("div"))
    turn = a_pending_turn(context, account)
    assert "Turn in a conversation" in Page(browser.get(f"/runs/{turn.id}")).text
    a_due_task(context, account, late=timedelta(hours=30), schedule="@every 24h")
    fire(context)
    missed = rows(context, "SELECT id FROM runs WHERE state = 'missed'")[0]["id"]
    page = Page(browser.get(f"/runs/{missed}"))
    assert "outside_window" in page.text
    assert "did not run" in page.text
    assert Page(browser.get("/")).text.count("Morning") == 3


def test_what_was_deleted_is_said_to_be(browser, context, account, leases):
    world = a_world(context, account, leases)
    with context.transaction(account) as session:
        delete_conversation(session, world.conversationId)
        delete_task(session, world.taskId)
    page = Page(browser.get(f"/runs/{world.runId}"))
    assert "Deleted task" in page.text
    assert "The conversation was deleted." in page.text


def test_a_long_transcript_is_paged(browser, context, account):
    turn = a_pending_turn(context, account)
    with context.transaction(account) as session:
        for n in range(250):
            append(session, turn.conversation_id, MessageType.USER, f"said {n:03}")
    path, said = f"/runs/{turn.id}", []
    while path:
        page = Page(browser.get(path))
        said += re.findall(r"said (\d{3})", page.text)
        path = next((a["href"] for a in page.all("a") if a.get("rel") == "next"), None)
    assert said == [f"{n:03}" for n in range(250)]
    for after in ("-1", "x", "9" * 30, "%00"):
        assert browser.get(f"/runs/{turn.id}?after={after}").status_code == 400


def test_another_accounts_run_is_not_shown(browser, context, leases):
    foreign = a_world(context, an_account(context, "Grace"), leases)
    answer = browser.get(f"/runs/{foreign.runId}")
    assert answer.status_code == 403
    assert "Morning" not in answer.text
    assert foreign.runId not in browser.get("/").text
    assert foreign.runId not in browser.get(f"/?before={'f' * 32}").text
    for path in ("/runs/nonsense", "/runs/00000000-0000-7000-8000-000000000000", "/?before=nonsense"):
        answer = browser.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")


def test_a_page_without_a_database_says_to_come_back(settings, context, account):
    from core.context import make_context

    away = make_context(
        settings.model_copy(update={"database_url": "postgresql://x@127.0.0.1:1/x"}), "api tests"
    )
    client = a_client(away)
    client.cookies.set("crontalk", "ct_x")
    answer = client.get("/")
    away.close()
    assert answer.status_code == 503
    assert "Back in a moment" in answer.text


@pytest.mark.parametrize("payload", PAYLOADS)
def test_everything_shown_is_escaped(browser, context, account, leases, client, payload):
    body = {"name": payload, "description": payload}
    bot = client.post("/api/v1/bot/create", json={"name": payload, "backstory": payload}).json()["id"]
    task_id = client.post("/api/v1/task/create", json={**body, "botId": bot}).json()["id"]
    run_id = client.post(f"/api/v1/task/{task_id}/trigger").json()["runId"]
    carry_out(
        context, leases, rows(context, "SELECT id FROM runs")[0]["id"], worker=payload, delivery=payload
    )
    execute(
        context,
        "UPDATE runs SET state = 'failed', error_class = :x, error_code = :x, summary = :x, model = :x,"
        " worker = :x",
        x=payload,
    )
    execute(
        context,
        "UPDATE run_steps SET outcome = :x, error_code = :x, model = :x, finish_reason = :x",
        x=payload,
    )
    execute(context, "UPDATE messages SET text = text || :x, name = :x, description = :x", x=payload)
    flower = replace(
        context, settings=context.settings.model_copy(update={"flower_url": "http://127.0.0.1:5555"})
    )
    for who in (browser, a_signed_in_browser(flower, account)):
        for path in ("/", f"/runs/{run_id}"):
            answer = who.get(path)
            assert answer.status_code == 200
            page = Page(answer)
            assert " ".join(payload.split()) in page.text
            assert {tag for tag, _ in page.elements} <= HARMLESS_TAGS
            for _, attributes in page.elements:
                assert not any(name.startswith("on") or name == "style" for name in attributes)
                for address in (attributes.get("href"), attributes.get("src"), attributes.get("action")):
                    assert address is None or address.startswith(("/", "http://127.0.0.1:5555/task/", "#"))
            if "<" in payload:
                assert payload not in answer.text


def test_pages_hold_no_script_of_their_own_no_style_and_nothing_from_elsewhere(browser, nobody, world):
    for answer in (
        browser.get("/"),
        browser.get(f"/runs/{world.runId}"),
        nobody.get("/"),
        nobody.get("/login/x"),
    ):
        assert set(re.findall(r"<script[^>]*>", answer.text)) <= {
            f'<script src="{PLACES[name]}" defer>' for name in ("htmx.min.js", "dashboard.js")
        }
        assert not re.search(r"<script[^>]*>[^<]", answer.text)
        assert "<style" not in answer.text
        assert "style=" not in answer.text
        assert not re.search(r"(src|href)=\"(https?:)?//", answer.text)
        assert '<html lang="en">' in answer.text
        assert answer.text.count("<h1") == 1


def test_the_style_sheet_and_the_icon_come_from_us(nobody):
    style = nobody.get(PLACES["crontalk.css"])
    assert style.headers["content-type"].startswith("text/css")
    assert "prefers-color-scheme: dark" in style.text
    assert "url(" not in style.text
    assert "@import" not in style.text
    icon = nobody.get(PLACES["icon.svg"])
    assert icon.headers["content-type"] == "image/svg+xml"


def luminance(colour):
    digits = colour.lstrip("#")
    digits = "".join(c * 2 for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_text_has_enough_contrast_by_day_and_by_night(nobody):
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    style = nobody.get(PLACES["crontalk.css"]).text
    for palette in (style.split("@media")[0], style.split("@media")[1]):
        colours = dict(re.findall(r"--([\w-]+): (#\w+)", palette))
        grounds = dict.fromkeys(("ink", "soft", "accent"), ("page", "card"))
        grounds |= {name: (f"{name}-bg",) for name in ("good", "bad", "busy", "warn", "none")}
        grounds["on-accent"] = ("accent",)
        for text, behind in grounds.items():
            for ground in behind:
                a, b = sorted((luminance(colours[text]), luminance(colours[ground])))
                assert (b + 0.05) / (a + 0.05) >= 4.5, (text, ground)


def test_times_and_durations_are_written_for_people():
    at = datetime(2026, 7, 1, 22, 30, 5, 123456, UTC)
    berlin = instant(at, "Europe/Berlin")
    assert (berlin.local, berlin.zone) == ("Thu 2 Jul 2026, 00:30:05", "Europe/Berlin")
    assert (berlin.utc, berlin.iso) == ("2026-07-01 22:30:05 UTC", "2026-07-01T22:30:05.123Z")
    assert instant(at, "Mars/Olympus").zone == instant(at, None).zone == "UTC"
    assert instant(at, "../x").zone == "UTC"
    took = {
        timedelta(milliseconds=320): "320 ms",
        timedelta(milliseconds=999.9): "1000 ms",
        timedelta(seconds=4.24): "4.2 s",
        timedelta(seconds=185): "3 min 5 s",
        timedelta(seconds=7380): "2 h 3 min",
        timedelta(seconds=-5): "0 ms",
    }
    assert {gap: duration(at, at + gap) for gap in took} == took
    assert duration(None, at) is duration(at, None) is None


def test_a_flower_link_cannot_leave_flower():
    assert flower_link("http://f:5555", "../../x?y#z") == "http://f:5555/task/..%2F..%2Fx%3Fy%23z"
    assert flower_link(None, "x") is flower_link("http://f", None) is None


def test_an_unused_conversation_needs_no_run(browser, context, account):
    a_conversation(context, account)
    a_task(context, account)
    assert "Nothing has run yet" in Page(browser.get("/")).text
