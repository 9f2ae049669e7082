"""Tokens of one contact: what they open, what they do not, and how they end."""

from __future__ import annotations

import pytest

from core.accounts import authenticate, create_token
from core.contacts import delete_contact
from core.conversing import Reach, list_conversations, user_of
from core.errors import NotAuthenticated, NotFound
from core.firing import fire
from tests.api import a_client
from tests.factories import a_contact, a_conversation, a_due_task, an_account
from tests.generalbots import BASE, a_contacts_secret, refused


def test_a_token_is_of_a_contact_of_its_own_account(context, account):
    theirs = a_contact(context, an_account(context, "Grace"))
    for wrong in (theirs.id, "nonsense"):
        with context.transaction() as session, pytest.raises(NotFound):
            create_token(session, account, "x", contact_id=wrong)


def test_it_ends_with_its_contact_and_never_becomes_the_accounts(context, account):
    contact = a_contact(context, account)
    secret = a_contacts_secret(context, account, contact.id)
    with context.transaction() as session:
        assert user_of(authenticate(session, secret)) == contact.id
    with context.transaction(account) as session:
        delete_contact(session, contact.id)
    with context.transaction() as session, pytest.raises(NotAuthenticated):
        authenticate(session, secret)
    refused(a_client(context, secret).get(BASE), 401, "unauthorized")


def test_pages_do_not_let_it_in(context, account):
    secret = a_contacts_secret(context, account)
    browser = a_client(context)
    for name in ("crontalk", "__Host-crontalk"):
        browser.cookies.set(name, secret)
    assert browser.get("/").status_code in {302, 303, 401, 403}
    assert "Conversations" not in browser.get("/").text


def test_streams_and_every_spelling_of_the_other_dialect_are_shut(context, account):
    client = a_client(context, a_contacts_secret(context, account))
    conversation = a_conversation(context, account)
    for path in (
        "/v1/conversation/list",
        "/api/v1/conversation/list",
        f"/v1/conversation/{conversation.id}/message/list",
        "/api/v1/event/log/list",
    ):
        for accept in ("application/json", "application/jsonl"):
            assert client.get(path, headers={"Accept": accept}).status_code == 403


def test_what_a_schedule_opens_for_a_contact_is_in_the_contacts_list(context, account):
    contact = a_contact(context, account)
    a_due_task(context, account, contact_id=contact.id)
    a_due_task(context, account)
    fire(context)
    client = a_client(context, a_contacts_secret(context, account, contact.id))
    page = client.get(BASE).json()
    assert page["total"] == 1
    shown = client.get(f"{BASE}/{page['conversations'][0]['id']}/history").json()["messages"]
    assert [one["content"] for one in shown] == ["Say good morning."]
    with context.transaction(account) as session:
        assert list_conversations(session, Reach())[1] == 2
