"""What a request may weigh and hold, through the app and through a real server."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from datetime import timedelta

import pytest
import uvicorn

from api.app import make_app
from cli.local.processes import wait_until
from core.context import make_context
from tests.api import a_client, a_secret
from tests.factories import one
from tests.unit.test_strict_json import HOSTILE

CREATE = "/api/v1/task/create"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(("body", "sentence"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("path", [CREATE, "/v1/task/create"])
def test_hostile_json_is_a_clear_400(client, context, path, body, sentence):
    answer = client.post(path, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"].startswith(sentence)
    assert one(context, "SELECT count(*) FROM tasks") == 0


def test_a_missing_body_counts_as_an_empty_object(client, world):
    for headers in ({}, JSON, {"Content-Type": "text/plain"}):
        answer = client.post(f"/api/v1/task/{world.taskId}/cancel", headers=headers)
        assert answer.status_code == 200
    answer = client.post(CREATE)
    assert answer.json()["message"] == "A task needs a description (the prompt) or at least a name."
    assert client.post("/api/v1/bot/create").status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonl", ""])
def test_a_body_that_is_not_json_is_not_read(client, kind):
    answer = client.post(CREATE, content=b'{"name": "x"}', headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_compressed_bodies_are_refused(client):
    for coding in ("gzip", "br", "deflate, gzip"):
        answer = client.post(CREATE, content=b"x", headers={**JSON, "Content-Encoding": coding})
        assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert (
        client.post(CREATE, json={"name": "x"}, headers={"Content-Encoding": "identity"}).status_code == 200
    )


def test_a_body_just_within_the_limit_is_read(client, settings):
    frame = len(json.dumps({"name": "x", "ignored": ""}))
    body = json.dumps({"name": "x", "ignored": "y" * (settings.max_body - frame)}).encode()
    assert len(body) == settings.max_body
    assert client.post(CREATE, content=body, headers=JSON).status_code == 200
    answer = client.post(CREATE, content=body + b" ", headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "CONTENT_TOO_LARGE")
    assert answer.json()["message"] == f"The body is larger than {settings.max_body} bytes."


@pytest.fixture
def server(settings, context, account):
    """The app behind a real server: (port, secret)."""
    own = make_context(settings.model_copy(update={"max_body": 10_000}), "api tests")
    config = uvicorn.Config(
        make_app(own), port=0, log_config=None, access_log=False, server_header=False, ws="none"
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    assert wait_until(lambda: running.started, timedelta(seconds=10))
    yield running.servers[0].sockets[0].getsockname()[1], a_secret(context, account)
    running.should_exit = True
    thread.join(10)


def spoken(port, *pieces: bytes) -> bytes:
    """What the server says to these bytes before it closes or falls silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        heard = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while chunk := connection.recv(65_536):
                heard += chunk
        except (TimeoutError, ConnectionResetError):
            pass
    return heard


def head(secret, *more: str) -> bytes:
    lines = [f"POST {CREATE} HTTP/1.1", "Host: x", f"Authorization: Bearer {secret}", *more]
    return "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode()


def test_a_declared_body_that_is_too_large_is_refused_before_it_is_sent(server):
    port, secret = server
    answer = spoken(port, head(secret, "Content-Length: 200000000"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"CONTENT_TOO_LARGE"' in answer
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("length", [20_000, 8_000_000])
def test_a_client_that_is_still_sending_hears_why_its_body_is_refused(server, length):
    """Reading and writing at once, as clients with an event loop do: a reset is all that they would see."""
    port, secret = server

    async def spoken_at_once() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(secret, f"Content-Length: {length}") + b" " * length)
        try:
            return await reader.read()
        finally:
            writer.close()

    answer = asyncio.run(spoken_at_once())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"CONTENT_TOO_LARGE"' in answer


def test_a_client_that_asks_before_it_sends_is_refused_at_once(server):
    port, secret = server
    answer = spoken(port, head(secret, "Content-Length: 20000", "Expect: 100-continue"))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_is_counted_as_it_comes(server):
    port, secret = server
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    answer = spoken(port, head(secret, "Transfer-Encoding: chunked"), chunk, chunk, chunk)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_within_the_limit_is_read(server, context):
    port, secret = server
    pieces = [b'd\r\n{"name": "chu\r\n', b'6\r\nnked"}\r\n', b"0\r\n\r\n"]
    answer = spoken(port, head(secret, "Transfer-Encoding: chunked", "Connection: close"), *pieces)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert one(context, "SELECT name FROM tasks") == "chunked"


def test_a_body_that_breaks_off_stores_nothing(server, context):
    port, secret = server
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head(secret, "Content-Length: 500") + b'{"name": "half"}')
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head(secret, "Transfer-Encoding: chunked") + b'10\r\n{"name": "half"}\r\n')
    assert spoken(port, b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert one(context, "SELECT count(*) FROM tasks") == 0


def test_no_answer_names_the_server_software(server):
    port, _ = server
    answer = spoken(port, b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").lower()
    assert answer.startswith(b"http/1.1 200 ")
    assert b"\r\nserver:" not in answer
    assert b"uvicorn" not in answer


def test_a_lifespan_bounds_the_threads_and_closes_the_context(settings):
    import anyio.to_thread

    own = make_context(settings.model_copy(update={"pool_size": 7}), "api tests")
    with a_client(own) as client:

        async def tokens():
            return anyio.to_thread.current_default_thread_limiter().total_tokens

        assert client.portal.call(tokens) == 7
        assert client.get("/health/ready").status_code == 200
        assert own.engine.pool.checkedin() == 1
    assert own.engine.pool.checkedin() == 0
