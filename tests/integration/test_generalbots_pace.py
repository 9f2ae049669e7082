"""The limits of the conversations API: 60, 100 and 30 a minute and user, wherever the calls arrive."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from api.app import make_app
from core.limits import RateLimits
from core.quotas import set_limits
from core.rates import Rate, parse_rate
from models import Account, new_id
from tests.api import a_client, a_secret
from tests.factories import a_conversation, one
from tests.generalbots import BASE, a_contacts_secret, refused, with_chat_rates


@pytest.fixture
def limits(context):
    counters = RateLimits(context.settings.redis_url)
    yield counters
    counters.close()


def conversation_of(client):
    return client.post(f"{BASE}/start", json={}).json()["conversation_id"]


CALLS = {
    "message": (60, lambda client, one: client.post(f"{BASE}/{one}/messages", json={"content": "x"})),
    "history": (100, lambda client, one: client.get(f"{BASE}/{one}/history")),
    "list": (30, lambda client, _: client.get(BASE)),
}


@pytest.mark.parametrize("bucket", CALLS)
def test_the_documented_numbers_hold(bucket, context, account):
    most, call = CALLS[bucket]
    client = a_client(context, a_contacts_secret(context, account))
    conversation = conversation_of(client)
    for left in range(most - 1, -1, -1):
        answer = call(client, conversation)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ratelimit-limit"] == str(most)
        assert answer.headers["x-ratelimit-remaining"] == str(left)
    answer = call(client, conversation)
    refused(answer, 429, "rate_limited")
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert 0 < int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61
    for other, (_, act) in CALLS.items():
        assert (act(client, conversation).status_code == 429) is (other == bucket), "a bucket of its own"


def test_all_tokens_of_a_user_and_all_processes_count_together_and_users_apart(context, account):
    slow = with_chat_rates(context, list="2/m")
    apps = [make_app(slow) for _ in range(2)]
    with context.transaction(account) as session:
        from core.contacts import ensure_contact

        contact = ensure_contact(session, fingerprint="x").id
    clients = [a_client(slow, a_contacts_secret(context, account, contact), app=app) for app in apps]
    assert [client.get(BASE).status_code for client in (*clients, *clients)] == [200, 200, 429, 429]
    assert a_client(slow, a_contacts_secret(context, account), app=apps[0]).get(BASE).status_code == 200
    unbound = [a_client(slow, a_secret(context, account), app=app) for app in apps]
    assert [client.get(BASE).status_code for client in (*unbound, unbound[0])] == [200, 200, 429]


def test_a_start_counts_when_something_is_said(context, account):
    client = a_client(with_chat_rates(context, message="1/m"), a_contacts_secret(context, account))
    for body in ({}, {"initial_message": None}):
        answer = client.post(f"{BASE}/start", json=body)
        assert (answer.status_code, "x-ratelimit-limit" in answer.headers) == (200, False)
    assert client.post(f"{BASE}/start", json={"initial_message": "x"}).status_code == 200
    refused(client.post(f"{BASE}/start", json={"initial_message": "x"}), 429, "rate_limited")
    assert client.post(f"{BASE}/start", json={}).status_code == 200
    assert one(context, "SELECT count(*) FROM messages") == 1


def test_too_fast_is_told_before_what_is_not_there_and_not_allowed(context, account):
    client = a_client(with_chat_rates(context, message="1/m"), a_contacts_secret(context, account))
    foreign = str(a_conversation(context, account).id)
    refused(client.post(f"{BASE}/{foreign}/messages", content=b"{"), 403, "forbidden")
    for path in (foreign, "nonsense"):
        refused(client.post(f"{BASE}/{path}/messages", content=b"{"), 429, "rate_limited")
    refused(a_client(context).post(f"{BASE}/{foreign}/messages"), 401, "unauthorized")


def test_limits_may_be_off(context, account):
    client = a_client(with_chat_rates(context, list="off"), a_contacts_secret(context, account))
    answer = client.get(BASE)
    assert (answer.status_code, "x-ratelimit-limit" in answer.headers) == (200, False)


def test_an_accounts_own_rate_and_quota_hold_here_too(context, account):
    client = a_client(context, a_contacts_secret(context, account))
    conversation = conversation_of(client)
    with context.transaction() as session:
        set_limits(session, session.get(Account, account), {"messages_per_month": "1"})
    assert client.post(f"{BASE}/{conversation}/messages", json={"content": "x"}).status_code == 200
    refused(client.post(f"{BASE}/{conversation}/messages", json={"content": "x"}), 429, "rate_limited")
    assert client.post(f"{BASE}/start", json={}).status_code == 200
    with context.transaction() as session:
        set_limits(session, session.get(Account, account), {"rate_read": "1/h"})
    assert client.get(BASE).status_code == 200
    refused(a_client(context, a_secret(context, account)).get(BASE), 429, "rate_limited")


def test_without_valkey_everybody_is_let_in(context, account):
    away = replace(
        context, settings=context.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    )
    client = a_client(
        with_chat_rates(away, list="1/m"),
        a_contacts_secret(context, account),
        app=make_app(with_chat_rates(away, list="1/m")),
    )
    assert [client.get(BASE).status_code for _ in range(3)] == [200, 200, 200]


def test_a_window_slides_and_what_was_refused_does_not_count(limits):
    user, rate = new_id(), Rate(3, 1)
    taken = [limits.slide(user, "x", rate) for _ in range(5)]
    assert [one.allowed for one in taken] == [True, True, True, False, False]
    assert [one.remaining for one in taken] == [2, 1, 0, 0, 0]
    assert 0 < taken[-1].wait.total_seconds() <= 1
    until = time.monotonic() + 5
    while not (again := limits.slide(user, "x", rate)).allowed:
        assert time.monotonic() < until
    assert again.reset > taken[0].reset


def test_no_more_than_the_limit_come_through_at_once(limits):
    user, rate = new_id(), parse_rate("60/m")
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: limits.slide(user, "x", rate).allowed, range(200)))
    assert sum(found) == 60


def test_a_look_takes_no_place(limits):
    user, rate = new_id(), Rate(1, 60)
    assert limits.slide(user, "x", rate, now=False).allowed
    assert limits.slide(user, "x", rate).allowed
    assert not limits.slide(user, "x", rate, now=False).allowed
