"""Whether a page shuts anybody out: axe-core over every page in chromium, wide and narrow, light and dark."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from importlib.resources import files

import httpx2
import pytest

from cli.local.processes import wait_until
from core.conversations import create_conversation
from core.drafts import draft_of
from core.messages import create_messages
from core.work import Leases
from tests.acceptance.conftest import an_installation, free_port
from tests.api import a_secret, a_world
from tests.browsers import CHROMIUM, FLAGS, needs_a_browser, playwright
from tests.factories import A_KEY, an_account, execute
from tests.hands import hands

pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
pytestmark = [needs_a_browser, pytest.mark.slow]

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
LOOKS = {f"{width}-{scheme}": (width, scheme) for width in (1440, 375) for scheme in ("light", "dark")}
# What a rule says where it is broken, and where that is.
RUN = """async only => {
  const found = await axe.run(document, {resultTypes: ['violations'], ...(only && {runOnly: only})});
  return found.violations.map(one => [one.id, one.impact, one.help,
    one.nodes.slice(0, 3).map(node =>
      `${node.html.slice(0, 160)} (${node.failureSummary.split('\\n')[1]})`)]);
}"""
# Rules that see how a page is laid out and coloured; what the others say is the same at every width.
SEEN = ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"]
# What is folded is looked at as well; of the reference three sections, which are all alike.
UNFOLD = """() => {
  document.querySelectorAll('details').forEach(one => one.open = true);
  document.querySelectorAll('main > section').forEach((one, at) => at > 2 && one.remove());
}"""

# By name: the address, with the names of ids in the world.
PAGES = {
    "runs": "/",
    "run": "/runs/{runId}",
    "conversations": "/conversations",
    "conversations that were searched for": "/conversations?q=morning",
    "a search that finds nothing": "/conversations?q=nowhere",
    "a search that is wrong": "/conversations?q=nothing:x",
    "conversation": "/conversations/{conversationId}",
    "conversation with personal data": "/conversations/{private}",
    "end of a conversation": "/conversations/{conversationId}?after=90",
    "deletion of a conversation": "/conversations/{conversationId}/delete",
    "tasks": "/tasks",
    "task": "/tasks/{taskId}",
    "new task": "/tasks/new",
    "edited task": "/tasks/{taskId}/edit",
    "backfills": "/tasks/{taskId}/backfill",
    "runs that were filtered": "/runs?state=failed&error=timeout",
    "a filter that is wrong": "/runs?state=x",
    "settings": "/settings",
    "a simulation": "/settings/retention/simulate?delete_after=1d&anonymise_after=1d",
    "a simulation of a rule": "/settings/retention/simulate?rule={ruleId}",
    "jobs": "/jobs",
    "job": "/jobs/{jobId}",
    "bots": "/bots",
    "bot": "/bots/{botId}",
    "contacts": "/contacts",
    "contact": "/contacts/{contactId}",
    "datasets": "/datasets",
    "dataset": "/datasets/{datasetId}",
    "record": "/datasets/{datasetId}/records/{recordId}",
    "skillsets": "/skillsets",
    "skillset": "/skillsets/{skillsetId}",
    "tokens": "/tokens",
    "operations": "/ops",
    "reference": "/docs",
    "operation": "/docs/completeConversation",
    "unknown page": "/conversations/nothing",
    "somebody else's page": "/conversations/{foreign}",
    "login": "/login",
    "login by a link": "/login/x",
    "chat that asks for a token": "/chat/other",
}


# A run that has ended in every way, so that each has its colour on the pages.
ENDED = (
    "INSERT INTO runs (id, account_id, task_id, trigger, action, state, error_class, reason, finished_at)"
    " SELECT uuidv7(), account_id, id, 'manual', 'complete', how,"
    " CASE WHEN how = 'failed' THEN 'timeout' END,"
    " CASE WHEN how IN ('skipped', 'missed') THEN 'late' END, now() FROM tasks,"
    " unnest(ARRAY['succeeded', 'failed', 'cancelled', 'skipped', 'missed']) AS how WHERE id = :task"
)
SAID = (
    {"type": "user", "text": "I am grace@example.com, telephone +44 20 7946 0018."},
    {"type": "bot", "text": "Thank you."},
    *({"type": kind, "text": f"A {kind}."} for kind in ("reasoning", "context", "instruction", "checkpoint")),
    {"type": "activity", "text": "{}", "meta": {"activity": {"function": {"name": "weather"}}}},
)


@dataclass
class Found:
    """What axe-core found, by page and look."""

    said: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def look(self, tab, name: str, looks=LOOKS) -> None:
        """Asks it about the page that is shown, in every look."""
        for number, (look, (width, scheme)) in enumerate(looks.items()):
            tab.set_viewport_size({"width": width, "height": 900})
            tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            if not tab.evaluate("typeof axe === 'object'"):
                tab.evaluate(AXE)
            found = tab.evaluate(RUN, SEEN if number else None)
            self.said[name, look] = [
                f"{rule} ({impact}): {words} {places}" for rule, impact, words, places in found
            ]


@pytest.fixture(scope="module")
def found(servers, worker_id, tmp_path_factory):
    """Every page in every look, in one tab of one browser over one API."""
    with an_installation(servers, worker_id, tmp_path_factory.mktemp("axe"), A_KEY) as made:
        port, account, leases = free_port(), an_account(made.context), Leases(made.context)
        made.settings |= {"CRONTALK_KEY": A_KEY, "CRONTALK_ANONYMOUS": str(account)}
        made.start("api", "--port", str(port))
        world = a_world(made.context, account, leases)
        ids = {**vars(world), **more(made.context, account, world)}
        origin = f"http://127.0.0.1:{port}"
        assert wait_until(lambda: answers(origin), timedelta(seconds=120)), made.all_logs()
        secret = a_secret(made.context, account, ("read", "write", "pii:read"))
        with hands(made.context, leases), playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            try:
                yield looked_at(browser, origin, secret, ids)
            finally:
                browser.close()
        leases.close()


def more(context, account, world) -> dict[str, str]:
    """What a world has none of: runs that ended otherwise, every kind of message, and a stranger."""
    execute(context, ENDED, task=world.taskId)
    with context.transaction(account) as session:
        talk = create_conversation(session, name="Said of every kind", privacy=True)
        create_messages(session, talk.id, [draft_of(dict(one)) for one in SAID])
    execute(
        context,
        "UPDATE bots SET meta = CAST(:meta AS jsonb), model = 'offline' WHERE account_id = :id",
        meta='{"suggestions": [{"text": "Track my order", "value": "Where is it?"}]}',
        id=account,
    )
    stranger = an_account(context, "Grace")
    with context.transaction(stranger) as session:
        foreign = create_conversation(session)
    return {"private": str(talk.id), "foreign": str(foreign.id)}


def answers(origin: str) -> bool:
    try:
        return httpx2.get(f"{origin}/health/ready", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def looked_at(browser, origin: str, secret: str, ids: dict[str, str]) -> Found:
    """Signs in and goes through the pages. The policy of the pages lets no script in but their own: only
    this tab is excused from it.
    """
    found = Found()
    context = browser.new_context(bypass_csp=True, locale="en-GB")
    tab = context.new_page()
    tab.goto(f"{origin}/login")
    tab.get_by_label("Token").fill(secret)
    tab.get_by_role("button", name="Sign in").click()
    for name, path in PAGES.items():
        tab.goto(f"{origin}{path.format(**ids)}")
        tab.evaluate(UNFOLD)
        found.look(tab, name)
    for name, act in ACTS.items():
        act(tab, origin, ids)
        found.look(tab, name)
    context.close()
    return found


def choose_to_delete(tab, origin: str, ids: dict[str, str]) -> None:
    tab.goto(f"{origin}/conversations")
    tab.get_by_label("All shown").check()
    tab.get_by_role("button", name="Delete selected…").click()


def spoil(tab, origin: str, ids: dict[str, str]) -> None:
    tab.goto(f"{origin}/tasks/{ids['taskId']}/edit")
    tab.get_by_label("Schedule").fill("sometimes")
    tab.get_by_role("button", name="Save").click()


def show_the_keys(tab, origin: str, ids: dict[str, str]) -> None:
    tab.goto(f"{origin}/tasks")
    tab.keyboard.press("?")


def reveal(tab, origin: str, ids: dict[str, str]) -> None:
    tab.goto(f"{origin}/conversations/{ids['private']}")
    tab.get_by_role("button", name="Reveal").first.click()
    playwright.expect(tab.get_by_text("grace@example.com")).to_be_visible()


def sign_out(tab, origin: str, ids: dict[str, str]) -> None:
    tab.goto(f"{origin}/tasks")
    tab.get_by_role("button", name="Log out").click()


def chat(tab, origin: str, ids: dict[str, str]) -> None:
    tab.goto(f"{origin}/chat")
    playwright.expect(tab.locator("#state")).to_have_text("Online", timeout=20_000)
    tab.get_by_label("Your message").fill("Hello")
    tab.keyboard.press("Enter")
    playwright.expect(tab.get_by_role("button", name="Track my order")).to_be_visible(timeout=20_000)


# What is reached by doing something, in this order.
ACTS = {
    "selection to delete": choose_to_delete,
    "form that was refused": spoil,
    "keys": show_the_keys,
    "revealed message": reveal,
    "chat": chat,
    "signed out": sign_out,
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", [*PAGES, *ACTS])
def test_axe_finds_nothing_that_shuts_people_out(found, name, look):
    assert found.said[name, look] == []
