"""The page of settings: privacy tried out and chosen, retention simulated and kept, limits shown."""

from __future__ import annotations

import logging

import pytest

from core.quotas import set_limits
from core.retention import create_rule, list_rules
from models import Account
from tests.api import LOOPBACK, a_browser
from tests.deletions import old_talks
from tests.factories import an_account, one, rows
from tests.pages import PAYLOADS, Page

OURS = {"Origin": LOOPBACK}
TEXT = "Write to grace.hopper@example.com about <b>it</b>"


@pytest.fixture
def browser(context, account):
    return a_browser(context, account)


def post(browser, path, **form):
    return browser.post(f"/settings/{path}", data=form, headers=OURS)


def test_a_preset_is_chosen_and_what_else_the_policy_says_stays(browser, context, account):
    assert (
        post(browser, "privacy/policy", policy='{"allow": ["Acme"], "preset": "strict"}').status_code == 303
    )
    assert post(browser, "privacy/preset", preset="recommended").status_code == 303
    stored = one(context, "SELECT privacy_policy FROM accounts WHERE id = :id", id=account)
    assert stored == {"allow": ["Acme"], "preset": "recommended"}
    assert post(browser, "privacy/policy", policy=" ").status_code == 303
    assert one(context, "SELECT privacy_policy FROM accounts WHERE id = :id", id=account) in (None, {})
    assert post(browser, "privacy/preset", preset="paranoid").status_code == 400


@pytest.mark.parametrize("policy", ["{", "[1]", '{"colour": 1}', '{"preset": "x"}', "[" * 100_000, "1e999"])
def test_a_policy_that_cannot_be_used_is_refused_with_a_reason_and_kept_in_the_form(browser, policy):
    answer = post(browser, "privacy/policy", policy=policy)
    assert answer.status_code == 400
    assert Page(answer).all("textarea")


def test_a_text_is_tried_and_nothing_of_it_stays(browser, context, caplog):
    with caplog.at_level(logging.DEBUG):
        plain = post(browser, "privacy/try", words=TEXT)
        masked = post(browser, "privacy/try", words=TEXT, preset="recommended")
    assert "Nothing was found." in plain.text
    assert "1 × <code>EMAIL_ADDRESS</code> mask" in masked.text
    assert "&lt;b&gt;it&lt;/b&gt;" in masked.text
    shown = masked.text.split('id="tried"')[1]
    assert "grace.hopper@example.com" not in shown
    assert "grace.hopper" not in caplog.text
    assert rows(context, "SELECT 1 FROM messages") == []
    assert post(browser, "privacy/try", words=TEXT, preset="x").status_code == 400
    assert post(browser, "privacy/try", words="\x00").status_code in (200, 400)
    assert post(browser, "privacy/try", words="x" * 30_000).status_code == 200


def test_what_a_rule_would_do_is_simulated_and_the_rule_kept(browser, context, account):
    old_talks(context, account, 100, talks=3, messages=2)
    answer = browser.get("/settings/retention/simulate?delete_after=90d")
    assert answer.status_code == 200
    cells = Page(answer).text.split("if nothing more is said.")[1]
    assert "Deleted today 3 6" in " ".join(cells.split())
    assert one(context, "SELECT count(*) FROM conversations") == 3
    with context.transaction(account) as session:
        assert list_rules(session) == []
    assert post(browser, "retention", delete_after="90d", what="conversations").status_code == 303
    with context.transaction(account) as session:
        (rule,) = list_rules(session)
    page = browser.get(f"/settings/retention/simulate?rule={rule.id}")
    assert "The whole account" in page.text
    assert post(browser, f"retention/{rule.id}/delete").status_code == 303
    with context.transaction(account) as session:
        assert list_rules(session) == []


@pytest.mark.parametrize(
    "ages", ["delete_after=soon", "delete_after=1d&anonymise_after=2d", "delete_after=9d&what=x"]
)
def test_ages_that_are_none_are_explained(browser, ages):
    answer = browser.get(f"/settings/retention/simulate?{ages}")
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text


def test_another_accounts_rule_is_neither_shown_nor_simulated_nor_deleted(browser, context):
    other = an_account(context)
    with context.transaction(other) as session:
        rule = create_rule(session, delete_after="1y", source="theirs")
    assert browser.get(f"/settings/retention/simulate?rule={rule.id}").status_code == 403
    assert post(browser, f"retention/{rule.id}/delete").status_code == 403
    assert "theirs" not in browser.get("/settings").text


def test_limits_are_those_in_force(browser, context, account):
    with context.transaction(account) as session:
        changes = {"rate_turn": "7/m", "messages_per_month": "1234", "rate_bulk": "off"}
        set_limits(session, session.get_one(Account, account), changes)
    text = Page(browser.get("/settings")).text
    for words in ("turn requests 7/m", "deletions by jobs no limit", "messages 1,234 a month 0"):
        assert words in " ".join(text.split())


def test_who_may_only_read_changes_nothing(context, account):
    reader = a_browser(context, account, ("read",))
    for path in ("privacy/preset", "privacy/policy", "retention"):
        assert post(reader, path).status_code == 403
    assert post(reader, "privacy/try", words=TEXT, preset="strict").status_code == 200
    assert "Save the policy" not in reader.get("/settings").text


def test_what_hostile_people_write_is_shown_as_text(browser, context, account):
    with context.transaction(account) as session:
        for payload in PAYLOADS:
            create_rule(session, delete_after="1y", source=payload[:200])
    answer = browser.get("/settings")
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    for payload in PAYLOADS:
        tried = post(browser, "privacy/try", words=payload)
        assert tried.status_code in (200, 400)
        assert "<script>alert" not in tried.text
