"""The list of runs: filtered by its address, paged, and bounded."""

from __future__ import annotations

import uuid
from urllib.parse import urlencode

import pytest

from core.run_lists import STATES, WHYS
from models import Trigger
from tests.api import a_browser
from tests.factories import a_pending_run, a_task, an_account, execute
from tests.pages import PAYLOADS, Page, assert_harmless


@pytest.fixture
def browser(context, account):
    return a_browser(context, account)


@pytest.fixture
def runs(context, account):
    """One of every outcome, oldest first, with a minute between two of them."""
    made = {}
    for state, why in (("failed", "quota"), ("succeeded", None), ("skipped", "overlap"), ("pending", None)):
        run = a_pending_run(context, account)
        column = "reason" if state == "skipped" else "error_class"
        if state != "pending":
            change = f"UPDATE runs SET state = :state, {column} = :why, finished_at = now() WHERE id = :id"
            execute(context, change, state=state, why=why, id=run.id)
        made[state] = str(run.id)
    execute(context, "UPDATE runs SET trigger = 'manual' WHERE state = 'failed'")
    execute(context, "UPDATE runs SET trigger = 'schedule' WHERE state <> 'failed'")
    return made


def shown(browser, **filters):
    page = Page(browser.get(f"/runs?{urlencode(filters)}"))
    return [a["href"].rpartition("/")[2] for a in page.all("a") if "data-row" in a]


def test_runs_are_filtered_by_what_the_address_says(browser, runs):
    assert shown(browser) == list(runs.values())[::-1]
    for filters, states in (
        ({"state": "failed"}, ["failed"]),
        ({"state": "open"}, ["pending"]),
        ({"error": "quota"}, ["failed"]),
        ({"error": "overlap"}, ["skipped"]),
        ({"error": "budget"}, []),
        ({"trigger": "manual"}, ["failed"]),
        ({"trigger": "schedule", "state": "succeeded"}, ["succeeded"]),
        ({"after": "2020-01-01", "state": "skipped"}, ["skipped"]),
        ({"before": "2020-01-01"}, []),
        ({"after": "2100-01-01T09:00"}, []),
    ):
        assert shown(browser, **filters) == [runs[state] for state in states], filters


def test_a_task_is_meant_by_its_name_or_its_id_and_only_ones_own(browser, context, account, runs):
    task = a_task(context, account, name="Night Audit")
    execute(context, "UPDATE runs SET task_id = :task WHERE state = 'failed'", task=task.id)
    assert shown(browser, task="night audit") == [runs["failed"]]
    assert shown(browser, task=str(task.id)) == [runs["failed"]]
    assert shown(browser, task=str(uuid.uuid4())) == []
    stranger = a_browser(context, an_account(context, "Grace"))
    assert shown(stranger, task=str(task.id)) == []
    assert shown(stranger, state="failed") == []


def test_every_value_that_is_offered_is_taken(browser, runs):
    for name, values in (("state", STATES), ("error", WHYS), ("trigger", tuple(Trigger))):
        for value in values:
            assert browser.get(f"/runs?{name}={value}").status_code == 200


@pytest.mark.parametrize(
    "filters", ["state=x", "error=x", "trigger=x", "after=x", "before=tomorrow", "task=%00"]
)
def test_a_filter_that_is_none_says_why_over_an_empty_list(browser, runs, filters):
    answer = browser.get(f"/runs?{filters}")
    assert answer.status_code == 400
    assert answer.text.count('class="wrong"') == 1
    assert "data-row" not in answer.text


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_is_filtered_by_is_shown_as_the_words_that_it_is(browser, runs, payload):
    for name in ("state", "error", "trigger", "task", "after", "before"):
        assert_harmless(browser.get("/runs", params={name: payload}), payload)


def test_pages_keep_their_filters_and_show_every_run_once(browser, context, account):
    made = [str(a_pending_run(context, account).id) for _ in range(60)]
    seen, path = [], "/runs?state=open"
    while path:
        assert "state=open" in path
        page = Page(browser.get(path))
        seen += [a["href"].rpartition("/")[2] for a in page.all("a") if "data-row" in a]
        path = next((a["href"] for a in page.all("a") if a.get("rel") == "next"), None)
    assert seen == made[::-1]


def test_a_list_tells_of_newer_runs_that_match(browser, context, account, runs):
    part = f"/runs/newer?than={runs['failed']}"
    assert "3 newer runs" in Page(browser.get(part)).text
    assert "1 newer run:" in Page(browser.get(f"{part}&state=open")).text
    assert "newer run" not in Page(browser.get(f"/runs/newer?than={runs['pending']}")).text
    stranger = a_browser(context, an_account(context, "Grace"))
    assert "newer run" not in Page(stranger.get(part)).text


def test_a_search_that_takes_long_is_given_up_and_says_so(browser, runs, monkeypatch):
    from core.search import TooLong

    def slow(*_args, **_kwargs):
        raise TooLong("x")

    monkeypatch.setattr("core.run_lists.page", slow)
    answer = browser.get("/runs?state=open")
    assert (answer.status_code, "add a filter" in answer.text) == (400, True)


def test_the_start_page_is_the_list_of_runs(browser, runs):
    assert "Newest first." in Page(browser.get("/")).text
