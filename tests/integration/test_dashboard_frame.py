"""The pages' frame: who gets in, what forms are taken, what is sent, and that no address breaks."""

from __future__ import annotations

import hashlib
import re
import uuid

import pytest
from fastapi.routing import iter_route_contexts

from api import dashboard
from api.dashboard import live
from api.dashboard.assets import PLACES
from api.dashboard.rendering import FOLDER, SECTIONS
from core.accounts import list_tokens, revoke_token
from core.rates import Rate
from tests.api import LOOPBACK, a_browser, a_client, a_secret, a_signed_in_browser, the_app
from tests.factories import an_account, one
from tests.pages import Page

OURS = {"Origin": LOOPBACK}
# They change nothing, and an address is no place for a text.
TRIES = ("/settings/privacy/try", "/tasks/{task_id}/backfill/preview")


def routes(context, method):
    """The addresses of the pages that take this method; what is told without end is no page."""
    own = {route.endpoint for part in dashboard.PARTS if part is not live for route in part.router.routes}
    return sorted(
        route.path
        for route in iter_route_contexts(the_app(context).routes)
        if route.endpoint in own and method in (route.methods or ())
    )


def filled(path, world):
    names = {
        "conversation_id": world.conversationId,
        "message_id": world.messageId,
        "attachment_id": world.attachmentId,
        "task_id": world.taskId,
        "run_id": world.runId,
        "job_id": world.jobId,
        "bot_id": world.botId,
        "contact_id": world.contactId,
        "dataset_id": world.datasetId,
        "record_id": world.recordId,
        "rule_id": world.ruleId,
        "skillset_id": world.skillsetId,
        "token_id": str(uuid.uuid4()),
        "act": "cancel",
        "code": "x",
        "name": "x.css",
    }
    return re.sub(r"{(\w+)}", lambda found: names[found[1]], path)


def test_a_token_opens_the_pages_and_ends_the_login_with_its_revocation(nobody, context, account):
    assert "Token" in Page(nobody.get("/login")).text
    secret = a_secret(context, account)
    answer = nobody.post("/login", data={"token": f" {secret} "}, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    for part in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert part in answer.headers["set-cookie"]
    assert nobody.get("/conversations").status_code == 200
    with context.transaction(account) as session:
        revoke_token(session, list_tokens(session)[0].id)
    assert nobody.get("/conversations").status_code == 401


def test_logging_out_leaves_a_token_that_was_brought_along_alone(context, account):
    browser = a_browser(context, account)
    assert browser.post("/logout", headers=OURS).status_code == 200
    assert one(context, "SELECT count(*) FROM api_tokens WHERE revoked_at IS NULL") == 1


@pytest.mark.parametrize("token", ["", "ct_nothing", "x" * 201, "own.ct_x", "\x00", "cts_x"])
def test_what_is_no_token_opens_nothing(nobody, token):
    answer = nobody.post("/login", data={"token": token}, headers=OURS)
    assert answer.status_code in {400, 401}
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-type"].startswith("text/html")


def test_a_token_that_may_not_read_does_not_sign_in(nobody, context, account):
    token = a_secret(context, account, ("write",))
    assert nobody.post("/login", data={"token": token}, headers=OURS).status_code == 403


def test_attempts_to_sign_in_are_limited(nobody, context, account, monkeypatch):
    # As another address than any other test's, whose attempts are counted for as long as they last.
    monkeypatch.setattr(context.settings, "rate_login", Rate(3, 3600))
    monkeypatch.setattr("api.dashboard.login.WHERE", uuid.uuid4())
    codes = [nobody.post("/login", data={"token": "ct_x"}, headers=OURS).status_code for _ in range(5)]
    assert codes == [401, 401, 401, 429, 429]
    answer = nobody.post("/login", data={"token": a_secret(context, account)}, headers=OURS)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 60


def test_every_form_is_refused_from_elsewhere_and_without_the_right(context, account, world):
    writer, reader = a_browser(context, account), a_signed_in_browser(context, account)
    paths = [path for path in routes(context, "POST") if path not in {"/login", "/logout"}]
    assert len(paths) >= 12
    for path in paths:
        place = filled(path, world)
        body = {"confirmation": "x", "ids": world.conversationId}
        for headers in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert writer.post(place, data=body, headers=headers).status_code == 403, path
        may = (200, 400) if path in TRIES else (403,)
        assert reader.post(place, data=body, headers=OURS).status_code in may, path
        assert a_client(context).post(place, data=body, headers=OURS).status_code == 401, path
    assert one(context, "SELECT count(*) FROM conversations") > 0
    assert one(context, "SELECT state FROM tasks") == "active"


def test_whoever_may_only_read_is_offered_no_form_but_logging_out_and_searching(context, account, world):
    reader = a_signed_in_browser(context, account)
    for path in routes(context, "GET"):
        if path.startswith(("/login", "/assets")) or path.endswith("attachments/{attachment_id}"):
            continue
        page = Page(reader.get(filled(path, world)))
        posts = {form["action"] for form in page.all("form") if form.get("method") == "post"}
        tries = {filled(one_of_them, world) for one_of_them in TRIES}
        assert posts <= {"/logout", *tries, "/tasks/new", f"/tasks/{world.taskId}/edit"}, path
        if "/tasks/" in str(posts):
            assert "This login may only read." in page.text


def test_another_accounts_rows_are_on_no_page(context, account, world, leases):
    other = an_account(context, "Grace")
    stranger = a_browser(context, other)
    for method in ("GET", "POST"):
        for path in routes(context, method):
            if "_id}" not in path:
                continue
            place = filled(path, world)
            data = {"confirmation": "x"} if method == "POST" else None
            answer = stranger.request(method, place, data=data, headers=OURS)
            wanted = {404} if "token_id" in path else {403}
            assert answer.status_code in wanted, (method, path, answer.status_code)
            assert "Morning" not in answer.text
            unknown = re.sub(r"[0-9a-f-]{36}", str(uuid.uuid4()), place)
            assert stranger.request(method, unknown, data=data, headers=OURS).status_code == 404, path
            nonsense = re.sub(r"[0-9a-f-]{36}", "nonsense", place)
            assert stranger.request(method, nonsense, data=data, headers=OURS).status_code == 404, path
    for _, path, _ in SECTIONS:
        shown = stranger.get(path).text
        for value in vars(world).values():
            assert str(value) not in shown, path
    answer = stranger.post(
        "/conversations/delete/preview", data={"ids": world.conversationId, "scope": "picked"}, headers=OURS
    )
    assert "Delete 0 conversations" in Page(answer).text


HOSTILE = (
    "before=x",
    "before=%00",
    "before=01a2",
    "q=%00",
    "q=%ff%fe",
    "q=bot%3A%00",
    "q=%22",
    "q=((((",
    "q=%3A%2A%26%21%7C",
    "q=task:00000000-0000-7000-8000-000000000000",
    "q=" + "a%20" * 600,
    "q=before:9999-12-31T23:59:59-23:59",
    "q=after:0001-01-01",
    "q=has:pii%20type:bot%20source:x%20status:archived",
    "q=\ud83d".encode("utf-8", "surrogatepass").decode("latin-1"),
    "after=-1",
    "after=99999999999999999999",
    "after=x",
    "kind=x",
    "kind=%00",
    "schedule=%00&timezone=x",
    "schedule=" + "9" * 300,
    "schedule=*/5+*+*+*+*&timezone=%F0%9F%98%80",
    "schedule=0+0+31+2+*",
    "schedule=9999-12-31T23:59&timezone=Pacific/Auckland",
    "schedule=0001-01-01&timezone=Pacific/Auckland",
    "schedule=@every+366d&timezone=UTC",
    "q=x&q=y&before=&before=",
    "&&&=;",
)


@pytest.mark.parametrize("query", HOSTILE)
def test_no_query_breaks_a_page(context, account, world, query):
    browser = a_browser(context, account)
    for path in routes(context, "GET"):
        answer = browser.get(f"{filled(path, world)}?{query}")
        assert answer.status_code < 500, (path, query)


def test_every_page_has_one_heading_a_title_landmarks_and_its_place(context, account, world):
    browser = a_browser(context, account)
    for name, path, title in SECTIONS:
        answer = browser.get(path)
        assert answer.status_code == 200
        page = Page(answer)
        assert answer.text.count("<h1") == 1
        assert f"<title>{title}" in answer.text
        assert [a["href"] for a in page.all("a") if a.get("aria-current") == "page"] == [path], name
        assert {**page.all("a")[0]} == {"href": "#content", "class": "skip"}
        assert len(page.all("main")) == 1
        assert page.all("main")[0]["id"] == "content"
        assert all(nav.get("aria-label") for nav in page.all("nav"))
        labelled = {label.get("for") for label in page.all("label")}
        for field in [*page.all("input"), *page.all("select"), *page.all("textarea")]:
            assert field.get("type") in {"hidden", "checkbox"} or field.get("id") in labelled
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))


def test_assets_are_kept_for_good_under_an_address_that_changes_with_them(nobody):
    for name, place in PLACES.items():
        answer = nobody.get(place)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert hashlib.sha256(answer.content).hexdigest()[:16] in place, name
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert nobody.get("/assets/crontalk.css").status_code == 404
    assert nobody.get("/assets/none").headers["cache-control"] == "no-store"
    assert nobody.get("/login").headers["cache-control"] == "no-store"


def test_vendored_files_are_what_they_are_said_to_be_and_bring_their_licences():
    told = (FOLDER / "vendor" / "README.md").read_text()
    named = re.findall(r"^\| `([\w.]+)` .*`([0-9a-f]{64})` \|$", told, flags=re.MULTILINE)
    assert len(named) == 2
    for name, digest in named:
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == digest
        assert list((FOLDER / "vendor").glob(f"{name.split('.')[0]}.LICENSE.*"))


def test_the_policy_lets_in_nothing_inline_and_nothing_from_elsewhere(nobody):
    policy = nobody.get("/login").headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe|data:|https?:|\*", policy)
