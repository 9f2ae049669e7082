"""The WebSocket as an anonymous visitor's connection."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.datasets import create_dataset, create_record
from core.live import NoLive
from core.skillsets import create_ability, create_skillset
from core.valkey import make_client, second_database
from core.visitors import Line, Visitor, answer_visitor, host_of
from models import MessageType, new_id
from tests.api import a_client, a_secret
from tests.factories import a_bot, execute, one
from tests.hands import hands
from tests.scripted import calls, says
from tests.sockets import a_door, talking

CANARY = "canary-7f3a word"


def door_with(context, account, **settings):
    wanted = {"anonymous": str(account), **settings}
    return a_door(replace(context, settings=context.settings.model_copy(update=wanted)))


@pytest.fixture
def door(context, account):
    with door_with(context, account) as door:
        yield door


def kept_in_valkey(context) -> bytes:
    client = make_client(second_database(context.settings.redis_url))
    return b"".join(client.get(key) for key in client.keys("visitor:*"))


def rows(context, table) -> int:
    return one(context, f"SELECT count(*) FROM {table}")


def test_whoever_connects_talks_to_the_default_bot_and_nothing_is_stored(door, context, account):
    with talking(door.port) as talk:
        greeting = talk.frames[0]
        assert greeting["authenticated"] is False
        assert uuid.UUID(greeting["session_id"])
        bot = one(context, "SELECT id FROM bots WHERE account_id = :id AND is_default", id=account)
        assert greeting["bot_id"] == str(bot)
        talk.say(CANARY, greeting["session_id"])
        answer = talk.answer()
        assert answer["session_id"] == greeting["session_id"]
    assert [f["type"] for f in talk.frames] == ["status", "status", "typing", "typing", "message"]
    assert rows(context, "conversations") == rows(context, "messages") == rows(context, "runs") == 0
    assert one(context, "SELECT sum(model_calls) FROM usage_days") == 1, "but what it used is counted"
    client = a_client(context, a_secret(context, account))
    assert client.get("/api/conversations").json() == {"conversations": [], "total": 0}
    assert client.get(f"/api/conversations/{greeting['session_id']}/history").status_code == 404
    assert CANARY.encode() not in kept_in_valkey(context), "what was said is sealed there"


def test_the_bot_remembers_what_was_said_in_the_session(door, context, account):
    execute(context, "UPDATE bots SET backstory = 'You are brief.' WHERE account_id = :id", id=account)
    with talking(door.port) as talk:
        for n in range(3):
            talk.say(f"Message {n}")
            talk.answer()
        seqs = [f["seq"] for f in talk.frames if f["type"] == "message"]
    assert seqs == [2, 4, 6]


def test_a_token_in_the_first_seconds_makes_a_user_of_a_visitor(door, context, account, leases):
    with hands(context, leases), talking(door.port) as talk:
        talk.send({"type": "auth", "token": a_secret(context, account)})
        second = talk.of_type("status")
        assert (talk.frames[0]["authenticated"], second["authenticated"]) == (False, True)
        talk.say("Stored")
        assert talk.answer()
    assert rows(context, "messages") == 2


def test_a_wrong_token_ends_a_visitors_connection(door):
    with talking(door.port) as talk:
        talk.send({"type": "auth", "token": "ct_wrong"})
        assert talk.next()["error"] == "unauthorized"
        assert talk.closed() == 4401


def test_a_token_that_comes_late_is_not_taken(door, context, account, monkeypatch):
    monkeypatch.setattr("api.generalbots.socket.PATIENCE", 0.0)
    with talking(door.port) as talk:
        talk.send({"type": "auth", "token": a_secret(context, account)})
        assert talk.next()["error"] == "invalid_message"
        talk.say("Still a visitor")
        talk.answer()
    assert rows(context, "messages") == 0


def test_a_visitor_talks_in_its_own_session_alone(door, context, account, client):
    theirs = client.post("/api/v1/conversation/create", json={}).json()["id"]
    with talking(door.port) as talk:
        for place in (theirs, str(uuid.uuid4()), "conv-456"):
            talk.say("Let me in", place)
            assert talk.next()["error"] == "forbidden"
        talk.say("A file", attachments=[{"url": "https://example.com/a"}])
        assert talk.next()["error"] == "invalid_message"


def test_a_visitor_gets_the_default_bot_and_no_other(door, context, account, monkeypatch):
    monkeypatch.setattr("api.generalbots.socket.PATIENCE", 0.2)
    other = a_bot(context, account, name="Other")
    for path in ("/ws/default", "/ws"):
        with talking(door.port, path=path) as talk:
            assert talk.frames[0]["authenticated"] is False
    for path in (f"/ws/{other.id}", "/ws/Other", f"/ws/{uuid.uuid4()}", "/ws/nobody"):
        with talking(door.port, path=path, welcome=False) as talk:
            assert talk.closed() == 4403
        assert talk.frames[-1]["error"] == "forbidden"
    with talking(door.port, path="/ws/Other", welcome=False) as talk:
        talk.say("Let me in")
        assert talk.next()["error"] == "forbidden", "at once"


def test_who_comes_back_with_the_secret_goes_on_in_the_session(door, context):
    with talking(door.port) as talk:
        talk.say("One")
        answer = talk.answer()
        greeting = talk.frames[0]
    with talking(door.port) as again:
        again.send({"type": "auth", "token": greeting["resume"], "after": [f"{greeting['session_id']}:0"]})
        resumed = again.of_type("status")
        assert resumed["session_id"] == greeting["session_id"]
        assert resumed["resumed"] is True
        told = [again.next(), again.next()]
        assert [f["sender"] for f in told] == ["user", "bot"]
        assert told[1]["message_id"] == answer["message_id"]
        again.say("Two")
        assert again.answer()["seq"] == 4
    with talking(door.port) as third:
        third.send({"type": "auth", "token": greeting["resume"], "after": [answer["message_id"]]})
        third.of_type("status")
        assert third.next()["content"] == "Two"


def test_the_id_of_a_session_opens_nothing(door):
    with talking(door.port) as talk:
        talk.say("Secret")
        talk.answer()
        greeting = talk.frames[0]
    for token in (f"ctv_{greeting['session_id']}", "ctv_wrong"):
        with talking(door.port, path=f"/ws?session_id={greeting['session_id']}") as thief:
            assert thief.frames[0]["session_id"] != greeting["session_id"]
            thief.send({"type": "auth", "token": token, "after": [f"{greeting['session_id']}:0"]})
            assert thief.next()["error"] == "session_expired"
            assert thief.quiet(0.2) == []


def test_a_session_expires_with_a_word_and_a_code(context, account, monkeypatch):
    monkeypatch.setattr("api.generalbots.sockets.CHECK", 0.05)
    make_client(second_database(context.settings.redis_url)).flushdb()
    with door_with(context, account, anonymous_idle=timedelta(seconds=1)) as door:
        with talking(door.port) as talk:
            talk.say("Hello")
            talk.answer()
            assert talk.closed() == 4408
        assert talk.frames[-1]["error"] == "session_expired"
        end = time.monotonic() + 10
        while kept_in_valkey(context):
            assert time.monotonic() < end, "nothing of it is left"
            time.sleep(0.05)
        with talking(door.port) as again:
            again.send({"type": "auth", "token": talk.frames[0]["resume"]})
            assert again.next()["error"] == "session_expired"


def test_a_session_says_so_much_and_an_address_has_so_many(context, account):
    with door_with(context, account, anonymous_messages=2, anonymous_sessions=2) as door:
        with talking(door.port) as first, talking(door.port) as second, talking(door.port) as third:
            for talk in (first, second):
                talk.say("Hello")
                talk.answer()
            third.say("One too many")
            assert third.next()["error"] == "rate_limited"
            first.say("Second")
            first.answer()
            first.say("Third")
            assert first.next()["error"] == "rate_limited"
        client = make_client(second_database(context.settings.redis_url))
        assert not any(b"127.0.0.1" in key for key in client.keys("*")), "no address stands there"
        client.flushdb()


def test_the_latest_to_open_a_session_has_it_and_the_earlier_one_is_closed(context, account, monkeypatch):
    monkeypatch.setattr("api.generalbots.visiting.LOOK", 0.1)
    with (
        door_with(context, account) as one_,
        door_with(context, account) as two,
        talking(one_.port) as old,
    ):
        old.say("One")
        seen = old.answer()
        with talking(two.port) as new:
            new.send({"type": "auth", "token": old.frames[0]["resume"], "after": [seen["message_id"]]})
            assert new.of_type("status")["resumed"] is True
            assert old.closed() == 4409
            assert old.frames[-1]["error"] == "session_taken"
            new.say("Two")
            assert new.answer()["seq"] == 4


def test_an_earlier_connection_keeps_nothing_over_the_latest(context, account, monkeypatch):
    monkeypatch.setattr("api.generalbots.visiting.LOOK", 60.0)
    execute(context, "UPDATE bots SET model = 'offline/latency=1' WHERE account_id = :id", id=account)
    with (
        door_with(context, account) as one_,
        door_with(context, account) as two,
        talking(one_.port) as old,
        talking(two.port) as new,
    ):
        old.say("One")
        old.of_type("typing")
        place = old.frames[0]["session_id"]
        new.send({"type": "auth", "token": old.frames[0]["resume"], "after": [f"{place}:0"]})
        answer = new.answer()
        assert old.closed() == 4409, "its own answer came too late"
        assert not [f for f in old.frames if f["type"] == "message"]
        new.say("Two")
        new.answer()
        with talking(one_.port) as third:
            third.send({"type": "auth", "token": old.frames[0]["resume"], "after": [f"{place}:0"]})
            third.of_type("status")
            told = [third.next() for _ in range(4)]
    assert [f["sender"] for f in told] == ["user", "bot", "user", "bot"]
    assert told[1]["message_id"] == answer["message_id"]


def test_what_a_visitor_says_again_is_said_once(door):
    with talking(door.port) as talk:
        talk.say("Once", id="abc")
        first = talk.until(lambda f: f.get("status") == "delivered")
        talk.answer()
    greeting = talk.frames[0]
    with talking(door.port) as again:
        again.send({"type": "auth", "token": greeting["resume"]})
        again.of_type("status")
        again.say("Once", id="abc")
        assert again.next() == {**first, "id": "abc"}
        assert again.quiet() == []
        again.say("Another", id="abc")
        assert again.next()["error"] == "key_reused"


def test_a_visitor_is_told_of_another_default_bot_and_of_a_closed_account(door, context, account):
    with talking(door.port) as talk:
        talk.say("Hello")
        talk.answer()
        other = a_bot(context, account, name="Other")
        execute(
            context, "UPDATE bots SET is_default = (id = :id) WHERE account_id = :of", id=other.id, of=account
        )
        talk.say("Who are you?")
        status = talk.of_type("status")
        assert (status["bot_id"], status["bot_name"]) == (str(other.id), "Other")
        talk.answer()
        execute(context, "UPDATE accounts SET closed_at = now() WHERE id = :id", id=account)
        talk.say("Still there?")
        assert talk.closed() == 4408
        assert talk.frames[-1]["error"] == "session_expired"
        assert not [f for f in talk.frames[-2:] if f.get("status") == "delivered"]


def test_pieces_for_a_visitor_hold_no_suggestions(door, context, account, monkeypatch):
    block = "\n\n```suggestions\nYes\n```"
    monkeypatch.setattr("core.chat.offline.compose", lambda *_: "Gladly." + block)
    meta = '{"suggestions": "model"}'
    execute(context, "UPDATE bots SET meta = CAST(:m AS jsonb) WHERE account_id = :id", m=meta, id=account)
    with talking(door.port, path="/ws?deltas=1") as talk:
        talk.say("Hello")
        assert talk.of_type("suggestion")["suggestions"] == [{"text": "Yes", "value": "Yes"}]
    assert "".join(f["content"] for f in talk.frames if f["type"] == "delta") == "Gladly."


def test_privacy_applies_to_visitors(context, account):
    execute(
        context,
        "UPDATE accounts SET privacy_policy = CAST(:policy AS jsonb) WHERE id = :id",
        id=account,
        policy='{"preset": "strict"}',
    )
    with door_with(context, account) as door, talking(door.port, path="/ws?deltas=1") as talk:
        talk.say("My mail is ann@example.com")
        answer = talk.answer()
        assert answer["content"]
    assert b"ann@example.com" not in kept_in_valkey(context)


def test_suggestions_and_pieces_come_to_visitors_too(door, context, account):
    execute(
        context,
        "UPDATE bots SET meta = CAST(:meta AS jsonb) WHERE account_id = :id",
        id=account,
        meta='{"suggestions": ["Yes", "No"]}',
    )
    with talking(door.port, path="/ws?deltas=1") as talk:
        talk.say("Hello")
        found = talk.of_type("suggestion")
    assert [one["text"] for one in found["suggestions"]] == ["Yes", "No"]
    pieces = "".join(f["content"] for f in talk.frames if f["type"] == "delta")
    assert pieces
    assert next(f["content"] for f in talk.frames if f["type"] == "message").startswith(pieces.strip())


def test_without_a_valkey_a_session_lives_in_its_connection(context, account):
    settings = context.settings.model_copy(update={"redis_url": None, "anonymous": str(account)})
    with a_door(replace(context, settings=settings, live=NoLive())) as door, talking(door.port) as talk:
        for _ in range(2):
            talk.say("Hello")
            talk.answer()


def test_a_turn_that_fails_is_told_and_the_session_goes_on(door, context, account):
    with talking(door.port) as talk:
        execute(context, "UPDATE bots SET model = 'no-such-model' WHERE account_id = :id", id=account)
    with talking(door.port) as talk:
        talk.say("Hello")
        assert talk.of_type("error")["error"] == "turn_failed"
        assert [f["active"] for f in talk.frames if f["type"] == "typing"] == [True, False]


def test_nobody_is_let_in_where_the_account_is_closed_or_unknown(context, account, monkeypatch):
    monkeypatch.setattr("api.generalbots.socket.PATIENCE", 0.1)
    execute(context, "UPDATE accounts SET closed_at = now() WHERE id = :id", id=account)
    for named in (str(account), str(uuid.uuid4()), "first"):
        with door_with(context, named) as door, talking(door.port, welcome=False) as talk:
            assert talk.closed() == 4401


def test_visitors_are_told_what_the_bot_knows_and_nothing_is_done_for_them(context, account, speak):
    with context.transaction(account) as session:
        dataset = create_dataset(session, name="Facts")
        create_record(session, dataset.id, text="The pool opens at eight.")
        skillset = create_skillset(session, name="Skills")
        create_ability(session, skillset.id, name="note", action={"type": "memory.remember"})
        create_ability(session, skillset.id, name="look", action={"type": "search"})
    bot = a_bot(context, account, dataset_id=dataset.id, skillset_id=skillset.id)
    execute(context, "UPDATE bots SET is_default = (id = :id)", id=bot.id)
    settings = context.settings.model_copy(update={"anonymous": str(account)})
    host = host_of(replace(context, settings=settings))
    provider = speak(calls("note", text="Hello"), calls("look", search="pool"), says("At eight."))
    reply = answer_visitor(
        context, host, [Line(new_id(), 1, "user", "When does the pool open?", datetime.now(UTC))]
    )
    assert reply.text == "At eight."
    assert [tool.name for tool in provider.requests[0].tools] == ["look"]
    assert "opens at eight" in provider.requests[0].system
    assert one(context, "SELECT count(*) FROM memories") == 0


def test_a_visitor_fills_no_memory(door, context):
    with talking(door.port) as talk:
        talk.say("x" * (16 * 1024 + 1))
        assert talk.next()["error"] == "invalid_message"
    visitor = Visitor(uuid.uuid4())
    for _ in range(40):
        visitor.add(MessageType.BOT, "x" * 20_000)
    assert sum(len(line.text) for line in visitor.lines) <= 256 * 1024
    assert visitor.lines[-1].seq == 40
