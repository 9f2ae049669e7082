"""The General Bots dialect as its users see it: real clients, two API processes, a worker and a scheduler."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from cli.local.binaries import find_valkey
from cli.local.processes import wait_until
from core.accounts import create_token, revoke_token
from tests.acceptance.conftest import an_installation, free_port
from tests.api import a_secret
from tests.factories import a_contact, an_account, execute, one, rows
from tests.sockets import Frame, Talk, silent, talking

MOST = 6  # connections of an account


class House:
    """Two API processes on one database, and who works for them."""

    def __init__(self, installation, **settings: str) -> None:
        self.installation = installation
        self.context = installation.context
        self.account = an_account(self.context)
        self.settings = {
            "CRONTALK_ANONYMOUS": str(self.account),
            "CRONTALK_SOCKET_PING": "5",
            "CRONTALK_SOCKETS_ACCOUNT": str(MOST),
            **settings,
        }
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

    @contextmanager
    def slow_model(self) -> Iterator[None]:
        """A model that takes its time, so that a turn is under way."""
        change = "UPDATE bots SET model = :model WHERE account_id = :id"
        execute(self.context, change, model="offline/latency=3", id=self.account)
        try:
            yield
        finally:
            execute(self.context, change, model=None, id=self.account)

    def peak(self, number: int) -> int:
        """The most memory in kB that an API process has had."""
        status = Path(f"/proc/{self.apis[number].pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1])

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


@dataclass
class Valkey:
    """A server of a test's own, at an address that stays."""

    directory: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = [
            "--port",
            str(self.port),
            "--save",
            "",
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.directory),
        ]
        self.process = subprocess.Popen([find_valkey(), *options], stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def a_valkey(directory: Path) -> Iterator[Valkey]:
    made = Valkey(directory)
    made.start()
    try:
        yield made
    finally:
        made.kill()


def _is_let_in(stack: ExitStack, port: int, secret: str) -> bool:
    """Whether there is a place; it is taken then."""
    talk = stack.enter_context(talking(port, secret, welcome=False))
    return talk.next()["type"] == "status"


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
    under_way = "SELECT count(*) FROM runs WHERE state IN ('pending', 'running', 'waiting')"
    assert wait_until(lambda: one(house.context, under_way) == 0, timedelta(seconds=60))
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


def test_turns_outlive_their_api_process_and_are_told_once(house):
    eve = house.user("eve")
    with house.slow_model(), talking(house.ports[1], eve) as other:
        with talking(house.ports[0], eve) as talk, talking(house.ports[0]) as visitor:
            talk.say("Before the kill", id="frame-1")
            receipt = talk.until(lambda f: f.get("status") == "delivered")
            visitor.say("Before the kill", id="frame-1")
            visitors = visitor.until(lambda f: f.get("status") == "delivered")
            visitor.of_type("typing")
            house.kill_api(0)
            assert talk.closed() in {1006, 1011}
            assert visitor.closed() in {1006, 1011}
        _goes_on(house, visitor.frames[0], visitors["message_id"])
        assert other.answer(60)["session_id"] == receipt["session_id"]
        house.start_api(0)
        with talking(house.ports[0], eve, f"/ws?after={receipt['message_id']}") as back:
            back.until(lambda f: f.get("status") == "resumed")
            assert [f["sender"] for f in back.frames if f["type"] == "message"] == ["bot"]
            back.say("Before the kill", id="frame-1")
            assert back.until(lambda f: f.get("status") == "delivered")["message_id"] == receipt["message_id"]
            assert not [f for f in back.quiet(1.0) if f["type"] == "message"]


def _goes_on(house: House, greeting: Frame, said: str) -> None:
    """A visitor whose turn was lost with its process is told what it had said, and answered, once."""
    with talking(house.ports[1]) as back:
        back.send({"type": "auth", "token": greeting["resume"], "after": [f"{greeting['session_id']}:0"]})
        assert back.of_type("status")["session_id"] == greeting["session_id"]
        assert back.next()["message_id"] == said
        back.say("Before the kill", id="frame-1")
        assert back.until(lambda f: f.get("status") == "delivered")["message_id"] == said
        back.answer(60)
        assert not [f for f in back.quiet(1.0) if f["type"] == "message"]
        assert [f["sender"] for f in back.frames if f["type"] == "message"] == ["user", "bot"]


def test_a_revoked_token_is_closed_out_of_every_process_within_seconds(house):
    with house.context.transaction(house.account) as session:
        row, secret = create_token(session, house.account, "short")
    with talking(house.ports[0], secret) as desk, talking(house.ports[1], secret) as phone:
        with house.context.transaction(house.account) as session:
            revoke_token(session, row.id)
        assert (desk.closed(30), phone.closed(30)) == (4401, 4401)


@pytest.mark.parametrize("fragments", [1, 34])
def test_a_frame_of_17_megabytes_ends_its_connection_and_fills_no_memory(fragments, house):
    ada = house.user(f"big-{fragments}")
    with talking(house.ports[0], ada) as talk, talking(house.ports[0], ada) as other:
        other.say("Before")
        other.answer(40)
        before = house.peak(0)
        piece = "x" * (17 * 1024 * 1024 // fragments)
        with suppress(ConnectionClosed):
            talk.connection.send(piece if fragments == 1 else [piece] * fragments)
        assert talk.closed() == 1009
        other.say("After")
        other.answer(40)
        assert house.peak(0) - before < 8 * 1024, "kB"


def test_clients_that_do_not_answer_are_closed_and_leave_their_places(house):
    account = an_account(house.context)
    secret, port = a_secret(house.context, account), house.ports[0]
    with ExitStack() as stack:
        talk = stack.enter_context(talking(port, secret))
        for _ in range(MOST - 1):
            stack.enter_context(silent(port, secret))
        with talking(port, secret, welcome=False) as refused:
            assert refused.closed() == 1013
        # More waits for them than the network takes: a close would wait for it as well.
        for n in range(8):
            talk.say(f"{n} " + "x" * 200_000)
        for _ in range(MOST - 1):  # as many places are free
            assert wait_until(lambda: _is_let_in(stack, port, secret), timedelta(seconds=30))
        talk.send("no json")
        assert talk.until(lambda f: f.get("error") == "invalid_message"), "who answers stays"


@pytest.mark.parametrize(("bucket", "limit"), [("history", 100), ("list", 30)])
def test_histories_and_lists_are_counted_over_both_processes(bucket, limit, house):
    busy = house.user(f"busy-{bucket}")
    place = house.ask("POST", "/api/conversations/start", busy, json={}).json()["session_id"]
    path = f"/api/conversations/{place}/history" if bucket == "history" else "/api/conversations"
    with ExitStack() as stack:
        origins = [f"http://127.0.0.1:{port}" for port in house.ports]
        headers = {"Authorization": f"Bearer {busy}"}
        doors = [
            stack.enter_context(httpx2.Client(base_url=origin, headers=headers, timeout=30))
            for origin in origins
        ]
        began = time.monotonic()
        for n in range(limit):
            answer = doors[n % 2].get(path)
            assert answer.status_code == 200, (n, answer.text)
            assert answer.headers["X-RateLimit-Limit"] == str(limit)
            assert answer.headers["X-RateLimit-Remaining"] == str(limit - 1 - n)
        assert time.monotonic() - began < 55, "too slow for this test"
        for door in doors:
            answer = door.get(path)
            assert (answer.status_code, answer.json()["error"]) == (429, "rate_limited")
            assert answer.headers["X-RateLimit-Remaining"] == "0"
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert abs(int(answer.headers["X-RateLimit-Reset"]) - time.time()) <= 61


def test_a_flood_at_one_process_ends_that_connection_alone(house):
    eager = house.user("eager")
    theirs = house.ask("POST", "/api/conversations/start", house.user("them-too"), json={}).json()
    with talking(house.ports[0], eager) as flood, talking(house.ports[1], eager) as calm:
        with suppress(ConnectionClosed):
            for _ in range(2000):
                flood.send("no frame")
        assert flood.closed() == 1008
        for place, fault in ((theirs["session_id"], "forbidden"), ("conv-456", "not_found")):
            calm.say("Let me in", place)
            assert calm.of_type("error")["error"] == fault
        calm.say("Hello")
        calm.answer(40)


def test_with_valkey_away_nothing_is_lost_and_nothing_told_twice(servers, worker_id, tmp_path):
    with an_installation(servers, worker_id, tmp_path) as installation, a_valkey(tmp_path) as valkey:
        settings = {"REDIS_URL": valkey.url, "CRONTALK_POLL_AFTER": "0.5", "CRONTALK_TICK": "0.2"}
        house = House(installation, **settings)
        poll = installation.start("worker", "--poll", **house.settings)
        ada = house.user("ada")
        with (
            talking(house.ports[0], ada) as desk,
            talking(house.ports[1], ada) as phone,
            talking(house.ports[0]) as visitor,
        ):
            desk.say("Before")
            place = desk.answer(40)["session_id"]
            phone.answer(40)
            visitor.say("Before")
            visitor.answer(40)
            valkey.kill()
            for n in range(3):
                desk.say(f"While it is away {n}", place)
                desk.answer(60)
                phone.answer(60)
            sent = house.ask(
                "POST", f"/api/conversations/{place}/messages", ada, 1, json={"content": "By REST"}
            )
            assert sent.status_code == 200, sent.text
            for device in (desk, phone):
                device.until(lambda f: f.get("message_id") == sent.json()["message_id"], 60)
                device.answer(60)
            # A visitor goes on where it is; elsewhere it is told that nobody knows its session now.
            visitor.say("While it is away")
            visitor.answer(60)
            with talking(house.ports[1]) as elsewhere:
                elsewhere.send({"type": "auth", "token": visitor.frames[0]["resume"]})
                assert elsewhere.of_type("error")["error"] == "unavailable"
                assert elsewhere.connection.state is State.OPEN
            valkey.start()
            desk.say("Afterwards", place)
            desk.answer(60)
            phone.answer(60)
            assert _settles(lambda: len(desk.quiet(1.5)) + len(phone.quiet(1.5)) == 0)
            visitor.quiet(2.5)  # until it is asked again
            visitor.say("Afterwards")
            visitor.answer(60)
            greeting = visitor.frames[0]
            with talking(house.ports[1]) as again:
                again.send(
                    {"type": "auth", "token": greeting["resume"], "after": [f"{greeting['session_id']}:0"]}
                )
                again.of_type("status")
                assert [again.next()["sender"] for _ in range(6)] == ["user", "bot"] * 3
                assert again.quiet() == []
        assert poll.poll() is None
        history = house.ask("GET", f"/api/conversations/{place}/history", ada).json()["messages"]
        told = [one["id"] for one in history]
        assert len(told) == 12
        assert messages(phone) == told
        own = [one["id"] for one in history if one["sender"] == "bot" or one["content"] == "By REST"]
        assert messages(desk) == own
        assert len(messages(visitor)) == len(set(messages(visitor))) == 3


def _settles(quiet: Callable[[], bool], tries: int = 5) -> bool:
    return any(quiet() for _ in range(tries))
