"""Canaries: personal data that goes in by every door is nowhere to be found but behind its tokens.

Real processes on a database of their own. What the broker and the live channels are told is listened to all
the while (MONITOR): nothing raw may pass, not even for a moment.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import psycopg
import pytest
import redis

from cli.local.processes import wait_until
from core.valkey import second_database
from tests.acceptance.conftest import Service, free_port
from tests.factories import a_bot, one, rows
from tests.servers import libpq

pytestmark = pytest.mark.acceptance

API = "/api/v1"
MARK = uuid.uuid4().hex[:10]
MAIL = f"canary.{MARK}"  # at a domain that differs from door to door
LOGIN = ("ops", "secret")


@pytest.fixture(scope="module")
def whole(service: Service) -> Iterator[Service]:
    """The service with everything that runs beside it."""
    flower = free_port()
    service.installation.start("worker", "--queues", "annotate,bulk", "--concurrency", "1")
    service.installation.start("worker", "--poll")
    service.installation.start("flower", "--port", str(flower), CRONTALK_FLOWER_AUTH=":".join(LOGIN))
    service.installation.settings["flower"] = f"http://127.0.0.1:{flower}"
    wait_until(lambda: "worker" in asked_flower(service, "/api/workers?refresh=1"), timedelta(seconds=60))
    return service


@pytest.fixture(scope="module")
def heard(whole: Service) -> Iterator[list[str]]:
    """Every command that the broker's server is given while the tests of this module run."""
    words: list[str] = []
    client = redis.Redis.from_url(whole.installation.redis_url, socket_timeout=1)
    stop = threading.Event()

    def listen() -> None:
        with client.monitor() as monitor:
            while not stop.is_set():
                with contextlib.suppress(redis.TimeoutError):
                    words.append(str(monitor.next_command()))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield words
    stop.set()
    thread.join(5)
    client.close()


@pytest.fixture(scope="module")
def api(whole: Service):
    headers = {"Authorization": f"Bearer {whole.token}"}
    with httpx2.Client(base_url=whole.origin + API, headers=headers, timeout=60) as client:
        yield client


def asked_flower(service: Service, path: str) -> str:
    login = b64encode(":".join(LOGIN).encode()).decode()
    address = service.installation.settings["flower"] + path
    request = urllib.request.Request(address, headers={"Authorization": f"Basic {login}"})
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode(errors="replace")
    return ""


_numbers = itertools.count()


def a_mail() -> str:
    return f"{MAIL}.{next(_numbers)}@leak.example.com"


def through_every_door(api: httpx2.Client, service: Service, model: str | None = None) -> list[str]:
    """Says canaries in every way there is; answers the conversations."""
    context = service.installation.context
    bot = a_bot(context, service.account, privacy=True, model=model)
    made = api.post(
        "/conversation/create",
        json={
            "botId": str(bot.id),
            "name": f"About {a_mail()}",
            "description": f"Of {a_mail()}",
            "meta": {"who": [a_mail()]},
            "messages": [{"type": "user", "text": f"I am {a_mail()}", "name": a_mail()}],
        },
    ).json()
    conversation = made["id"]
    path = f"/conversation/{conversation}"
    api.post(f"{path}/update", json={"name": f"Now {a_mail()}", "meta": {"more": a_mail()}})
    message = api.post(
        f"{path}/message/create",
        json={"type": "user", "text": f"Mail {a_mail()}", "meta": {"a": {"b": a_mail()}}},
        headers={"Idempotency-Key": uuid.uuid4().hex},
    ).json()["id"]
    items = [{"type": kind, "text": f"{kind} {a_mail()}"} for kind in ("user", "bot", "context")]
    api.post(f"{path}/message/batch/create", json={"items": items})
    api.post(f"{path}/message/{message}/update", json={"text": f"Rather {a_mail()}", "description": a_mail()})
    api.post(f"{path}/send", json={"text": f"Sent {a_mail()}"})
    api.post(f"{path}/receive", json={})
    api.post(f"{path}/complete", json={"text": f"Say {a_mail()}"})
    streamed = api.post(
        f"{path}/complete", json={"text": f"Tell {a_mail()}"}, headers={"Accept": "application/jsonl"}
    )
    assert streamed.status_code == 200
    function = {
        "name": "look",
        "description": "Looks somebody up.",
        "parameters": {"type": "object", "properties": {"mail": {"type": "string"}}},
        "result": {"data": {"found": a_mail()}},
        "call": {"start": True},
    }
    api.post(f"{path}/complete", json={"text": f"look {a_mail()}", "functions": [function]})
    channel = f"canary-{uuid.uuid4().hex}"
    api.post(f"{path}/dispatch", json={"text": f"Later {a_mail()}", "channelId": channel})
    said = [{"type": "user", "text": f"Nobody keeps {a_mail()}"}]
    stateless = {"messages": said, "botId": str(bot.id)}
    api.post("/conversation/complete", json=stateless)
    api.post("/conversation/complete", json=stateless, headers={"Accept": "application/jsonl"})
    api.post("/conversation/dispatch", json={**stateless, "channelId": f"canary-{uuid.uuid4().hex}"})
    task = api.post(
        "/task/create",
        json={"name": f"For {a_mail()}", "description": f"Write to {a_mail()}", "botId": str(bot.id)},
    ).json()["id"]
    api.post(f"/task/{task}/trigger", json={})
    api.post(f"/task/{task}/update", json={"meta": {"who": a_mail()}})
    spoken = api.post(
        "/task/create", json={"name": "Aloud", "botId": str(bot.id), "overlap": "allow"}
    ).json()["id"]
    assert api.post(f"/task/{spoken}/trigger", json={"prompt": f"Once {a_mail()}"}).status_code == 200
    api.post(f"/bot/{bot.id}/upvote", json={"reason": f"{a_mail()} was kind"})
    api.post(f"{path}/message/create", json={"type": "user", "text": "Hi", "meta": {a_mail(): 1}})
    garbage(api, path)
    settled(service)
    return [str(row["id"]) for row in rows(context, "SELECT id FROM conversations")]


def garbage(api: httpx2.Client, path: str) -> None:
    """What is refused with canaries inside."""
    for body in (
        {"type": a_mail(), "text": a_mail()},
        {"type": "user", "text": {"mail": a_mail()}},
        {"type": "user", "text": f"\x00{a_mail()}"},
        {"type": "user", "text": a_mail(), "entities": [{"begin": 5, "end": 2, "text": a_mail()}]},
    ):
        assert api.post(f"{path}/message/create", json=body).status_code == 400
    broken = f'{{"type": "user", "text": "{a_mail()}'
    headers = {"Content-Type": "application/json"}
    assert api.post(f"{path}/message/create", content=broken, headers=headers).status_code == 400
    assert api.post(f"{path}/message/create", content=a_mail()).status_code in {400, 415}


def settled(service: Service) -> None:
    context = service.installation.context
    unfinished = "SELECT count(*) FROM runs WHERE finished_at IS NULL"
    assert wait_until(lambda: one(context, unfinished) == 0, timedelta(seconds=90))
    left = "SELECT count(*) FROM annotations WHERE state <> 'failed'"
    assert wait_until(lambda: one(context, left) == 0, timedelta(seconds=60))


def words_of_the_database(service: Service) -> Iterator[tuple[str, str]]:
    """Every row of every table, and what the planner keeps of them, as text."""
    with psycopg.connect(libpq(service.installation.database_url)) as connection:
        connection.execute("ANALYZE")
        names = connection.execute(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        for (name,) in names:
            for (row,) in connection.execute(f"SELECT t::text FROM {name} t"):
                yield name, row
        for (row,) in connection.execute("SELECT s::text FROM pg_stats s WHERE schemaname = 'public'"):
            yield "pg_stats", row


def found_in_the_database(service: Service) -> set[str]:
    """A marker in bytes is as bad as one in letters."""
    sought = (MAIL, MAIL.encode().hex())
    return {name for name, row in words_of_the_database(service) if any(word in row for word in sought)}


def kept_in_valkey(service: Service) -> str:
    said = []
    for url in (service.installation.redis_url, second_database(service.installation.redis_url)):
        with redis.Redis.from_url(url) as client:
            said += [repr((key, read(client, key))) for key in client.scan_iter()]
    return "".join(said)


def read(client: redis.Redis, key: bytes):
    match client.type(key):
        case b"stream":
            return client.xrange(key)
        case b"list":
            return client.lrange(key, 0, -1)
        case b"hash":
            return client.hgetall(key)
        case b"set":
            return client.smembers(key)
        case b"zset":
            return client.zrange(key, 0, -1)
        case _:
            return client.get(key)


def said_by_the_processes(service: Service, servers) -> str:
    """The logs of all our processes, and of the servers they share with other tests."""
    with psycopg.connect(libpq(servers.admin_url)) as admin:
        (directory,) = admin.execute("SHOW data_directory").fetchone()
    logs = [log for parent in Path(directory).parents for log in parent.glob("logs/postgres.log")]
    assert logs
    return service.installation.all_logs() + "".join(path.read_text(errors="replace") for path in logs)


def shown_in_flower(service: Service) -> str:
    paths = ("/api/tasks?limit=1000", "/tasks", "/workers", "/broker", "/metrics")
    return "".join(asked_flower(service, path) for path in paths)


def nowhere(service: Service, servers, heard: list[str]) -> None:
    assert found_in_the_database(service) == set()
    assert MAIL not in kept_in_valkey(service)
    assert MAIL not in "".join(heard)
    assert MAIL not in said_by_the_processes(service, servers)
    assert MAIL not in shown_in_flower(service)
    metrics = httpx2.get(f"{service.origin}/metrics", headers={"Authorization": f"Bearer {service.token}"})
    assert MAIL not in metrics.text


def test_personal_data_is_nowhere_but_behind_its_tokens(whole, servers, heard, api):
    through_every_door(api, whole)
    assert any("crontalk.complete" in said for said in heard)
    assert any("crontalk.annotate_message" in said for said in heard)
    assert one(whole.installation.context, "SELECT count(*) FROM pii_tokens") > 10
    nowhere(whole, servers, heard)


def test_a_model_that_fails_leaks_nothing_either(whole, servers, heard, api):
    through_every_door(api, whole, model="offline/finish=length")
    assert one(whole.installation.context, "SELECT count(*) FROM messages WHERE step = 'partial'") > 0
    nowhere(whole, servers, heard)


def test_after_deletion_there_is_nothing_left_at_all(whole, servers, heard, api):
    conversations = through_every_door(api, whole)
    context = whole.installation.context
    tokens = {row["token"] for row in rows(context, "SELECT token FROM pii_tokens")}
    for conversation in conversations:
        assert api.post(f"/conversation/{conversation}/delete", json={}).status_code in {200, 404}
    for task in api.get("/task/list").json()["items"]:
        assert api.post(f"/task/{task['id']}/delete", json={}).status_code == 200
    for bot in api.get("/bot/list").json()["items"]:  # with the votes on it
        assert api.post(f"/bot/{bot['id']}/delete", json={}).status_code in {200, 409}
    for table in ("messages", "pii_tokens", "annotations"):
        assert one(context, f"SELECT count(*) FROM {table}") == 0
    assert not rows(context, "SELECT 1 FROM tasks WHERE shield IS NOT NULL")
    assert {name for name, row in words_of_the_database(whole) if "[email:" in row} == set()
    nowhere(whole, servers, heard)
    kept = kept_in_valkey(whole)
    assert not {token for token in tokens if token in kept}
