"""The WebSocket as an authenticated user's connection."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from core.accounts import create_token, revoke_token
from core.annotating import annotate_conversation
from core.drafts import Draft
from core.firing import fire
from core.following import follow_up_all
from core.live import NoLive
from core.messages import create_messages
from core.work import claim, reap
from models import MessageType
from tests.api import a_revoked_secret, a_secret, an_expired_secret
from tests.factories import a_bot, a_contact, a_conversation, a_due_task, an_account, execute, one
from tests.hands import hands
from tests.sockets import a_door, silent, talking


@pytest.fixture(scope="module")
def picky_door(session_context):
    settings = session_context.settings.model_copy(update={"origins": "https://shop.example"})
    with a_door(replace(session_context, settings=settings)) as door:
        yield door


@pytest.fixture
def secret(context, account):
    return a_secret(context, account)


def a_users_secret(context, account, contact) -> str:
    with context.transaction(account) as session:
        return create_token(session, account, "user", contact_id=contact.id)[1]


def say_in(context, account, conversation, words):
    with context.transaction(account) as session:
        create_messages(session, conversation, [Draft(MessageType.USER, words)])


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def kinds(frames):
    return [frame["sender"] if frame["type"] == "message" else frame["type"] for frame in frames]


def test_a_message_is_answered_in_the_documented_order(door, secret, working):
    with talking(door.port, secret) as talk:
        talk.say("Hello")
        answer = talk.answer()
    assert kinds(talk.frames) == ["status", "status", "typing", "typing", "bot"]
    greeting, receipt, begins, ends, _ = talk.frames
    assert greeting["status"] == "connected"
    assert greeting["authenticated"] is True
    assert greeting["session_id"] is None
    assert greeting["bot_id"]
    assert receipt["status"] == "delivered"
    assert receipt["message_id"]
    assert (begins["active"], ends["active"]) == (True, False)
    assert answer["session_id"] == answer["conversation_id"] == receipt["session_id"]
    assert answer["content"]
    assert answer["timestamp"].endswith("Z")
    assert answer["message_id"]


def test_every_socket_of_a_user_sees_every_event_once(door, secret, working):
    with talking(door.port, secret) as one, talking(door.port, secret) as two:
        one.say("Hello")
        first, second = one.answer(), two.answer()
        assert first["message_id"] == second["message_id"]
        assert kinds(two.frames) == ["status", "user", "typing", "typing", "bot"]
        assert not [f for f in one.frames if f.get("sender") == "user"], "no echo to who said it"
        assert one.quiet() == two.quiet() == []


def test_what_is_said_through_another_door_arrives(door, context, secret, account, client, working):
    place = client.post("/api/v1/conversation/create", json={}).json()["id"]
    with talking(door.port, secret) as talk:
        client.post(f"/api/v1/conversation/{place}/complete", json={"text": "Through the other dialect"})
        said = talk.until(lambda f: f["type"] == "message")
        assert (said["sender"], said["content"], said["session_id"]) == (
            "user",
            "Through the other dialect",
            place,
        )
        assert talk.answer()["session_id"] == place


def test_a_scheduled_run_appears_live(door, context, secret, account, leases):
    with talking(door.port, secret) as talk:
        a_due_task(context, account, description="Say good morning")
        assert fire(context) == 1
        prompt = talk.until(lambda f: f["type"] == "message")
        assert (prompt["sender"], prompt["content"]) == ("user", "Say good morning")
        assert talk.of_type("typing")["active"] is True
        with hands(context, leases):
            assert talk.answer()["session_id"] == prompt["session_id"]


def test_a_contact_sees_its_own_conversations_alone(door, context, account, secret, working):
    ann, bob = a_contact(context, account, name="Ann"), a_contact(context, account, name="Bob")
    with (
        talking(door.port, a_users_secret(context, account, ann)) as hers,
        talking(door.port, a_users_secret(context, account, bob)) as his,
        talking(door.port, secret) as all_of_it,
    ):
        hers.say("For Ann")
        place = hers.answer()["session_id"]
        assert all_of_it.answer()["session_id"] == place
        assert his.quiet() == []
        his.say("Let me in", place)
        assert his.of_type("error")["error"] == "forbidden"


def test_another_account_sees_nothing(door, context, secret, working):
    stranger = a_secret(context, an_account(context))
    with talking(door.port, secret) as talk, talking(door.port, stranger) as other:
        talk.say("Ours")
        place = talk.answer()["session_id"]
        assert other.quiet() == []
        other.say("Theirs", place)
        assert other.of_type("error")["error"] == "forbidden"
        other.say("Nobody's", str(uuid.uuid4()))
        assert other.of_type("error")["error"] == "not_found"
        other.say("No id at all", "conv-456")
        assert other.of_type("error")["error"] == "not_found"


def test_a_sessions_token_talks_in_its_conversation_alone(door, context, account, client, working):
    place = client.post("/api/v1/conversation/create", json={}).json()["id"]
    token = client.post(f"/api/v1/conversation/{place}/session/create", json={}).json()["token"]
    elsewhere = client.post("/api/v1/conversation/create", json={}).json()["id"]
    with talking(door.port, token) as talk:
        assert talk.frames[0]["session_id"] == place
        client.post(f"/api/v1/conversation/{elsewhere}/complete", json={"text": "Not for them"})
        talk.say("Hello")
        assert talk.answer()["session_id"] == place
        assert {f.get("session_id") for f in talk.frames} == {place}
        talk.say("Hello", elsewhere)
        assert talk.of_type("error")["error"] == "forbidden"


@pytest.mark.parametrize("way", ["header", "subprotocol", "first frame"])
def test_a_token_is_taken_three_ways(door, secret, way):
    if way == "header":
        with talking(door.port, secret) as talk:
            assert talk.frames[0]["authenticated"] is True
    elif way == "subprotocol":
        with talking(door.port, subprotocols=["crontalk", f"bearer.{secret}"]) as talk:
            assert talk.connection.subprotocol == "crontalk", "the token is not repeated"
            assert talk.frames[0]["authenticated"] is True
    else:
        with talking(door.port, welcome=False) as talk:
            talk.send({"type": "auth", "token": secret})
            assert talk.next()["authenticated"] is True


@pytest.mark.parametrize("token", ["ct_wrong", "revoked", "expired", "cts_wrong", "é"])
def test_a_wrong_token_is_no_visitor(door, context, account, token):
    made = {"revoked": a_revoked_secret, "expired": an_expired_secret}
    secret = made[token](context, account) if token in made else token
    with talking(door.port, welcome=False) as talk:
        talk.send({"type": "auth", "token": secret})
        assert talk.next()["error"] == "unauthorized"
        assert talk.closed() == 4401
    if secret.isascii():
        with talking(door.port, secret, welcome=False) as talk:
            assert talk.closed() == 4401
        with talking(door.port, welcome=False, subprotocols=["crontalk", f"bearer.{secret}"]) as talk:
            assert talk.closed() == 4401


def test_without_a_token_it_ends_where_nobody_lets_visitors_in(door, monkeypatch):
    monkeypatch.setattr("api.generalbots.socket.PATIENCE", 0.2)
    with talking(door.port, welcome=False) as talk:
        assert talk.next()["error"] == "unauthorized"
        assert talk.closed() == 4401


def test_a_token_in_the_query_is_not_taken(door, secret, monkeypatch):
    monkeypatch.setattr("api.generalbots.socket.PATIENCE", 0.2)
    with talking(door.port, path=f"/ws?token={secret}", welcome=False) as talk:
        assert talk.closed() == 4401


@pytest.mark.parametrize(
    ("origin", "let_in"),
    [
        ("http://127.0.0.1:{port}", True),
        ("http://localhost:3000", True),
        ("https://shop.example", True),
        ("https://evil.example", False),
        ("https://shop.example.evil.example", False),
        ("null", False),
        ("file://", False),
    ],
)
def test_pages_of_foreign_origins_stay_outside(picky_door, secret, origin, let_in):
    headers = {"Origin": origin.format(port=picky_door.port)}
    if let_in:
        with talking(picky_door.port, secret, headers=headers):
            return
    with pytest.raises(InvalidStatus) as refused, talking(picky_door.port, secret, headers=headers):
        pass
    assert refused.value.response.status_code == 403


BAD = [
    "not json",
    "[]",
    '"text"',
    "{}",
    '{"type": "unknown"}',
    '{"type": 1}',
    '{"type": "message"}',
    '{"type": "message", "content": null}',
    '{"type": "message", "content": 7}',
    '{"type": "message", "content": "  "}',
    '{"type": "message", "content": "x", "session_id": 7}',
    '{"type": "message", "content": "x", "attachments": "x"}',
    '{"type": "message", "content": "x", "attachments": [{}]}',
    '{"type": "message", "content": "nul \\u0000"}',
    '{"type": "message", "content": "\\ud800"}',
    '{"type": "auth", "token": "again"}',
    '{"type": "typing", "active": true}',
    b"\x00\x01 binary",
]


def test_what_is_no_frame_is_told_and_ends_nothing(door, secret, working):
    with talking(door.port, secret) as talk:
        for bad in BAD:
            talk.send(bad)
            frame = talk.next()
            assert frame.get("error") == "invalid_message", (bad, frame)
        talk.say("Still here")
        talk.answer()


def test_unknown_keys_are_ignored(door, secret, working):
    with talking(door.port, secret) as talk:
        talk.say("Hello", color="green", user_id="somebody else", bot_id="x")
        talk.answer()


def test_a_frame_that_is_too_big_ends_the_connection(door, secret):
    with talking(door.port, secret) as talk:
        with suppress(ConnectionClosed):
            talk.say("x" * (17 * 1024 * 1024))
        assert talk.closed() == 1009


def test_a_text_that_is_too_long_is_told(door, secret):
    with talking(door.port, secret) as talk:
        talk.say("x" * (256 * 1024 + 1))
        assert talk.of_type("error")["error"] == "invalid_message"


def test_a_flood_of_frames_ends_the_connection(door, secret):
    with talking(door.port, secret) as talk:
        with suppress(ConnectionClosed):
            for _ in range(2000):
                talk.send("not json")
        assert talk.closed() == 1008
    assert any(frame.get("error") == "rate_limited" for frame in talk.frames)


def test_a_token_that_is_revoked_meanwhile_closes_the_connection(context, account, monkeypatch):
    monkeypatch.setattr("api.generalbots.sockets.CHECK", 0.1)
    with context.transaction(account) as session:
        row, secret = create_token(session, account, "tests")
    with a_door(context) as own, talking(own.port, secret) as talk:
        with context.transaction(account) as session:
            revoke_token(session, row.id)
        assert talk.closed() == 4401
    assert talk.frames[-1]["error"] == "unauthorized"


def test_a_revoked_token_says_nothing_more(door, context, account):
    with context.transaction(account) as session:
        row, secret = create_token(session, account, "tests")
    with talking(door.port, secret) as talk:
        with context.transaction(account) as session:
            revoke_token(session, row.id)
        talk.say("One more")
        assert talk.closed() == 4401
    assert one(context, "SELECT count(*) FROM messages") == 0


def test_a_token_that_may_not_write_listens(door, context, account):
    with talking(door.port, a_secret(context, account, ("read",))) as talk:
        talk.say("Hello")
        assert talk.of_type("error")["error"] == "forbidden"
        assert talk.quiet(0.2) == []


def test_who_uses_no_connection_loses_it(context, secret, monkeypatch):
    monkeypatch.setattr("api.generalbots.sockets.CHECK", 0.05)
    settings = context.settings.model_copy(update={"socket_idle": timedelta(seconds=0.3)})
    with a_door(replace(context, settings=settings)) as door, talking(door.port, secret) as talk:
        assert talk.closed() == 4408
    assert talk.frames[-1]["error"] == "idle"


@pytest.mark.parametrize("limit", ["sockets", "sockets_address", "sockets_account"])
def test_there_are_so_many_connections_and_no_more(context, secret, limit):
    settings = context.settings.model_copy(update={limit: 2})
    with a_door(replace(context, settings=settings)) as door:
        two = (talking(door.port, secret), talking(door.port, secret))
        with two[0], two[1], talking(door.port, secret, welcome=False) as third:
            assert third.next()["error"] == "rate_limited"
            assert third.closed() == 1013
        until(
            lambda: door.on_loop(lambda: len(next(iter(door.app.state.lines._by_loop.values())).sockets)) == 0
        )
        with talking(door.port, secret):
            pass


def test_who_comes_back_is_told_what_was_missed_and_nothing_twice(door, context, secret, client, working):
    with talking(door.port, secret) as talk:
        talk.say("One")
        seen = talk.answer()
    place = seen["session_id"]
    client.post(f"/api/v1/conversation/{place}/complete", json={"text": "Two"})
    other = client.post("/api/v1/conversation/create", json={}).json()["id"]
    client.post(f"/api/v1/conversation/{other}/complete", json={"text": "Elsewhere"})
    for after in (seen["message_id"], f"{place}:{seen['seq']}"):
        with talking(door.port, secret, f"/ws?after={after}") as again:
            done = again.until(lambda f: f.get("status") == "resumed")
            assert done["complete"] is True
            told = [(f["sender"], f["session_id"]) for f in again.frames if f["type"] == "message"]
            assert told == [("user", place), ("bot", place), ("user", other), ("bot", other)]
            assert again.quiet() == []
    with talking(door.port, secret, f"/ws?after={seen['message_id']}") as again:
        again.say("Three", place)
        again.until(lambda f: f["type"] == "message" and f["seq"] == seen["seq"] + 4)
        assert again.quiet() == []
        ids = [f["message_id"] for f in again.frames if f["type"] == "message"]
        assert len(ids) == len(set(ids)) == 5


def test_what_was_committed_after_what_was_seen_is_not_taken_for_seen(door, context, account, secret):
    """Stamped before it, committed after it, in a conversation that nobody names: it may have been missed."""
    seen_in, late_in = a_conversation(context, account).id, a_conversation(context, account).id
    say_in(context, account, late_in, "Stamped first")
    say_in(context, account, seen_in, "Seen")
    for after, complete in ((f"{seen_in}:1", False), (f"{seen_in}:1,{late_in}:0", True)):
        with talking(door.port, secret, f"/ws?after={after}") as talk:
            assert talk.until(lambda f: f.get("status") == "resumed")["complete"] is complete
    assert [f["content"] for f in talk.frames if f["type"] == "message"] == ["Stamped first"]


def test_places_that_mean_nothing_are_left_out(door, context, secret, working):
    stranger = an_account(context)
    theirs = a_conversation(context, stranger)
    for after in ("nonsense", str(uuid.uuid4()), f"{theirs.id}:0", f"{uuid.uuid4()}:99999999999"):
        with talking(door.port, secret, f"/ws?after={after}") as talk:
            talk.until(lambda f: f.get("status") == "resumed")
            assert not [f for f in talk.frames if f["type"] == "message"]


def test_what_is_said_while_somebody_comes_back_is_told_once(door, context, account, secret):
    place = a_conversation(context, account).id
    for n in range(20):
        say_in(context, account, place, f"before {n}")
    stop = threading.Event()

    def speak():
        n = 0
        while not stop.wait(0.005):  # fewer than are told at once on coming back
            say_in(context, account, place, f"meanwhile {n}")
            n += 1

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        seen = 0
        for _ in range(8):
            with talking(door.port, secret, f"/ws?after={place}:{seen}") as talk:
                talk.until(lambda f: f.get("status") == "resumed")
                talk.quiet(0.15)
            seqs = [f["seq"] for f in talk.frames if f["type"] == "message"]
            assert seqs == list(range(seen + 1, seen + 1 + len(seqs))), "no gap, none twice, in order"
            seen = seqs[-1] if seqs else seen
    finally:
        stop.set()
        thread.join()
    assert seen > 20


def test_pieces_of_an_answer_come_to_who_asks_for_them(door, context, secret, working):
    with talking(door.port, secret, "/ws?deltas=1") as talk, talking(door.port, secret) as other:
        talk.say("Hello")
        answer = talk.answer()
        assert not [f for f in other.frames if f["type"] == "delta"]
        other.answer()
    pieces = "".join(f["content"] for f in talk.frames if f["type"] == "delta")
    assert answer["content"].startswith(pieces.rstrip())
    assert kinds(talk.frames)[-1] == "bot", "the whole message ends it"


def test_suggestions_follow_the_answer_in_their_order(door, context, account, secret, client, working):
    bot = one(context, "SELECT id FROM bots WHERE account_id = :id", id=account)
    wanted = [{"text": "Track order", "value": "track order"}, {"text": "Talk", "value": "human"}]
    client.post(f"/api/v1/bot/{bot}/update", json={"meta": {"suggestions": wanted}})
    with talking(door.port, secret) as talk:
        talk.say("Hello")
        found = talk.of_type("suggestion")
    assert found["suggestions"] == wanted
    assert kinds(talk.frames) == ["status", "status", "typing", "typing", "bot", "suggestion"]


def test_pieces_hold_no_suggestions(door, context, account, secret, working, monkeypatch):
    monkeypatch.setattr("core.chat.offline.compose", lambda *_: "Gladly.\n\n```suggestions\nYes\n```")
    meta = '{"suggestions": "model"}'
    execute(context, "UPDATE bots SET meta = CAST(:m AS jsonb) WHERE account_id = :id", m=meta, id=account)
    with talking(door.port, secret, "/ws?deltas=1") as talk:
        talk.say("Hello")
        assert talk.of_type("suggestion")["suggestions"] == [{"text": "Yes", "value": "Yes"}]
    assert "".join(f["content"] for f in talk.frames if f["type"] == "delta") in {"", "Gladly."}
    assert "```" not in str([f for f in talk.frames if f["type"] == "delta"])


def test_suggestions_and_attachments_are_told_with_their_values_to_whom_may_see_them(
    door, context, account, working, monkeypatch
):
    said = "Write to bob@example.com.\n```suggestions\nMail bob@example.com\n```"
    monkeypatch.setattr("core.chat.offline.compose", lambda *_: said)
    bot = a_bot(context, account, name="Asks", meta={"suggestions": "model"}, privacy=True)
    place = a_conversation(context, account, bot_id=bot.id).id
    reads = a_secret(context, account, ("read", "write", "pii:read"))
    plain = a_secret(context, account)
    file = {"url": "https://example.com/a", "filename": "ann@example.com.txt"}
    with (
        talking(door.port, reads) as seeing,
        talking(door.port, plain) as other,
        talking(door.port, plain) as own,
    ):
        own.say("I am ann@example.com", str(place), attachments=[file])
        for talk, sees in ((seeing, True), (own, True), (other, False)):
            shown = talk.of_type("suggestion")["suggestions"][0]["text"]
            assert ("bob@example.com" in shown) is sees, shown
    for talk, sees in ((seeing, True), (other, False)):
        (asked,) = [f for f in talk.frames if f.get("sender") == "user"]
        assert ("ann@example.com" in str(asked["attachments"])) is sees, asked
    with talking(door.port, reads, f"/ws?after={place}:0") as again:
        again.until(lambda f: f.get("status") == "resumed")
        (asked,) = [f for f in again.frames if f.get("sender") == "user"]
        assert asked["attachments"][0]["filename"] == file["filename"]


def test_bytes_in_a_frame_are_refused_with_a_word(door, secret):
    with talking(door.port, secret) as talk:
        talk.say("A file", attachments=[{"data": "aGVsbG8=", "mime_type": "text/plain"}])
        fault = talk.of_type("error")
    assert fault["error"] == "invalid_message"
    assert "POST" in fault["message"]


def test_a_turn_that_fails_is_told_as_an_error(door, context, account, secret, client, working):
    bot = one(context, "SELECT id FROM bots WHERE account_id = :id", id=account)
    client.post(f"/api/v1/bot/{bot}/update", json={"model": "offline/fail_rate=1"})
    execute(context, "UPDATE bots SET model = 'no-such-model' WHERE id = :id", id=bot)
    with talking(door.port, secret) as talk:
        talk.say("Hello")
        fault = talk.of_type("error", 40)
        assert fault["error"] == "turn_failed"
        assert fault["session_id"]
        assert [f["active"] for f in talk.frames if f["type"] == "typing"] == [True, False]


def test_what_is_said_during_a_turn_is_answered_by_one_more(door, context, account, secret, leases):
    with talking(door.port, secret) as talk:
        talk.say("One")
        talk.of_type("typing")
        talk.say("Two")
        talk.until(lambda f: f.get("status") == "delivered")
        with hands(context, leases):
            talk.answer()
            talk.quiet(1.5)
        answers = [f for f in talk.frames if f.get("sender") == "bot"]
        assert 1 <= len(answers) <= 2
        assert [f["active"] for f in talk.frames if f["type"] == "typing"][-1] is False


def test_a_frame_that_is_sent_again_is_stored_once(door, context, secret, working):
    with talking(door.port, secret) as talk:
        talk.say("Once", id="abc")
        first = talk.until(lambda f: f.get("status") == "delivered")
        talk.answer()
    with talking(door.port, secret) as again:
        again.say("Once", id="abc")
        second = again.until(lambda f: f.get("status") == "delivered")
        assert second["message_id"] == first["message_id"]
        assert second["id"] == "abc"
        again.say("Another", id="abc")
        assert again.of_type("error")["error"] == "key_reused"
    assert one(context, "SELECT count(*) FROM messages WHERE type = 'user'") == 1


def test_a_slow_reader_is_dropped_and_keeps_nobody_waiting(door, context, account, secret):
    place = a_conversation(context, account).id
    with silent(door.port, secret), talking(door.port, secret) as quick:
        for n in range(60):
            say_in(context, account, place, f"{n} " + "x" * 200_000)
        got = [quick.until(lambda f: f["type"] == "message")["content"].split()[0] for _ in range(60)]
        assert got == [str(n) for n in range(60)]
        sockets = next(iter(door.app.state.lines._by_loop.values())).sockets
        until(lambda: door.on_loop(lambda: len(sockets)) == 1)


def test_a_client_that_is_gone_is_closed_though_much_waits_for_it(context, account, secret):
    place = a_conversation(context, account).id
    with a_door(context, ping=3.0) as door, silent(door.port, secret), talking(door.port, secret) as talk:
        sockets = next(iter(door.app.state.lines._by_loop.values())).sockets
        assert len(sockets) == 2
        for n in range(32):  # more than the network takes, less than ends a slow connection
            say_in(context, account, place, f"{n} " + "x" * 200_000)
            talk.until(lambda f: f["type"] == "message")
        until(lambda: door.on_loop(lambda: len(sockets)) == 1)
        talk.send("no json")
        assert talk.until(lambda f: f["type"] == "error"), "who answers stays"


def test_an_announcement_that_is_lost_costs_time_and_nothing_else(
    door, context, account, secret, monkeypatch
):
    monkeypatch.setattr("api.following.SWEEP", 0.3)
    place = a_conversation(context, account).id
    with a_door(context) as own, talking(own.port, secret) as talk:
        talk.quiet(1.5)  # the first look after the connection, which is soon
        monkeypatch.setattr(context.live, "tell_news", lambda news: None)
        for n in range(5):
            say_in(context, account, place, f"unannounced {n}")
        got = [talk.until(lambda f: f["type"] == "message")["content"] for _ in range(5)]
        assert got == [f"unannounced {n}" for n in range(5)]
        assert talk.quiet() == []


def test_without_a_valkey_the_rows_are_looked_at(context, account, secret):
    settings = context.settings.model_copy(update={"redis_url": None})
    with a_door(replace(context, settings=settings, live=NoLive())) as door:
        place = a_conversation(context, account).id
        with talking(door.port, secret) as talk:
            say_in(context, account, place, "Slowly")
            assert talk.until(lambda f: f["type"] == "message")["content"] == "Slowly"
            assert talk.quiet(3.0) == []


def test_what_nobody_may_see_before_it_was_annotated_is_told_then(door, context, account, secret):
    execute(
        context,
        "UPDATE accounts SET privacy_policy = CAST(:policy AS jsonb) WHERE id = :id",
        id=account,
        policy='{"preset": "recommended", "blockUntilAnnotated": true}',
    )
    place = a_conversation(context, account).id
    with talking(door.port, secret) as talk:
        say_in(context, account, place, "My mail is ann@example.com")
        say_in(context, account, place, "And this comes after it")
        assert not [f for f in talk.quiet() if f["type"] == "message"]
        annotate_conversation(context, place)
        told = [talk.until(lambda f: f["type"] == "message")["content"] for _ in range(2)]
    assert "ann@example.com" not in told[0]
    assert told[1] == "And this comes after it"


def test_what_nobody_may_see_yet_is_told_then_to_who_connects_meanwhile(door, context, account, secret):
    execute(
        context,
        "UPDATE accounts SET privacy_policy = CAST(:policy AS jsonb) WHERE id = :id",
        id=account,
        policy='{"preset": "recommended", "blockUntilAnnotated": true}',
    )
    place = a_conversation(context, account).id
    say_in(context, account, place, "My mail is ann@example.com")
    for path in ("/ws", f"/ws?after={place}:0"):
        with talking(door.port, secret, path) as talk:
            assert not [f for f in talk.quiet() if f["type"] == "message"]
    with talking(door.port, secret) as talk:
        annotate_conversation(context, place)
        told = talk.until(lambda f: f["type"] == "message", 5.0)
        assert (told["seq"], "ann@example.com" in told["content"]) == (1, False)
        assert talk.quiet() == []


def test_what_takes_six_times_its_room_when_told_drops_nobody_who_reads(door, context, account, secret):
    places = [a_conversation(context, account).id for _ in range(3)]
    with talking(door.port, secret) as talk:
        with context.transaction(account) as session:
            for place in places:
                create_messages(session, place, [Draft(MessageType.USER, "\x01" * 250_000) for _ in range(3)])
        for _ in range(9):
            assert len(talk.until(lambda f: f["type"] == "message")["content"]) == 250_000


@pytest.mark.parametrize("ending", ["reaped", "left behind"])
def test_what_no_worker_ends_is_told_at_once(ending, door, context, account, secret, monkeypatch):
    monkeypatch.setattr("api.following.SWEEP", 60.0)
    with talking(door.port, secret) as talk:
        talk.say("One")
        talk.of_type("typing")
        talk.quiet(1.5)  # the look that follows a connection
        run = one(context, "SELECT id FROM runs")
        with context.transaction() as session:
            assert claim(
                session, run, lease=timedelta(0), run_time=timedelta(minutes=5), worker="w", delivery=None
            )
        if ending == "reaped":
            execute(context, "UPDATE runs SET crashes = 2, lease_until = now() - interval '1 s'")
            assert reap(context) == 1
            assert talk.of_type("error", 5.0)["error"] == "turn_failed"
            return
        talk.say("Two")
        talk.until(lambda f: f.get("status") == "delivered")
        ended = "state = 'cancelled', error_class = 'cancelled', finished_at = now(), lease_until = NULL"
        execute(context, f"UPDATE runs SET {ended} WHERE id = :id", id=run)
        monkeypatch.setattr(context.live, "tell_news", (told := []).append)
        assert follow_up_all(context) == 1
        assert told, "who follows the account is told where to look"
