"""The page of a task's backfills: previewed, begun once, and explained where it cannot be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.api import LOOPBACK, a_browser
from tests.factories import a_task, an_account, one, rows
from tests.pages import Page

OURS = {"Origin": LOOPBACK}


@pytest.fixture
def browser(context, account):
    return a_browser(context, account)


@pytest.fixture
def place(context, account):
    return f"/tasks/{a_task(context, account, schedule='0 9 * * *', timezone='Europe/Lisbon').id}/backfill"


def span(days=3):
    today = datetime.now(UTC).date()
    return {
        "since": f"{today - timedelta(days=days + 1)}T00:00",
        "until": f"{today - timedelta(days=1)}T00:00",
    }


def hidden(answer):
    return {one["name"]: one["value"] for one in Page(answer).all("input") if one.get("type") == "hidden"}


def test_a_backfill_is_previewed_and_begun_once(browser, context, place):
    form = {**span(), "at_once": "2", "pace": "60", "prompt": "Say it <b>again</b>."}
    seen = browser.post(f"{place}/preview", data=form, headers=OURS)
    assert seen.status_code == 200
    assert "3 runs, of 3 occurrences" in " ".join(Page(seen).text.split())
    assert "Say it &lt;b&gt;again&lt;/b&gt;." in seen.text
    assert rows(context, "SELECT 1 FROM jobs") == []
    form |= hidden(seen)
    began = [browser.post(place, data=form, headers=OURS) for _ in range(2)]
    assert [answer.status_code for answer in began] == [303, 303]
    assert len({answer.headers["location"] for answer in began}) == 1
    job = rows(context, "SELECT kind, total, params FROM jobs")
    assert [(row["kind"], row["total"]) for row in job] == [("backfill", 3)]
    assert (job[0]["params"]["at_once"], job[0]["params"]["pace"]) == (2, 60)
    shown = browser.get(place)
    assert "0 of 3" in shown.text
    assert "<progress" in shown.text


def test_what_was_not_previewed_is_previewed_first(browser, context, place):
    answer = browser.post(place, data={**span(), "expected": "7"}, headers=OURS)
    assert answer.status_code == 400
    assert "It comes to 3 runs" in answer.text
    assert hidden(answer)["expected"] == "3"
    assert rows(context, "SELECT 1 FROM jobs") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"since": ""},
        {"until": "later"},
        {"since": "9999-12-31T00:00"},
        {"since": "\x00"},
        {"at_once": "many"},
        {"at_once": "0"},
        {"at_once": "٣"},
        {"pace": "-1"},
        {"pace": "99999"},
        {"since": "1990-01-01T00:00", "until": "2026-01-01T00:00"},
    ],
)
def test_what_cannot_be_backfilled_is_explained_and_the_form_keeps_its_words(browser, context, place, wrong):
    form = {**span(), "at_once": "1", **wrong}
    answers = [browser.post(place, data={**form, "expected": "3"}, headers=OURS)]
    if not {"at_once", "pace"} & wrong.keys():
        answers.append(browser.post(f"{place}/preview", data=form, headers=OURS))
    for answer in answers:
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text
    assert rows(context, "SELECT 1 FROM jobs") == []


def test_another_accounts_task_is_not_backfilled_and_readers_only_look(browser, context, account, place):
    stranger = a_browser(context, an_account(context))
    reader = a_browser(context, account, ("read",))
    for path in (place, f"{place}/preview"):
        assert stranger.post(path, data={**span(), "expected": "3"}, headers=OURS).status_code == 403
    assert stranger.get(place).status_code == 403
    assert reader.post(place, data={**span(), "expected": "3"}, headers=OURS).status_code == 403
    assert reader.post(f"{place}/preview", data=span(), headers=OURS).status_code == 200
    assert one(context, "SELECT count(*) FROM jobs") == 0
