"""The General Bots dialect as its users see it: real clients, two API processes, a worker and a scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from cli.local.processes import wait_until
from core.accounts import create_token, revoke_token
from tests.acceptance.conftest import an_installation, free_port
from tests.acceptance.gate import Gate
from tests.api import a_secret
from tests.factories import a_contact, an_account, execute, one, rows
from tests.sockets import Talk, talking


class House:
    """Two API processes on one database, and who works for them."""

    def __init__(self, installation, **settings: str) -> None:
        self.installation = installation
        self.context = installation.context
        self.account = an_account(self.context)
        self.settings = {"CRONTALK_ANONYMOUS": str(self.account), **settings}
        self.ports = [free_port(), free_port()]
        self.apis = [self._api(port) for port in self.ports]
        self.worker = installation.start("worker", "--queues", "chat", **self.settings)
        self.scheduler = installation.start("scheduler", **self.settings)
        for port in self.ports:
            self.wait(port)

    def _api(self, port: int):
        return self.installation.start("api", "--port", str(port), **self.settings)

    def wait(self, port: int) -> None:
        assert wait_until(lambda: _answers(port), timedelta(seconds=120)), self.installation.all_logs()

    def kill_api(self, number: int) -> None:
        self.installation.kill(self.apis[number])

    def start_api(self, number: int) -> None:
        self.apis[number] = self._api(self.ports[number])
        self.wait(self.ports[number])

    def user(self, name: str) -> str:
        """The token of a contact."""
        contact = a_contact(self.context, self.account, name=name, fingerprint=name)
        with self.context.transaction(self.account) as session:
            return create_token(session, self.account, name, contact_id=contact.id)[1]

    def ask(self, method: str, path: str, secret: str, number: int = 0, **options):
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx2.request(
            method, f"http://127.0.0.1:{self.ports[number]}{path}", headers=headers, timeout=30, **options
        )


def _answers(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture(scope="module")
def house(servers, worker_id, tmp_path_factory):
    with an_installation(servers, worker_id, tmp_path_factory.mktemp("house")) as installation:
        yield House(installation)


def messages(talk: Talk) -> list[str]:
    return [frame["message_id"] for frame in talk.frames if frame["type"] == "message"]


def test_two_devices_on_two_processes_see_the_same_conversation(house):
    ada = house.user("ada")
    with talking(house.ports[0], ada) as desk, talking(house.ports[1], ada) as phone:
        desk.say("From the desk")
        answer = desk.answer()
        assert phone.answer()["message_id"] == answer["message_id"]
        assert [f["sender"] for f in phone.frames if f["type"] == "message"] == ["user", "bot"]
        phone.say("From the phone", answer["session_id"])
        assert phone.answer()["message_id"] == desk.answer()["message_id"]
        sent = house.ask(
            "POST",
            f"/api/conversations/{answer['session_id']}/messages",
            ada,
            1,
            json={"content": "By REST", "attachments": []},
        ).json()
        for device in (desk, phone):
            assert device.until(lambda f: f.get("message_id") == sent["message_id"])["content"] == "By REST"
            device.answer()
        history = house.ask("GET", f"/api/conversations/{answer['session_id']}/history", ada).json()
        told = [one["id"] for one in history["messages"]]
        # Each device is told of all but what it said itself, which it has a receipt for.
        assert messages(desk) == told[1:]
        assert messages(phone) == told[:2] + told[3:]


def test_a_scheduled_task_of_a_user_appears_live_on_both(house):
    grace = house.user("grace")
    contact = one(house.context, "SELECT id FROM contacts WHERE fingerprint = 'grace'")
    owner = a_secret(house.context, house.account)
    with (
        talking(house.ports[0], grace) as desk,
        talking(house.ports[1], grace) as phone,
        talking(house.ports[1], house.user("other")) as other,
    ):
        made = house.ask(
            "POST",
            "/api/v1/task/create",
            owner,
            json={
                "name": "Morning",
                "description": "Say good morning",
                "schedule": "@every 1h",
                "contactId": str(contact),
            },
        )
        assert made.status_code == 200, made.text
        execute(
            house.context,
            "UPDATE task_clocks SET next_run_at = now() WHERE task_id = :id",
            id=made.json()["id"],
        )
        for device in (desk, phone):
            assert device.until(lambda f: f["type"] == "message", 40)["content"] == "Say good morning"
            device.answer(40)
        assert not [f for f in other.quiet(0.5) if f["type"] == "message"]


def test_every_frame_type_and_every_error(house):
    owner = a_secret(house.context, house.account)
    bot = one(house.context, "SELECT id FROM bots WHERE account_id = :id", id=house.account)
    execute(
        house.context,
        "UPDATE bots SET meta = CAST(:meta AS jsonb) WHERE id = :id",
        meta='{"suggestions": ["Yes", "No"]}',
        id=bot,
    )
    theirs = house.ask("POST", "/api/conversations/start", house.user("them"), json={}).json()
    mine = house.user("me")
    with talking(house.ports[0], mine, "/ws?deltas=1") as talk:
        talk.say("Hello")
        assert talk.of_type("suggestion")["suggestions"][0] == {"text": "Yes", "value": "Yes"}
        talk.send("no json")
        assert talk.of_type("error")["error"] == "invalid_message"
        talk.say("Not mine", theirs["session_id"])
        assert talk.of_type("error")["error"] == "forbidden"
        talk.say("Nobody's", "conv-456")
        assert talk.of_type("error")["error"] == "not_found"
    assert {f["type"] for f in talk.frames} >= {"status", "typing", "message", "suggestion", "error", "delta"}
    with talking(house.ports[0], "ct_wrong", welcome=False) as talk:
        assert talk.next()["error"] == "unauthorized"
        assert talk.closed() == 4401
    execute(house.context, "UPDATE bots SET meta = '{}' WHERE id = :id", id=bot)
    del owner


def test_sixty_messages_a_minute_whichever_process_counts_them(house):
    busy = house.user("busy")
    with talking(house.ports[0], busy) as one_, talking(house.ports[1], busy) as two:
        place = house.ask("POST", "/api/conversations/start", busy, json={}).json()["session_id"]
        began, told = time.monotonic(), 0
        for n in range(60):
            talk = (one_, two)[n % 2]
            talk.say(f"Message {n}", place)
            told += (
                talk.until(lambda f: f.get("status") == "delivered" or f["type"] == "error")["type"]
                == "status"
            )
        assert time.monotonic() - began < 55, "too slow a machine to tell"
        assert told == 60
        for talk in (one_, two):
            talk.say("One too many", place)
            fault = talk.of_type("error")
            assert fault["error"] == "rate_limited"
            assert 0 < fault["retry_after"] <= 60
        refused = house.ask("POST", f"/api/conversations/{place}/messages", busy, 1, json={"content": "x"})
        assert refused.status_code == 429
        assert refused.json()["error"] == "rate_limited"
        two.send("still open")
        assert two.of_type("error")["error"] == "invalid_message"
    assert (
        one(
            house.context,
            "SELECT count(*) FROM messages WHERE type = 'user' AND conversation_id = :id",
            id=place,
        )
        == 60
    )


def test_an_anonymous_visitor_leaves_nothing_behind(house):
    before = rows(house.context, "SELECT count(*) AS n FROM messages")[0]["n"]
    with talking(house.ports[0]) as talk:
        assert talk.frames[0]["authenticated"] is False
        talk.say("Who am I?")
        talk.answer(40)
        greeting = talk.frames[0]
    assert rows(house.context, "SELECT count(*) AS n FROM messages")[0]["n"] == before
    with talking(house.ports[1]) as again:  # the other process
        again.send({"type": "auth", "token": greeting["resume"], "after": [f"{greeting['session_id']}:0"]})
        assert again.of_type("status")["session_id"] == greeting["session_id"]
        assert [again.next()["sender"] for _ in range(2)] == ["user", "bot"]
    with talking(house.ports[1]) as upgraded:
        upgraded.send({"type": "auth", "token": house.user("late")})
        assert upgraded.of_type("status")["authenticated"] is True


def test_a_turn_completes_though_its_api_process_is_killed(house):
    eve = house.user("eve")
    execute(
        house.context, "UPDATE bots SET model = 'offline/latency=3' WHERE account_id = :id", id=house.account
    )
    try:
        with talking(house.ports[1], eve) as other, ExitStack() as stack:
            talk = stack.enter_context(talking(house.ports[0], eve))
            talk.say("Before the kill", id="frame-1")
            receipt = talk.until(lambda f: f.get("status") == "delivered")
            house.kill_api(0)
            assert talk.closed() in {1006, 1011}
            assert other.answer(60)["session_id"] == receipt["session_id"]
            house.start_api(0)
            back = stack.enter_context(talking(house.ports[0], eve, f"/ws?after={receipt['message_id']}"))
            back.until(lambda f: f.get("status") == "resumed")
            assert [f["sender"] for f in back.frames if f["type"] == "message"] == ["bot"]
            back.say("Before the kill", id="frame-1")
            assert back.until(lambda f: f.get("status") == "delivered")["message_id"] == receipt["message_id"]
            assert not [f for f in back.quiet(1.0) if f["type"] == "message"]
    finally:
        execute(house.context, "UPDATE bots SET model = NULL WHERE account_id = :id", id=house.account)


def test_a_revoked_token_is_closed_out_within_seconds(house):
    with house.context.transaction(house.account) as session:
        row, secret = create_token(session, house.account, "short")
    with talking(house.ports[0], secret) as talk:
        with house.context.transaction(house.account) as session:
            revoke_token(session, row.id)
        assert talk.closed(30) == 4401


def test_with_valkey_away_nothing_is_lost_and_nothing_told_twice(servers, worker_id, tmp_path):
    with an_installation(servers, worker_id, tmp_path) as installation:
        parts = urlsplit(installation.redis_url)
        number = parse_qs(parts.query)["db"][0]
        with Gate(parts.path) as gate:
            house = House(
                installation,
                REDIS_URL=f"redis://127.0.0.1:{gate.port}/{number}",
                CRONTALK_POLL_AFTER="0.5",
                CRONTALK_TICK="0.2",
            )
            poll = installation.start("worker", "--poll", **house.settings)
            ada = house.user("ada")
            with talking(house.ports[0], ada) as desk, talking(house.ports[1], ada) as phone:
                desk.say("Before")
                place = desk.answer(40)["session_id"]
                phone.answer(40)
                gate.shut()
                for n in range(3):
                    desk.say(f"While it is away {n}", place)
                    desk.answer(60)
                    phone.answer(60)
                gate.open()
                desk.say("Afterwards", place)
                desk.answer(60)
                phone.answer(60)
                assert _settles(lambda: len(desk.quiet(1.5)) + len(phone.quiet(1.5)) == 0)
            assert poll.poll() is None
            history = house.ask("GET", f"/api/conversations/{place}/history", ada).json()["messages"]
            told = [one["id"] for one in history]
            assert len(told) == 10
            assert messages(phone) == told
            assert messages(desk) == [one["id"] for one in history if one["sender"] == "bot"]


def _settles(quiet: Callable[[], bool], tries: int = 5) -> bool:
    return any(quiet() for _ in range(tries))
