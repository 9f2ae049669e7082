"""The dashboard in a real browser: Debian's chromium, where it is installed, over the running service."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from core.contacts import ensure_contact
from core.conversations import create_conversation
from core.drafts import draft_of
from core.messages import create_messages
from core.tasks import create_task, trigger_task
from tests.api import a_secret
from tests.browsers import CHROMIUM, FLAGS, needs_a_browser, playwright
from tests.factories import execute
from tests.pages import PAYLOADS

pytestmark = needs_a_browser

# Where somebody wants to look at the pages: a folder that screenshots are put in.
PICTURES = os.environ.get("DASHBOARD_PICTURES")
SIZES = ({"width": 1440, "height": 900}, {"width": 375, "height": 760})


@pytest.fixture(scope="module")
def filled(service):
    """An account with tasks, a hundred conversations, and what hostile people write."""
    with service.installation.context.transaction(service.account) as session:
        contact = ensure_contact(session, name="Grace", fingerprint="grace")
        for n in range(100):
            talk = create_conversation(session, name=f"Talk {n:03}", source="widget", contact_id=contact.id)
            create_messages(
                session, talk.id, [draft_of({"type": "user", "text": f"Number {n} asks for a refund."})]
            )
        for payload in PAYLOADS:
            talk = create_conversation(session, name=payload, source="hostile", description=payload)
            create_messages(session, talk.id, [draft_of({"type": "bot", "text": payload, "name": payload})])
            create_task(session, name=payload, description=payload)
        task = create_task(
            session, name="Night audit", description="Audit.", schedule="30 1 * * *", timezone="Europe/London"
        )
    return {"task": f"/tasks/{task.id}", "contact": f"/contacts/{contact.id}"}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def is_bad(said) -> bool:
    """Whether a line of the console is a complaint. That a form was refused with a reason is none."""
    return said.type in {"error", "warning"} and "400 (Bad Request)" not in said.text


@pytest.fixture
def tab(browser, service, filled):
    """Makes tabs that are signed in; complaints of the browser and requests elsewhere are failures."""
    contexts, complaints = [], []

    def open_tab(**options):
        context = browser.new_context(**{"viewport": SIZES[0], "locale": "en-GB", **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if is_bad(said) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(service.origin) else complaints.append(asked.url),
        )
        page.goto(f"{service.origin}/login")
        secret = a_secret(service.installation.context, service.account, ("read", "write", "pii:read"))
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        playwright.expect(page.get_by_role("heading", name="Runs")).to_be_visible()
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert complaints == []


def picture(page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


def places(filled) -> dict[str, str]:
    names = (
        "conversations",
        "tasks",
        "jobs",
        "bots",
        "contacts",
        "datasets",
        "skillsets",
        "tokens",
        "ops",
        "settings",
    )
    found = {name: f"/{name}" for name in names}
    return {"runs": "/", **found, "task": filled["task"], "contact": filled["contact"], "form": "/tasks/new"}


@pytest.mark.parametrize("size", SIZES, ids=("wide", "narrow"))
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_is_quiet_and_asks_nobody_else(tab, service, filled, size, scheme):
    page = tab(viewport=size, color_scheme=scheme)
    for name, path in places(filled).items():
        page.goto(f"{service.origin}{path}")
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, (name, size)
        assert page.locator("h1").count() == 1
        picture(page, f"{name}-{size['width']}-{scheme}")


def test_the_list_goes_on_by_itself_and_the_search_answers_while_one_types(tab, service):
    page = tab()
    page.goto(f"{service.origin}/conversations?q=source%3Awidget")
    playwright.expect(page.locator("a.title")).to_have_count(40)
    for count in (80, 100):
        page.locator("li.more").scroll_into_view_if_needed()
        playwright.expect(page.locator("a.title")).to_have_count(count)
    playwright.expect(page.locator("li.more")).to_have_count(0)
    names = page.locator("a.title").all_inner_texts()
    assert names == [f"Talk {n:03}" for n in range(99, -1, -1)]
    page.locator("#q").fill("")
    page.locator("#q").press_sequentially("refund source:widget 42", delay=10)
    playwright.expect(page.locator("a.title")).to_have_count(1)
    playwright.expect(page.locator("mark").first).to_have_text("42")
    assert "q=refund" in page.url
    page.locator("a.title").click()
    playwright.expect(page.get_by_role("heading", name="Talk 042")).to_be_visible()
    page.go_back()
    playwright.expect(page.locator("#q")).to_have_value("refund source:widget 42")


def test_everything_is_reached_by_keys(tab, service):
    page = tab()
    page.goto(f"{service.origin}/conversations?q=source%3Awidget")
    page.keyboard.press("?")
    playwright.expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    playwright.expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    playwright.expect(page.locator("a.title").nth(1)).to_be_focused()
    page.keyboard.press("x")
    playwright.expect(page.locator("[data-count]")).to_have_text("1 selected")
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("heading", name="Talk 098")).to_be_visible()
    page.go_back()
    page.keyboard.press("/")
    playwright.expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("j?")
    assert page.locator("#q").input_value().endswith("j?")
    page.goto(f"{service.origin}/tasks")
    page.keyboard.press("Tab")
    playwright.expect(page.locator("a.skip")).to_be_focused()


def test_a_schedule_is_previewed_and_a_form_explains_its_errors(tab, service):
    page = tab()
    page.goto(f"{service.origin}/tasks/new")
    page.get_by_label("Name").fill("Browser's own")
    page.get_by_label("Prompt").fill("Say hello.")
    page.get_by_label("Schedule").press_sequentially("0 9 * * MON-FRI", delay=5)
    playwright.expect(page.locator("#due")).to_contain_text("09:00, monday to friday", ignore_case=True)
    page.get_by_label("Time zone").fill("Europe/Lisboa")
    playwright.expect(page.locator("#due")).to_contain_text("Did you mean Europe/Lisbon")
    page.get_by_role("button", name="Make the task").click()
    playwright.expect(page.locator("#content > .wrong")).to_contain_text("Did you mean")
    playwright.expect(page.get_by_label("Name")).to_have_value("Browser's own")
    page.get_by_label("Time zone").fill("Europe/Lisbon")
    page.get_by_role("button", name="Make the task").click()
    playwright.expect(page.get_by_role("heading", name=re.compile("Browser's own"))).to_be_visible()
    page.get_by_role("button", name="Run now").click()
    playwright.expect(page.get_by_role("row", name=re.compile("by hand"))).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    playwright.expect(page.get_by_role("button", name="Resume")).to_be_visible()


def test_a_selection_becomes_a_job_after_its_preview(tab, service):
    page = tab()
    page.goto(f"{service.origin}/conversations?q=source%3Ahostile")
    page.get_by_label("All shown").check()
    playwright.expect(page.locator("[data-count]")).to_have_text(f"{len(PAYLOADS)} selected")
    page.get_by_label(re.compile(r"^Select")).first.uncheck()
    page.get_by_role("button", name="Delete selected…").click()
    heading = page.get_by_role("heading", name=f"Delete {len(PAYLOADS) - 1} conversations?")
    playwright.expect(heading).to_be_visible()
    page.get_by_role("button", name="Delete them").click()
    playwright.expect(page.get_by_role("heading", name=re.compile("Deletion"))).to_be_visible()
    playwright.expect(page.locator("#job")).to_contain_text(f"0 of {len(PAYLOADS) - 1}")
    page.get_by_role("button", name="Cancel").click()
    playwright.expect(page.locator("#job .state")).to_have_text("cancelled")


def test_what_hostile_people_wrote_runs_nowhere(tab, service):
    page = tab()
    page.goto(f"{service.origin}/conversations?q=source%3Ahostile")
    paths = [link.get_attribute("href") for link in page.locator("a.title").all()]
    assert len(paths) == len(PAYLOADS)
    page.goto(f"{service.origin}/tasks")
    paths += [link.get_attribute("href") for link in page.locator("tbody a[data-row]").all()]
    for path in paths:
        page.goto(f"{service.origin}{path}")
        assert page.locator("main iframe, main img, main svg, main script").count() == 0
    shown = page.locator("main").inner_text()
    assert any(payload in shown for payload in PAYLOADS) or "Night audit" in shown or "Browser" in shown


def test_pages_work_without_scripts(tab, service):
    page = tab(java_script_enabled=False)
    page.goto(f"{service.origin}/conversations?q=source%3Awidget")
    page.get_by_role("link", name="Older conversations").click()
    assert page.locator("a.title").first.inner_text() == "Talk 059"
    page.get_by_role("link", name="Newest").click()
    page.locator("#q").fill("refund 42")
    page.get_by_role("button", name="Search").click()
    assert page.locator("a.title").all_inner_texts() == ["Talk 042"]


def test_runs_are_filtered_in_the_address_and_by_keys(tab, service):
    page = tab()
    with service.installation.context.transaction(service.account) as session:
        task = create_task(session, name="Looked for", description="Say something.")
        trigger_task(session, task.id)
    page.goto(f"{service.origin}/runs")
    page.keyboard.press("/")
    playwright.expect(page.get_by_label("Task")).to_be_focused()
    page.keyboard.type("looked for")
    page.get_by_label("Trigger").select_option("by hand")
    page.get_by_role("button", name="Filter").click()
    playwright.expect(page.locator("a[data-row]")).to_have_count(1)
    assert "task=looked+for" in page.url
    page.get_by_role("link", name="missed", exact=True).click()
    playwright.expect(page.locator(".empty")).to_contain_text("No run matches.")
    assert "task=looked+for" in page.url
    page.go_back()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("heading", name=re.compile("Looked for"))).to_be_visible()


def test_a_page_follows_a_run_until_it_has_ended(tab, service):
    page = tab()
    installation = service.installation
    execute(installation.context, "UPDATE bots SET model = 'offline/latency=1.5'")
    with installation.context.transaction(service.account) as session:
        task = create_task(session, name="Followed", description="Say something.")
    page.goto(f"{service.origin}/tasks/{task.id}")
    page.get_by_role("button", name="Run now").click()
    page.get_by_role("link", name="Open", exact=True).first.click()
    playwright.expect(page.locator("#runs .state")).to_have_text("succeeded", timeout=30_000)


def test_a_conversation_goes_on_live_and_lists_show_what_is_new(tab, service):
    context = service.installation.context
    page, other = tab(), tab()
    other.goto(f"{service.origin}/conversations?q=source%3Aelsewhere")
    playwright.expect(other.get_by_text("No conversation matches.")).to_be_visible()
    with context.transaction(service.account) as session:
        talk = create_conversation(session, name="Live talk", source="elsewhere")
    page.goto(f"{service.origin}/conversations/{talk.id}")
    playwright.expect(page.get_by_text("Nothing was said yet.")).to_be_visible()
    # The other page shows it by itself once something is said in it, and its row is told of the answer.
    page.get_by_label("Begin it").fill("Where is <b>my</b> parcel?")
    page.keyboard.press("Control+Enter")
    playwright.expect(page.locator("li.message.user")).to_have_count(1)
    playwright.expect(page.locator("li.message.bot")).to_have_count(1, timeout=15_000)
    playwright.expect(page.get_by_label("Go on with it")).to_have_value("")
    playwright.expect(page.get_by_text("An answer is being written")).to_have_count(0)
    playwright.expect(page.locator("#runs summary .succeeded")).to_have_count(1)
    playwright.expect(other.get_by_role("link", name="Live talk")).to_be_visible()
    playwright.expect(other.locator("#rows .said strong")).to_have_text("Bot:")
    with context.transaction(service.account) as session:
        second = create_conversation(session, name="Second talk", source="elsewhere")
        create_messages(session, second.id, [draft_of({"type": "user", "text": "And another thing."})])
    playwright.expect(other.get_by_role("link", name="Second talk")).to_be_visible()
    assert other.locator("a.title").all_inner_texts() == ["Second talk", "Live talk"]
    picture(page, "conversation-live")


def test_a_backfill_is_previewed_begun_and_followed(tab, service, filled):
    page = tab()
    page.goto(f"{service.origin}{filled['task']}")
    page.get_by_role("link", name="Backfill…").click()
    page.get_by_label("From").fill("2026-03-01T00:00")
    page.get_by_label("Until, and not including").fill("2026-03-04T00:00")
    page.get_by_role("button", name="Preview").click()
    playwright.expect(page.get_by_role("status")).to_contain_text("3 runs, of 3 occurrences")
    picture(page, "backfill")
    page.get_by_role("button", name="Begin 3 runs").click()
    playwright.expect(page.locator("h1")).to_contain_text("Backfill")
    playwright.expect(page.locator("h1 .completed")).to_be_visible(timeout=30_000)


def test_privacy_is_tried_while_one_types(tab, service):
    page = tab()
    page.goto(f"{service.origin}/settings")
    page.get_by_label("Under").select_option("recommended")
    page.get_by_label("A text with personal data in it").press_sequentially("Mail grace@example.com", delay=5)
    playwright.expect(page.locator("#tried .found")).to_have_text("1 × EMAIL_ADDRESS mask")
    playwright.expect(page.locator("#tried .pii")).to_have_count(1)
    assert "grace" not in page.url
    page.get_by_label("Deleted after").fill("1y")
    page.get_by_role("button", name="Simulate").click()
    playwright.expect(page.locator("#forecast td").first).to_have_text("today")
    picture(page, "settings")
