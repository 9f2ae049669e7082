"""The chat page in a real browser: Debian's chromium, where it is installed."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from cli.local.processes import wait_until
from core.accounts import create_token, revoke_token
from tests.acceptance.conftest import free_port
from tests.api import a_secret
from tests.browsers import CHROMIUM, FLAGS, needs_a_browser, playwright
from tests.factories import an_account, execute

pytestmark = needs_a_browser

HOSTILE = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 1'>",
    "<svg onload=window.hit=1>",
    "</p></li><iframe srcdoc='<script>parent.hit=1</script>'>",
    "[click](javascript:window.hit=1)",
    "{{constructor.constructor('window.hit=1')()}}",
    '&lt;b&gt;entities&lt;/b&gt; & "quotes" \'',
    "\u202e reversed \u200b\ufeff and a nul-free \u0001 control",
]
# Where somebody wants to look at the page: a folder that screenshots are put in.
PICTURES = os.environ.get("CHAT_PAGE_PICTURES")


@pytest.fixture(scope="module")
def chat(servers, worker_id, tmp_path_factory):
    """An API with a default bot for visitors, and a worker."""
    from tests.acceptance.conftest import an_installation

    with an_installation(servers, worker_id, tmp_path_factory.mktemp("chat")) as made:
        port = free_port()
        account = an_account(made.context)
        made.settings |= {"CRONTALK_ANONYMOUS": str(account), "CRONTALK_ORIGINS": "https://shop.example"}
        execute(
            made.context,
            "UPDATE bots SET backstory = 'You help people of a shop.', model = 'offline/latency=0.6',"
            " meta = CAST(:meta AS jsonb) WHERE account_id = :id",
            meta='{"suggestions": [{"text": "Track my order", "value": "Where is my order?"},'
            ' {"text": "Talk to a person", "value": "human"}]}',
            id=account,
        )
        made.start("api", "--port", str(port))
        made.start("worker", "--queues", "chat")
        origin = f"http://127.0.0.1:{port}"
        assert wait_until(lambda: _answers(origin), timedelta(seconds=120)), made.all_logs()
        yield made, account, origin


def _answers(origin: str) -> bool:
    try:
        return httpx2.get(f"{origin}/health/ready", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A tab in which every complaint of the browser is a failure."""
    context = browser.new_context(viewport={"width": 900, "height": 760}, locale="en-GB")
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def picture(page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


def bots(page):
    return page.locator(".message.bot:not(.live)")


def say(page, words: str) -> None:
    box = page.get_by_label("Your message")
    box.fill(words)
    box.press("Enter")


def online(page) -> None:
    playwright.expect(page.locator("#state")).to_have_text("Online", timeout=20_000)


def test_a_visitor_types_sees_typing_an_answer_and_suggestions(chat, page):
    _, _, origin = chat
    page.goto(f"{origin}/chat")
    online(page)
    say(page, "Hello there")
    playwright.expect(page.locator(".message.user p")).to_have_text("Hello there")
    busy = page.locator("#typing:not([hidden]), .message.live")
    playwright.expect(busy.first).to_be_visible(timeout=10_000)
    picture(page, "typing")
    playwright.expect(bots(page)).to_have_count(1, timeout=20_000)
    playwright.expect(page.locator("#typing")).to_be_hidden()
    chip = page.get_by_role("button", name="Track my order")
    playwright.expect(chip).to_be_visible()
    picture(page, "answered")
    chip.click()
    playwright.expect(page.locator(".message.user p").nth(1)).to_have_text("Where is my order?")
    playwright.expect(bots(page)).to_have_count(2, timeout=20_000)


def test_a_page_that_is_loaded_again_goes_on(chat, page):
    _, _, origin = chat
    page.goto(f"{origin}/chat")
    online(page)
    say(page, "Before")
    playwright.expect(bots(page)).to_have_count(1, timeout=20_000)
    page.reload()
    online(page)
    playwright.expect(page.locator(".message")).to_have_count(2)
    say(page, "After")
    playwright.expect(bots(page)).to_have_count(2, timeout=20_000)
    playwright.expect(page.locator(".message")).to_have_count(4)


def test_what_looks_like_code_is_shown_as_text(chat, page):
    made, account, origin = chat
    place, token = a_session(made, account, origin)
    for hostile in HOSTILE:
        for kind in ("bot", "user"):
            created = httpx2.post(
                f"{origin}/api/v1/conversation/{place}/message/create",
                headers=signed(made, account),
                json={"type": kind, "text": hostile},
            )
            assert created.status_code == 200, created.text
    page.goto(f"{origin}/chat/default#token={token}")
    online(page)
    playwright.expect(page.locator(".message")).to_have_count(2 * len(HOSTILE), timeout=20_000)
    shown = page.locator(".message p").all_text_contents()
    assert list(shown[::2]) == [words.strip() for words in HOSTILE]
    say(page, HOSTILE[1])
    playwright.expect(page.locator(".message.user p").last).to_have_text(HOSTILE[1])
    playwright.expect(bots(page)).to_have_count(len(HOSTILE) + 1, timeout=20_000)
    assert page.evaluate("window.hit") is None
    assert page.locator("#log script, #log img, #log svg, #log iframe, #log a, #log b").count() == 0
    picture(page, "hostile")


def a_session(made, account, origin) -> tuple[str, str]:
    place = httpx2.post(
        f"{origin}/api/v1/conversation/create", headers=signed(made, account), json={}
    ).json()["id"]
    bot = httpx2.get(f"{origin}/api/v1/bot/list", headers=signed(made, account)).json()["items"][0]["id"]
    httpx2.post(
        f"{origin}/api/v1/conversation/{place}/update", headers=signed(made, account), json={"botId": bot}
    )
    token = httpx2.post(
        f"{origin}/api/v1/conversation/{place}/session/create", headers=signed(made, account), json={}
    ).json()["token"]
    return place, token


def signed(made, account) -> dict[str, str]:
    return {"Authorization": f"Bearer {a_secret(made.context, account)}"}


def test_a_token_stands_in_no_address_that_leaves_the_browser(chat, page):
    made, account, origin = chat
    _, token = a_session(made, account, origin)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.goto(f"{origin}/chat/default#token={token}")
    online(page)
    assert asked
    assert not [url for url in asked[1:] if token in url]
    assert token not in page.url
    say(page, "Signed in")
    playwright.expect(bots(page)).to_have_count(1, timeout=20_000)


def test_a_token_is_pasted_where_the_address_has_none(chat, page):
    made, account, origin = chat
    _, token = a_session(made, account, origin)
    page.goto(f"{origin}/chat/support")
    playwright.expect(page.get_by_label("Session token")).to_be_focused()
    picture(page, "token")
    page.goto(f"{origin}/chat/default#token=cts_wrong")
    playwright.expect(page.get_by_label("Session token")).to_be_visible(timeout=20_000)
    page.get_by_label("Session token").fill(token)
    page.keyboard.press("Enter")
    online(page)


def test_another_token_shows_nothing_of_what_the_one_before_opened(chat, page):
    made, account, origin = chat
    with made.context.transaction(account) as session:
        row, first = create_token(session, account, "first")
        _, second = create_token(session, account, "second")
    page.goto(f"{origin}/chat/default#token={first}")
    online(page)
    say(page, "Between us")
    playwright.expect(bots(page)).to_have_count(1, timeout=20_000)
    with made.context.transaction(account) as session:
        revoke_token(session, row.id)
    page.get_by_label("Session token").fill(second, timeout=20_000)
    page.keyboard.press("Enter")
    online(page)
    playwright.expect(page.locator(".message")).to_have_count(0)


def test_it_is_used_by_keyboard_alone(chat, page):
    _, _, origin = chat
    page.goto(f"{origin}/chat")
    online(page)
    playwright.expect(page.get_by_label("Your message")).to_be_focused()
    page.keyboard.type("First line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".message.user p")).to_have_text("First line\nsecond line")
    playwright.expect(page.get_by_role("button", name="Talk to a person")).to_be_visible(timeout=20_000)
    page.keyboard.press("Shift+Tab")
    playwright.expect(page.get_by_role("button", name="Talk to a person")).to_be_focused()
    page.keyboard.press("Enter")
    playwright.expect(bots(page)).to_have_count(2, timeout=20_000)
    log = page.get_by_role("log")
    assert log.get_attribute("aria-live") == "polite"
    assert page.get_by_role("status").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone(chat, browser, scheme):
    _, _, origin = chat
    context = browser.new_context(
        viewport={"width": 375, "height": 667}, color_scheme=scheme, has_touch=True, device_scale_factor=2
    )
    page = context.new_page()
    page.goto(f"{origin}/chat")
    online(page)
    say(page, "Where is my order? It is number " + "4711" * 30)
    playwright.expect(page.get_by_role("button", name="Track my order")).to_be_visible(timeout=20_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.locator("#send").bounding_box()["height"] >= 44
    picture(page, f"telephone-{scheme}")
    context.close()


def test_it_reconnects_and_says_once_what_was_said_meanwhile(chat, page):
    _, _, origin = chat
    page.goto(f"{origin}/chat")
    online(page)
    say(page, "One")
    playwright.expect(bots(page)).to_have_count(1, timeout=20_000)
    page.context.set_offline(True)
    page.evaluate("for (const one of [1]) window.dispatchEvent(new Event('offline'))")
    page.context.set_offline(False)
    say(page, "Two")
    playwright.expect(bots(page)).to_have_count(2, timeout=30_000)
    playwright.expect(page.locator(".message")).to_have_count(4)


def test_its_policy_lets_nothing_in_and_names_who_may_frame_it(chat):
    _, _, origin = chat
    answer = httpx2.get(f"{origin}/chat")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self' https://shop.example" in policy
    assert "x-frame-options" not in answer.headers
