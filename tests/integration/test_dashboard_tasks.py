"""The tasks' pages: schedules in words, due across a change of clocks, forms that explain themselves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.firing import fire
from core.turns import carry_out
from tests.api import LOOPBACK, a_browser
from tests.factories import a_bot, a_due_task, a_task, execute, make_due, one, rows
from tests.pages import Page

OURS = {"Origin": LOOPBACK}
FORM = {
    "name": "Report",
    "description": "Say how it goes.",
    "schedule": "0 9 * * MON-FRI",
    "timezone": "Asia/Tokyo",
}


@pytest.fixture
def browser(context, account):
    return a_browser(context, account)


def test_a_list_says_when_in_words_and_how_it_went(browser, context, account, leases):
    assert "No tasks yet." in Page(browser.get("/tasks")).text
    task = a_due_task(context, account, name="Often", schedule="*/5 * * * *", timezone="Asia/Tokyo")
    for state in ("succeeded", "failed"):
        make_due(context, task.id)
        fire(context)
        run = rows(context, "SELECT id FROM runs WHERE state = 'pending'")[0]["id"]
        assert carry_out(context, leases, run, worker="w", delivery="d") == "succeeded"
        if state == "failed":
            execute(context, "UPDATE runs SET state = 'failed', error_class = 'quota' WHERE id = :id", id=run)
    page = Page(browser.get("/tasks"))
    assert "every 5 minutes" in page.text
    assert "Asia/Tokyo" in page.text
    assert "50 %" in page.text
    strips = [a["title"] for a in page.all("li") if "title" in a]
    assert [words.partition(":")[0] for words in strips] == ["succeeded", "failed, quota"]


def test_tasks_are_paged(browser, context, account):
    made = [str(a_task(context, account).id) for _ in range(60)]
    seen, path = [], "/tasks"
    while path:
        page = Page(browser.get(path))
        seen += [a["href"].split("/")[2] for a in page.all("a") if "data-row" in a]
        path = next((a["href"] for a in page.all("a") if a.get("rel") == "next"), None)
    assert seen == made[::-1]


def test_a_task_shows_its_next_ten_in_both_times_and_where_the_clocks_change(browser, context, account):
    task = a_task(context, account, schedule="30 1 * * *", timezone="Europe/London")
    execute(context, "UPDATE task_clocks SET next_run_at = '2030-03-28T01:30Z'")
    text = Page(browser.get(f"/tasks/{task.id}")).text
    assert "Sat 30 Mar 2030, 01:30:00 2030-03-30 01:30:00 UTC" in text
    # In the gap the day's occurrence comes at the first instant there is.
    assert "Sun 31 Mar 2030, 02:00:00 2030-03-31 01:00:00 UTC the clocks go forward 1 h before this" in text
    assert "Mon 1 Apr 2030, 01:30:00 2030-04-01 00:30:00 UTC" in text
    assert text.count("01:30:00 2030-0") + text.count("02:00:00 2030-0") == 10


def test_history_says_why_an_occurrence_did_not_run(browser, context, account):
    task = a_due_task(context, account, late=timedelta(hours=30), schedule="@every 24h")
    fire(context)
    text = Page(browser.get(f"/tasks/{task.id}")).text
    assert "It was missed: no scheduler ran then" in text
    assert "It is due and waits for a worker." in text or "missed" in text


def test_a_task_is_made_and_edited_and_only_what_changed_is_stored(browser, context, account):
    answer = browser.post("/tasks/new", data=FORM, headers=OURS)
    assert answer.status_code == 303
    place = answer.headers["location"]
    row = rows(context, "SELECT name, description, schedule, timezone, action, overlap FROM tasks")[0]
    assert row == {**FORM, "action": "complete", "overlap": "skip"}
    execute(context, "UPDATE task_clocks SET next_run_at = '2030-01-01Z'")
    page = Page(browser.get(f"{place}/edit"))
    fields = {f["name"]: f.get("value", "") for f in page.all("input")}
    assert (fields["schedule"], fields["timezone"]) == (FORM["schedule"], FORM["timezone"])
    stored = {**FORM, "bot_id": str(one(context, "SELECT bot_id FROM tasks"))}
    assert browser.post(f"{place}/edit", data={**stored, "name": "Other"}, headers=OURS).status_code == 303
    assert one(context, "SELECT name FROM tasks") == "Other"
    assert str(one(context, "SELECT next_run_at FROM task_clocks")).startswith("2030-01-01")
    again = {**stored, "name": "Other", "schedule": "daily"}
    assert browser.post(f"{place}/edit", data=again, headers=OURS).status_code == 303
    assert not str(one(context, "SELECT next_run_at FROM task_clocks")).startswith("2030-01-01")


def test_a_policy_that_the_form_does_not_offer_survives_it(browser, context, account):
    task = a_task(
        context,
        account,
        conversation_mode="reuse",
        session_duration=timedelta(hours=1),
        max_attempts=2,
    )
    page = Page(browser.get(f"/tasks/{task.id}/edit"))
    assert {"value": "reuse", "selected": None} in page.all("option")
    stored = {
        "name": task.name,
        "description": task.description,
        "bot_id": str(task.bot_id),
        "conversation_mode": "reuse",
    }
    assert browser.post(f"/tasks/{task.id}/edit", data=stored, headers=OURS).status_code == 303
    row = rows(context, "SELECT conversation_mode, session_duration, max_attempts FROM tasks")[0]
    assert row == {
        "conversation_mode": "reuse",
        "session_duration": timedelta(hours=1),
        "max_attempts": 2,
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"schedule": "every day"}, "A schedule is one of"),
        ({"schedule": "0 0 31 2 *"}, "never"),
        ({"schedule": "61 * * * *"}, "minute"),
        ({"timezone": "Europe/Lisboa"}, "Did you mean"),
        ({"name": "", "description": ""}, "A task needs a description"),
        ({"action": "dance"}, "The action must be one of"),
        ({"overlap": "dance"}, "must be one of"),
        ({"name": "\x00"}, "name"),
        ({"bot_id": "01a22eec-8e9e-79a3-bbab-ade70eaa6628"}, "no such bot"),
    ],
)
def test_a_form_explains_what_is_wrong_and_keeps_what_was_typed(browser, context, account, wrong, said):
    answer = browser.post("/tasks/new", data={**FORM, **wrong}, headers=OURS)
    assert answer.status_code == 400, answer.text
    page = Page(answer)
    assert said in page.text
    typed = {**FORM, **wrong}
    assert typed["schedule"] in [f.get("value") for f in page.all("input")]
    assert one(context, "SELECT count(*) FROM tasks") == 0


def test_a_schedule_is_previewed_while_it_is_typed(browser):
    shown = Page(browser.get("/tasks/preview?schedule=0+9+*+*+MON-FRI&timezone=Asia/Tokyo"))
    assert "At 09:00, monday to friday, Asia/Tokyo".lower() in shown.text.lower()
    assert shown.text.count("09:00:00") == 5
    assert "A schedule is one of" in Page(browser.get("/tasks/preview?schedule=x")).text
    assert "when somebody starts it" in Page(browser.get("/tasks/preview")).text


def test_a_task_is_run_paused_resumed_cancelled_and_deleted(browser, context, account):
    task = a_task(context, account, schedule="daily")
    place = f"/tasks/{task.id}"
    assert browser.post(f"{place}/run", headers=OURS).status_code == 303
    assert one(context, "SELECT trigger FROM runs") == "manual"
    again = browser.post(f"{place}/run", headers=OURS)
    assert again.status_code == 409
    assert "A run of this task is under way." in Page(again).text
    assert browser.post(f"{place}/cancel", headers=OURS).status_code == 303
    assert one(context, "SELECT state FROM runs") == "cancelled"
    assert browser.post(f"{place}/pause", headers=OURS).status_code == 303
    page = Page(browser.get(place))
    assert "Paused (user)" in page.text
    assert f"{place}/resume" in [form.get("action") for form in page.all("form")]
    assert browser.post(f"{place}/resume", headers=OURS).status_code == 303
    assert one(context, "SELECT state FROM tasks") == "active"
    assert browser.post(f"{place}/dance", headers=OURS).status_code == 404
    assert browser.post(f"{place}/delete", headers=OURS).status_code == 303
    assert browser.get(place).status_code == 404


def test_a_task_that_lost_its_bot_says_that_it_will_not_run(browser, context, account):
    bot = a_bot(context, account)
    task = a_task(context, account, bot_id=bot.id)
    execute(context, "DELETE FROM bots WHERE id = :id", id=bot.id)
    assert "none: it will not run" in Page(browser.get(f"/tasks/{task.id}")).text
    assert browser.post(f"/tasks/{task.id}/run", headers=OURS).status_code == 409
