"""Publishing to a broker that is away: logged, swallowed, never waited for."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from datetime import timedelta

import pytest
import redis

from cli.local.binaries import find_valkey
from cli.local.processes import wait_until
from core.publisher import CeleryPublisher, Hint
from models import new_id


def seconds_of(act) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started


def a_hint() -> Hint:
    return Hint(new_id(), "complete", "chat", 1)


def test_a_broker_that_refuses_costs_no_time():
    publisher = CeleryPublisher("redis://127.0.0.1:1/0")
    publisher._celery()
    assert seconds_of(lambda: publisher.publish([a_hint()])) < 1
    publisher.close()


def test_a_broker_that_hangs_costs_its_time_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        publisher = CeleryPublisher(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        assert publisher.waiting("chat") is None
        spent = seconds_of(lambda: [publisher.waiting("chat"), publisher.publish([a_hint()])])
        assert spent < 0.5
        publisher.close()


def test_a_broker_that_is_back_is_asked_again(redis_url, monkeypatch):
    publisher = CeleryPublisher(redis_url)
    publisher._away_until = time.monotonic() + 60
    assert publisher.waiting("chat") is None
    publisher._away_until = 0.0
    assert publisher.waiting("chat") is not None
    publisher.close()


@pytest.fixture
def own_broker(tmp_path):
    """A broker that the other tests do not share."""
    place = tmp_path / "valkey.sock"
    options = {"port": "0", "unixsocket": str(place), "save": "", "maxmemory-policy": "noeviction"}
    argv = [find_valkey(), *(word for name, value in options.items() for word in (f"--{name}", value))]
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=tmp_path)
    assert wait_until(place.exists, timedelta(seconds=20))
    client = redis.Redis(unix_socket_path=str(place))
    yield client, f"unix://{place}?db=0"
    client.close()
    server.kill()
    server.wait()


def test_a_broker_without_memory_takes_no_hint_and_evicts_none(own_broker):
    client, url = own_broker
    publisher = CeleryPublisher(url)
    assert publisher.publish([a_hint()])
    client.config_set("maxmemory", 1)
    assert publisher.publish([a_hint()]) is False
    assert publisher.publish([a_hint()]) is False  # nor is it asked again at once
    client.config_set("maxmemory", 0)
    publisher._away_until = 0.0
    assert publisher.publish([a_hint()])
    assert publisher.waiting("chat") == 2
    publisher.close()


def test_a_scheduler_does_not_wait_long_for_its_broker_to_get_ready():
    with socket.create_server(("127.0.0.1", 0)) as server:
        for port in (1, server.getsockname()[1]):
            publisher = CeleryPublisher(f"redis://127.0.0.1:{port}/0")
            publisher._celery()
            assert seconds_of(publisher.get_ready) < 5
            assert publisher.waiting("chat") is None
            publisher.close()


def test_a_publisher_that_got_ready_publishes(redis_url):
    publisher = CeleryPublisher(redis_url)
    publisher.get_ready()
    publisher._client().flushdb()
    assert publisher.publish([a_hint()])
    assert publisher.waiting("chat") == 1
    publisher._client().flushdb()
    publisher.close()


def test_threads_that_publish_at_once_from_the_start_all_do(redis_url):
    code = (
        "import sys, threading; from core.publisher import CeleryPublisher, Hint; from models import new_id;"
        "publisher = CeleryPublisher(sys.argv[1]); gate = threading.Barrier(16); sent = [];"
        "hint = lambda: Hint(new_id(), 'complete', 'bulk', 1);"
        "go = lambda: (gate.wait(), sent.append(publisher.publish([hint()])));"
        "threads = [threading.Thread(target=go) for _ in range(16)];"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads];"
        "assert sent == [True] * 16, sent"
    )
    try:
        # A process that has imported nothing of Celery yet.
        subprocess.run([sys.executable, "-c", code, redis_url], check=True, timeout=60)
    finally:
        publisher = CeleryPublisher(redis_url)
        publisher._client().delete("bulk")
        publisher.close()
