"""What clients, their data and a database that stumbles may do to a connection and to its neighbours."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from api.generalbots import telling
from api.generalbots.origins import network_of
from core.conversations import delete_conversation
from core.drafts import Draft
from core.errors import Unavailable
from core.messages import create_messages, delete_message
from core.visitors import MOST_BYTES, Visitor
from models import MessageType
from tests.api import a_secret
from tests.factories import a_conversation, an_account, execute
from tests.sockets import a_door, talking


@pytest.fixture
def secret(context, account):
    return a_secret(context, account)


@pytest.fixture
def guests(context, account):
    settings = context.settings.model_copy(update={"anonymous": str(account)})
    with a_door(replace(context, settings=settings)) as door:
        yield door


def say_in(context, account, conversation, *drafts):
    with context.transaction(account) as session:
        return create_messages(session, conversation, list(drafts))


def user(words, **more):
    return Draft(MessageType.USER, words, **more)


def test_what_callers_keep_in_a_meta_keeps_nobody_from_hearing(door, context, account, secret):
    place = a_conversation(context, account).id
    stranger = an_account(context)
    theirs = a_conversation(context, stranger).id
    odd = {"attachments": [{"url": "https://example.com", "size": 10**30}]}
    with talking(door.port, secret) as talk, talking(door.port, a_secret(context, stranger)) as other:
        for n in range(5):
            say_in(context, account, place, user(f"odd {n}", meta=odd))
            say_in(context, stranger, theirs, user(f"plain {n}"))
        for who, what in ((other, "plain"), (talk, "odd")):
            got = [who.until(lambda f: f["type"] == "message")["content"] for _ in range(5)]
            assert got == [f"{what} {n}" for n in range(5)]


def test_what_cannot_be_restored_is_told_as_it_is_stored(door, context, account, monkeypatch):
    execute(
        context,
        "UPDATE accounts SET privacy_policy = CAST(:policy AS jsonb) WHERE id = :id",
        id=account,
        policy='{"preset": "recommended"}',
    )
    place = a_conversation(context, account).id

    def away(*_):
        raise Unavailable("The database is away.")

    monkeypatch.setattr(telling, "_restored", away)
    with talking(door.port, a_secret(context, account, ("read", "pii:read"))) as talk:
        say_in(context, account, place, user("My mail is ann@example.com"), user("After it"))
        told = [talk.until(lambda f: f["type"] == "message")["content"] for _ in range(2)]
    assert "ann@example.com" not in told[0]
    assert told[1] == "After it"


def test_a_frame_that_is_nested_too_deep_is_told_and_ends_nothing(door, secret):
    deep = '{"type": "message", "content": "x", "id": "a", "attachments": [{"url": "https://a.example", "b":'
    with talking(door.port, secret) as talk:
        talk.send(deep + "[" * 500 + "]" * 500 + "}]}")
        assert talk.of_type("error")["error"] == "invalid_message"
        talk.say("Still here")
        assert talk.until(lambda f: f.get("status") == "delivered")


def test_a_visitor_who_may_not_become_a_user_is_closed_out(guests, context, account):
    with talking(guests.port) as talk:
        talk.send({"type": "auth", "token": a_secret(context, account, ("write",))})
        assert talk.next()["error"] == "forbidden"
        assert talk.closed() == 4403


def test_too_many_connections_of_an_account_close_out_a_visitor_who_signs_in(context, account, secret):
    settings = context.settings.model_copy(update={"anonymous": str(account), "sockets_account": 1})
    with (
        a_door(replace(context, settings=settings)) as door,
        talking(door.port, secret),
        talking(door.port) as talk,
    ):
        talk.send({"type": "auth", "token": secret})
        assert talk.next()["error"] == "rate_limited"
        assert talk.closed() == 1013


def test_who_has_missed_megabytes_is_told_all_that_is_told_and_keeps_its_connection(
    door, context, account, secret
):
    place = a_conversation(context, account).id
    for n in range(40):
        say_in(context, account, place, user(f"{n} " + "\x01" * 100_000))
    seen, got = 0, []
    for _ in range(40):
        with talking(door.port, secret, f"/ws?after={place}:{seen}") as talk:
            end = talk.until(lambda f: f.get("status") == "resumed")
            got += [f for f in talk.frames if f["type"] == "message"]
            assert got[-1]["seq"] > seen
            seen = got[-1]["seq"]
        if end["complete"]:
            break
    assert [f["content"].split()[0] for f in got] == [str(n) for n in range(40)]


def test_a_last_message_that_was_deleted_is_not_taken_for_the_end(door, context, account, secret):
    place = a_conversation(context, account).id
    first, last = (one.message.id for one in say_in(context, account, place, user("One"), user("Two")))
    with context.transaction(account) as session:
        delete_message(session, place, last)
    say_in(context, account, place, user("Three"))
    with talking(door.port, secret, f"/ws?after={last}") as talk:
        assert talk.until(lambda f: f.get("status") == "resumed")["complete"] is False
    with talking(door.port, secret, f"/ws?after={first}") as talk:
        assert talk.until(lambda f: f.get("status") == "resumed")["complete"] is True
        assert [f["content"] for f in talk.frames if f["type"] == "message"] == ["Three"]


def test_a_place_beyond_the_end_hides_nothing_that_is_said_later(door, context, account, secret):
    place = a_conversation(context, account).id
    say_in(context, account, place, user("One"))
    with talking(door.port, secret, f"/ws?after={place}:999999999") as talk:
        talk.until(lambda f: f.get("status") == "resumed")
        say_in(context, account, place, user("Two"))
        assert talk.of_type("message")["content"] == "Two"


def test_a_visitor_who_goes_on_in_an_earlier_session_during_a_turn_is_answered(guests, context, account):
    with talking(guests.port) as before:
        before.say("Earlier")
        before.answer()
        resume, session = before.frames[0]["resume"], before.frames[0]["session_id"]
    with talking(guests.port) as talk:
        talk.say("In the new one")
        talk.send({"type": "auth", "token": resume})
        talk.say("In the earlier one")
        found = talk.until(
            lambda f: f["type"] == "message" and f["sender"] == "bot" and f["session_id"] == session
        )
        assert found["seq"] == 4


def test_a_visitors_session_is_kept_within_bounds():
    visitor = Visitor(uuid.uuid4())
    for _ in range(20):
        visitor.add(MessageType.USER, "x" * (MOST_BYTES // 4))
    assert sum(len(line.text) for line in visitor.lines) <= MOST_BYTES
    visitor.add(MessageType.USER, "x" * (MOST_BYTES * 2))
    assert len(visitor.lines) == 1, "what was said last is always there"
    assert (visitor.said, visitor.lines[-1].seq) == (21, 21)


def test_who_comes_back_is_told_what_people_and_bots_said_and_nothing_else(door, context, account, secret):
    place = a_conversation(context, account).id
    kinds = (MessageType.CONTEXT, MessageType.REASONING, MessageType.ACTIVITY, MessageType.INSTRUCTION)
    hidden = [Draft(kind, f"a secret {kind}") for kind in kinds]
    say_in(context, account, place, user("One"), *hidden, user("Two"))
    other = a_conversation(context, account).id
    say_in(context, account, other, Draft(MessageType.CONTEXT, "a secret elsewhere"), user("Three"))
    with talking(door.port, secret, f"/ws?after={place}:1") as talk:
        assert talk.until(lambda f: f.get("status") == "resumed")["complete"] is True
        assert [f["content"] for f in talk.frames if f["type"] == "message"] == ["Two", "Three"]


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb:cccc:dddd:2", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("local", "local"),
    ],
)
def test_a_client_that_has_a_whole_network_counts_once(host, counted):
    assert network_of(host) == counted


def test_a_connection_whose_conversation_was_deleted_goes_on_in_another(door, context, account, secret):
    with talking(door.port, secret) as talk:
        talk.say("One")
        place = talk.until(lambda f: f.get("status") == "delivered")["session_id"]
        with context.transaction(account) as session:
            delete_conversation(session, place)
        talk.say("Two")
        second = talk.until(lambda f: f["type"] == "error" or f.get("status") == "delivered")
        assert second["type"] == "status", second
        assert second["session_id"] != place
        talk.say("Named", place)
        assert talk.of_type("error")["error"] == "not_found"
