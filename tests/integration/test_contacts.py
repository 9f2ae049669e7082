"""Contacts: found by their fingerprint, checked, and gone without what they were linked to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from core.contacts import (
    CHECKS,
    delete_contact,
    ensure_contact,
    get_contact,
    update_contact,
    upsert_contact,
)
from core.errors import Conflict, InvalidInput, NotAuthorized, NotFound
from tests.factories import an_account, one


@pytest.fixture
def session(context, account):
    with context.transaction(account) as opened:
        yield opened


def test_the_same_fingerprint_is_the_same_contact_and_stays_as_it_is(session):
    first = ensure_contact(session, fingerprint="ada", name="Ada")
    again = ensure_contact(session, fingerprint="ada", name="Somebody else", email="ada@example.com")
    assert again.id == first.id
    assert (again.name, again.email) == ("Ada", None)


def test_a_contact_without_a_fingerprint_is_given_one_of_its_own(session):
    contacts = [ensure_contact(session, name="Ada", fingerprint=None) for _ in range(3)]
    assert len({contact.fingerprint for contact in contacts}) == 3
    assert all(len(contact.fingerprint) >= 16 for contact in contacts)


def test_however_many_ask_at_once_there_is_one_contact(context, account):
    def ask(_):
        with context.transaction(account) as session:
            return ensure_contact(session, fingerprint="ada").id

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(24)))) == 1
    assert one(context, "SELECT count(*) FROM contacts") == 1


def test_who_asks_while_another_makes_it_waits_and_gets_that_one(context, account):
    with ThreadPoolExecutor(1) as threads:
        with context.transaction(account) as session:
            made = ensure_contact(session, fingerprint="ada", name="Ada").id

            def ask():
                with context.transaction(account) as other:
                    return ensure_contact(other, fingerprint="ada", name="Grace")

            asked = threads.submit(ask)
        found = asked.result()
    assert (found.id, found.name) == (made, "Ada")


def test_two_accounts_may_use_one_fingerprint(context, account):
    found = set()
    for owner in (account, an_account(context, "Grace")):
        with context.transaction(owner) as session:
            found.add(ensure_contact(session, fingerprint="ada").id)
    assert len(found) == 2


def test_an_upsert_changes_what_is_given_and_keeps_the_rest(session):
    first = ensure_contact(session, fingerprint="ada", name="Ada", nick="A", meta={"a": 1})
    again = upsert_contact(session, fingerprint="ada", name="Ada L.", nick=None, meta={"b": 2})
    assert again.id == first.id
    assert (again.name, again.nick, again.meta) == ("Ada L.", "A", {"a": 1, "b": 2})
    assert upsert_contact(session, name="New").id != first.id


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ("+1 415 555 0132", "+14155550132"),
        ("(415) 555-0132", "+14155550132"),
        ("+49 30 901820", "+4930901820"),
        (None, None),
    ],
)
def test_phone_numbers_are_kept_in_e164_and_american_unless_told(session, said, stored):
    assert ensure_contact(session, phone=said).phone == stored


WRONG = [
    ("phone", "abc"),
    ("phone", "12"),
    ("phone", ""),
    ("phone", "+" + "1" * 40),
    ("phone", "1" * 100_000),
    ("phone", 4155550132),
    ("email", "ada"),
    ("email", ""),
    ("email", "Ada <ada@example.com>"),
    ("email", "a@b\nBcc: c@d"),
    ("email", "a" * 300 + "@example.com"),
    ("email", "a\x00@example.com"),
    ("email", 7),
    ("fingerprint", ""),
    ("fingerprint", "x" * 1001),
    ("fingerprint", "\ud800"),
    ("name", ["x"]),
    ("name", "x" * 1001),
    ("nick", "a\x00b"),
    ("preferences", "x" * 70_000),
    ("verified_at", "2026-01-01"),
    ("meta", []),
    ("meta", "x"),
    ("meta", {"_secret": 1}),
    ("meta", {"a": "\x00"}),
    ("meta", {"a": {"b": ["\ud800"]}}),
    ("meta", {"a": float("nan")}),
    ("meta", {"a": "x" * 70_000}),
    ("state", "x"),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_what_cannot_be_stored_is_refused_in_a_sentence(session, field, value):
    contact = ensure_contact(session, fingerprint="ada")
    for change in (
        lambda: ensure_contact(session, **{field: value}),
        lambda: update_contact(session, contact.id, **{field: value}),
    ):
        with pytest.raises(InvalidInput) as refused:
            change()
        assert "xxxx" not in str(refused.value)
    assert field in CHECKS or field == "state"


def test_an_update_changes_what_is_given_and_null_clears(session):
    contact = ensure_contact(session, fingerprint="ada", name="Ada", email="a@example.com", meta={"a": 1})
    update_contact(session, contact.id, name=None, nick="Countess", meta={"b": 2})
    assert (contact.name, contact.nick, contact.email) == (None, "Countess", "a@example.com")
    assert contact.meta == {"a": 1, "b": 2}
    update_contact(session, contact.id, meta={"$update": {"b": 3}})
    assert contact.meta == {"a": 1, "b": 3}
    update_contact(session, contact.id, meta=None, fingerprint=None)
    assert contact.meta == {}
    assert contact.fingerprint not in {"ada", None}


def test_another_contacts_fingerprint_cannot_be_taken_over(session):
    ensure_contact(session, fingerprint="ada")
    other = ensure_contact(session, fingerprint="grace")
    with pytest.raises(Conflict):
        update_contact(session, other.id, fingerprint="ada", name="x")
    session.refresh(other)
    assert (other.fingerprint, other.name) == ("grace", None)


def test_a_deleted_contact_is_gone_and_its_fingerprint_free(session):
    first = ensure_contact(session, fingerprint="ada").id
    assert delete_contact(session, first) == first
    with pytest.raises(NotFound):
        get_contact(session, first)
    assert ensure_contact(session, fingerprint="ada").id != first


def test_another_accounts_contact_is_nobodys_to_change(context, account):
    with context.transaction(an_account(context, "Grace")) as session:
        theirs = ensure_contact(session, fingerprint="ada").id
    for change in (get_contact, update_contact, delete_contact):
        with pytest.raises(NotAuthorized), context.transaction(account) as session:
            change(session, theirs)
