"""The API as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tests.api import a_secret

pytestmark = pytest.mark.acceptance
MARKER = "geheim4711"


def a_free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def a_process(settings, tmp_path, **more):
    """(process, its address, the file its log goes to)."""
    port = a_free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "CRONTALK_PORT": str(port),
        **more,
    }
    logs = tmp_path / "api.log"
    with logs.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.main"], env=environment, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield process, f"http://127.0.0.1:{port}", logs
        finally:
            process.kill()
            process.wait(10)


def asked(url, **headers):
    """(status, headers, body); status 0 while nobody listens."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()
    except OSError:
        return 0, {}, ""


def test_the_process_serves_logs_json_without_content_and_ends_on_a_signal(
    settings, context, account, tmp_path, eventually
):
    with a_process(settings, tmp_path) as (process, url, logs):
        eventually(lambda: asked(f"{url}/health/live")[0] == 200, seconds=30)
        secret = a_secret(context, account)
        for path in (
            f"/api/v1/task/{MARKER}/fetch?x={MARKER}",
            f"/login/{MARKER}",
            f"/api/v1/run/list?state={MARKER}",
        ):
            status, headers, _ = asked(url + path, Authorization=f"Bearer {secret}")
            assert status in {200, 400, 404}
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "Server" not in headers
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=5) as connection:
            connection.sendall(f"NONSENSE {MARKER}\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in {0, -signal.SIGTERM}
        lines = [json.loads(line) for line in logs.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["api_started", "server_message", "api_stopped"]
    assert MARKER not in str(lines)
    assert secret not in str(lines)


def test_the_word_of_a_proxy_counts_only_when_it_is_trusted(settings, tmp_path, eventually):
    forwarded = {"X-Forwarded-Proto": "https"}
    for more, https in (({}, False), ({"CRONTALK_TRUSTED_PROXIES": "127.0.0.1"}, True)):
        with a_process(settings, tmp_path, **more) as (_, url, _):
            eventually(lambda url=url: asked(f"{url}/health/live")[0] == 200, seconds=30)
            _, headers, _ = asked(f"{url}/health/live", **forwarded)
            assert ("Strict-Transport-Security" in headers) is https
