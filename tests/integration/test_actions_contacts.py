"""Bots that write down what somebody tells of themselves: of the one they speak with, and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from core.contacts import delete_contact, update_contact
from core.errors import InvalidInput
from core.shields import shield_of
from core.skills.actions import ACTIONS
from tests.acting import a_turn, a_turn_with_a_contact, act, at_work, failed, undone
from tests.factories import a_bot, a_contact, execute, one, rows


@pytest.fixture
def turn(context, account):
    return a_turn_with_a_contact(context, account)


def the_contact(context, turn):
    return rows(context, "SELECT * FROM contacts WHERE id = :id", id=turn.contact_id)[0]


def test_what_somebody_tells_of_themselves_is_written_down(context, account, turn):
    other = a_contact(context, account, name="Ada")
    given = {
        "name": "Grace Hopper",
        "nick": "Amazing",
        "email": "grace@example.com",
        "phone": "+49 30 901820",
    }
    told = act(context, turn, "contact.update", **given, preferences="Tea without milk.")
    contact = the_contact(context, turn)
    assert told == {"id": str(turn.contact_id), "changed": ["email", "name", "nick", "phone", "preferences"]}
    assert {name: contact[name] for name in given} == {**given, "phone": "+4930901820"}
    assert contact["preferences"] == "Tea without milk."
    assert one(context, "SELECT name FROM contacts WHERE id = :id", id=other.id) == "Ada"
    act(context, turn, "contact.update", email="", nick="Rear Admiral")
    assert (the_contact(context, turn)["email"], the_contact(context, turn)["nick"]) == (None, "Rear Admiral")


def test_it_happens_once_whatever_was_rolled_back_before(context, turn):
    undone(context, turn, "contact.update", nick="Amazing")
    assert the_contact(context, turn)["nick"] is None
    act(context, turn, "contact.update", nick="Amazing")
    assert the_contact(context, turn)["nick"] == "Amazing"


def test_only_what_the_document_allows_may_be_changed(context, turn):
    may = {"fields": ["nick"], "meta": ["plan"]}
    execute(context, "UPDATE contacts SET meta = '{\"size\": 1}'")
    act(context, turn, "contact.update", may, nick="Amazing", meta={"plan": "gold"})
    assert failed(context, turn, "contact.update", may, nick="Other", email="a@example.com") == "refused"
    assert failed(context, turn, "contact.update", may, meta={"size": 2}) == "refused"
    assert failed(context, turn, "contact.update", meta={"plan": "lead"}) == "refused"
    for name in ("fingerprint", "verified_at", "id", "account_id", "description"):
        assert failed(context, turn, "contact.update", **{name: "x"}) == "refused"
    contact = the_contact(context, turn)
    assert (contact["nick"], contact["meta"]) == ("Amazing", {"size": 1, "plan": "gold"})


def test_another_address_is_not_verified(context, turn):
    execute(context, "UPDATE contacts SET verified_at = now(), email = 'a@example.com'")
    act(context, turn, "contact.update", email="a@example.com", nick="x")
    assert the_contact(context, turn)["verified_at"] is not None
    act(context, turn, "contact.update", email="b@example.com")
    assert the_contact(context, turn)["verified_at"] is None


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"email": "not an address"},
        {"email": "a@example.com\nBcc: b@example.com"},
        {"phone": "call me"},
        {"name": "a\x00b"},
        {"name": "\ud800"},
        {"name": "x" * 1_000_000},
        {"preferences": "x" * 1_000_000},
        {"name": 7},
        {"name": None},
        {"nick": ["x"]},
    ],
)
def test_what_cannot_be_written_down_is_refused(context, turn, given):
    before = the_contact(context, turn)
    assert failed(context, turn, "contact.update", **given) == "invalid"
    assert the_contact(context, turn) == before


def test_a_meta_that_is_too_large_or_no_json_is_refused(context, turn):
    may = {"meta": ["plan"]}
    for value in ("x" * 1_000_000, float("nan"), "a\x00b"):
        assert failed(context, turn, "contact.update", may, meta={"plan": value}) == "invalid"
    assert failed(context, turn, "contact.update", may, meta=["plan"]) == "refused"


def test_under_privacy_values_come_back_for_who_somebody_is_and_for_nothing_else(context, account):
    bot, contact = a_bot(context, account, privacy=True).id, a_contact(context, account, name=None).id
    turn = a_turn(context, account, bot=bot, contact=contact, said="I am at ada@example.com")
    token = one(context, "SELECT token FROM pii_tokens")
    act(context, turn, "contact.update", {"meta": ["at"]}, email=token.upper(), preferences=f"Mail {token}",
        meta={"at": token})  # fmt: skip
    found = the_contact(context, turn)
    assert (found["email"], found["preferences"]) == ("ada@example.com", "Mail <EMAIL_ADDRESS>")
    assert found["meta"] == {"at": "<EMAIL_ADDRESS>"}


def test_a_token_that_the_model_was_not_shown_brings_no_value(context, account):
    bot, contact = a_bot(context, account, privacy=True).id, a_contact(context, account).id
    turn = a_turn(context, account, bot=bot, contact=contact, said="I am at ada@example.com")
    token = one(context, "SELECT token FROM pii_tokens")
    with at_work(context, turn) as session:
        session.info["shown_tokens"] = frozenset()
        assert shield_of(session, turn.conversation_id).tokens() == frozenset()
        with pytest.raises(Exception, match="covered in this conversation"):
            ACTIONS["contact.update"].act(session, turn, {}, {"name": token})
    for covered in ("•••• ••••", "<PERSON>", "[email:zzzzz]"):
        assert failed(context, turn, "contact.update", name=covered) == "invalid"
    assert the_contact(context, turn)["name"] == "Grace"


def test_a_contact_that_somebody_holds_or_deletes_is_busy_or_gone(context, account, turn):
    assert failed(context, replace(turn, contact_id=None), "contact.update", nick="x") == "no_contact"
    with context.transaction(account) as session:
        update_contact(session, turn.contact_id, nick="Mine")
        assert failed(context, turn, "contact.update", nick="x") == "busy"
    with context.engine.begin() as connection:
        connection.execute(text("SELECT 1 FROM contacts WHERE id = :id FOR UPDATE"), {"id": turn.contact_id})
        assert failed(context, turn, "contact.update", nick="x") == "busy"
    with context.transaction(account) as session:
        delete_contact(session, turn.contact_id)
    assert failed(context, turn, "contact.update", nick="x") == "not_found"


@pytest.mark.parametrize(
    "document",
    [
        {"fields": []},
        {"fields": ["fingerprint"]},
        {"fields": "nick"},
        {"meta": []},
        {"meta": ["_own"]},
        {"meta": ["a b"]},
        {"meta": [1]},
        {"meta": {"plan": 1}},
        {"scope": "account"},
    ],
)
def test_a_document_that_cannot_work_is_refused_when_it_is_saved(document):
    with pytest.raises(InvalidInput):
        ACTIONS["contact.update"].checked({"type": "contact.update", **document})


def test_no_word_of_it_comes_into_the_logs(context, turn, capfd):
    act(context, turn, "contact.update", nick="geheim4711")
    failed(context, turn, "contact.update", email="geheim4711")
    assert "geheim4711" not in "".join(capfd.readouterr())
