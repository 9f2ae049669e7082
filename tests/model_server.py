"""A scripted OpenAI-compatible server on raw sockets: it answers well, badly, slowly or not at all.

The model's name picks the behaviour, `hang` or `status:503`; any other name gets a good answer. Queued
behaviours (`script`, or POST /script with a JSON list) come first, one for each call. Every call is in the
ledger: in memory, at GET /ledger, and as JSON lines in a file. Alone: `python tests/model_server.py --port N
--ledger FILE`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

Behaviour = Callable[["Exchange", str], None]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(function: Behaviour) -> Behaviour:
    BEHAVIOURS[function.__name__.strip("_").replace("_", "-")] = function
    return function


class ClientGone(Exception):
    """The client closed its end, or the server is stopping."""


class Exchange:
    """One call: what was asked, and ways to answer."""

    def __init__(self, sock: socket.socket, entry: dict[str, Any], stopping: threading.Event) -> None:
        self.sock = sock
        self.entry = entry
        self.stopping = stopping
        self.keep_alive = False

    @property
    def body(self) -> dict[str, Any]:
        return self.entry["body"]

    def send(self, raw: bytes) -> None:
        self.sock.sendall(raw)

    def answer(self, status: int, content: bytes, kind: str = "application/json", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Because", f"Content-Type: {kind}", f"Content-Length: {len(content)}"]
        self.send("\r\n".join([*lines, *headers, "", ""]).encode() + content)
        self.keep_alive = True

    def json(self, status: int, value: object, *headers: str) -> None:
        self.answer(status, json.dumps(value).encode(), "application/json", *headers)

    def open_stream(self) -> None:
        self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    def part(self, raw: bytes) -> None:
        self.send(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")

    def close_stream(self) -> None:
        self.send(b"0\r\n\r\n")
        self.keep_alive = True

    def event(self, value: object) -> None:
        self.part(b"data: " + json.dumps(value).encode() + b"\n\n")

    def delta(self, text: str | None, finish: str | None = None) -> None:
        self.event(chunk(text, finish))

    def finish(self, reason: str = "stop") -> None:
        self.delta(None, reason)
        if self.body.get("stream_options", {}).get("include_usage"):
            self.event(chunk(None) | {"choices": [], "usage": usage()})
        self.part(b"data: [DONE]\n\n")
        self.close_stream()

    def wait(self, seconds: float | None = None) -> None:
        """Do nothing for a while, or for ever; raises ClientGone when the client hangs up."""
        end = time.monotonic() + (3600 if seconds is None else seconds)
        while not self.stopping.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return
            readable, _, _ = select.select([self.sock], [], [], min(left, 0.05))
            if readable and not self.sock.recv(1, socket.MSG_PEEK):
                raise ClientGone
        raise ClientGone

    def drip(self, raw: bytes, pause: float) -> None:
        for index in range(len(raw)):
            self.send(raw[index : index + 1])
            self.wait(pause)


def chunk(text: str | None, finish: str | None = None) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def usage() -> dict[str, int]:
    return {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def good_text(body: dict[str, Any]) -> str:
    said = [message["content"] for message in body.get("messages", []) if message["role"] == "user"]
    return f"The model heard: {said[-1] if said else 'nothing'}"


@behaviour
def ok(exchange: Exchange, argument: str) -> None:
    words = (argument or good_text(exchange.body)).split(" ")
    exchange.open_stream()
    for index, word in enumerate(words):
        exchange.delta(word if index == 0 else f" {word}")
    exchange.finish()


@behaviour
def slow(exchange: Exchange, argument: str) -> None:
    """A good answer after so many seconds."""
    exchange.wait(float(argument or 1))
    ok(exchange, "")


@behaviour
def whole(exchange: Exchange, argument: str) -> None:
    """A server that does not stream."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "All at once."},
        "finish_reason": "stop",
    }
    exchange.json(200, {"object": "chat.completion", "choices": [choice], "usage": usage()})


@behaviour
def no_usage(exchange: Exchange, argument: str) -> None:
    exchange.open_stream()
    exchange.delta("Twelve bytes")
    exchange.delta(None, "stop")
    exchange.close_stream()


@behaviour
def finish(exchange: Exchange, argument: str) -> None:
    """An answer that ends for the given reason."""
    exchange.open_stream()
    exchange.delta("Half an")
    exchange.finish(argument)


@behaviour
def empty(exchange: Exchange, argument: str) -> None:
    exchange.open_stream()
    exchange.delta("")
    exchange.finish()


def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return chunk(None) | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call_piece(index: int, arguments: str, **more: str) -> dict[str, Any]:
    """A piece of a call; its id and name come with the first one only."""
    name = {"name": more.pop("name")} if "name" in more else {}
    return {"index": index, **more, "function": {**name, "arguments": arguments}}


@behaviour
def thinking(exchange: Exchange, argument: str) -> None:
    """Thinks the given words before a good answer."""
    exchange.open_stream()
    for word in (argument or "Let me see.").split(" "):
        exchange.event(choice({"reasoning_content": f"{word} "}))
    for word in good_text(exchange.body).split(" "):
        exchange.delta(f"{word} ")
    exchange.finish()


@behaviour
def thinking_cut(exchange: Exchange, argument: str) -> None:
    """Thinks, and breaks off."""
    exchange.open_stream()
    exchange.event(choice({"reasoning_content": "Let me see."}))


@behaviour
def calling(exchange: Exchange, argument: str) -> None:
    """Calls every function that it was offered, interleaved and in pieces; the answers get a good answer.

    The argument is the JSON of each call's arguments, and may be none at all.
    """
    names = [tool["function"]["name"] for tool in exchange.body.get("tools", [])]
    if not names or any(message["role"] == "tool" for message in exchange.body["messages"]):
        ok(exchange, "")
        return
    words = argument or '{"word": "ready"}'
    exchange.open_stream()
    for index, name in enumerate(names):
        exchange.event(
            choice({"tool_calls": [call_piece(index, "", id=f"call{index}", type="function", name=name)]})
        )
    for sign in words:
        exchange.event(choice({"tool_calls": [call_piece(index, sign) for index in range(len(names))]}))
    exchange.event(choice({}, "tool_calls"))
    exchange.finish("tool_calls")


@behaviour
def calling_else(exchange: Exchange, argument: str) -> None:
    """Calls a function of the given name, whether it was offered or not; then answers well."""
    if any(message["role"] == "tool" for message in exchange.body["messages"]):
        ok(exchange, "")
        return
    exchange.open_stream()
    exchange.event(choice({"tool_calls": [call_piece(0, "{}", id="c", type="function", name=argument)]}))
    exchange.finish("tool_calls")


@behaviour
def moderation(exchange: Exchange, argument: str) -> None:
    """Flags what holds the word `forbidden`."""
    flagged = "forbidden" in exchange.body["input"]
    exchange.json(200, {"id": "m", "results": [{"flagged": flagged, "categories": {"violence": flagged}}]})


@behaviour
def says(exchange: Exchange, argument: str) -> None:
    """The argument as the body of a good answer."""
    exchange.answer(200, argument.encode())


@behaviour
def hang(exchange: Exchange, argument: str) -> None:
    exchange.wait()


@behaviour
def hang_body(exchange: Exchange, argument: str) -> None:
    exchange.open_stream()
    exchange.delta("Well,")
    exchange.wait()


@behaviour
def hang_after_finish(exchange: Exchange, argument: str) -> None:
    exchange.open_stream()
    exchange.delta("Said.", "stop")
    exchange.wait()


@behaviour
def hang_after_done(exchange: Exchange, argument: str) -> None:
    exchange.open_stream()
    exchange.delta("Said.", "stop")
    exchange.part(b"data: [DONE]\n\n")
    exchange.wait()


@behaviour
def hang_error_body(exchange: Exchange, argument: str) -> None:
    exchange.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n{")
    exchange.wait()


@behaviour
def drip_headers(exchange: Exchange, argument: str) -> None:
    exchange.drip(b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 4000, float(argument or 1))


@behaviour
def drip_body(exchange: Exchange, argument: str) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    exchange.drip(b": " + b"x" * 4000, float(argument or 1))


@behaviour
def html(exchange: Exchange, argument: str) -> None:
    exchange.answer(200, b"<!doctype html>\n<script>alert(1)</script>", "text/html")


@behaviour
def error_body(exchange: Exchange, argument: str) -> None:
    exchange.json(200, {"error": {"message": "SECRET-BODY", "code": argument or "server_error"}})


@behaviour
def error_event(exchange: Exchange, argument: str) -> None:
    exchange.open_stream()
    exchange.delta("Well,")
    exchange.event({"error": {"message": "SECRET-BODY", "code": argument or "server_error"}})
    exchange.close_stream()


@behaviour
def status(exchange: Exchange, argument: str) -> None:
    exchange.json(int(argument), {"error": {"message": "SECRET-BODY"}})


@behaviour
def refusal(exchange: Exchange, argument: str) -> None:
    """A 400, or the status before a comma, with the given error code: `refusal:429,insufficient_quota`."""
    code, _, name = argument.rpartition(",")
    exchange.json(int(code or 400), {"error": {"message": "SECRET-BODY", "code": name, "type": "invalid"}})


@behaviour
def retry_after(exchange: Exchange, argument: str) -> None:
    headers = [f"Retry-After: {argument}"] if argument else []
    exchange.json(429, {"error": {"message": "SECRET-BODY"}}, *headers)


@behaviour
def redirect(exchange: Exchange, argument: str) -> None:
    exchange.answer(302, b"", "text/plain", "Location: /v1/elsewhere")


@behaviour
def cut(exchange: Exchange, argument: str) -> None:
    exchange.open_stream()
    exchange.delta("Well,")


@behaviour
def unfinished(exchange: Exchange, argument: str) -> None:
    """A stream that closes properly and never says why."""
    exchange.open_stream()
    exchange.delta("Well,")
    exchange.part(b"data: [DONE]\n\n")
    exchange.close_stream()


@behaviour
def hang_up(exchange: Exchange, argument: str) -> None:
    """Close without a byte."""


@behaviour
def garbage(exchange: Exchange, argument: str) -> None:
    exchange.send(bytes(range(256)) * 8)


@behaviour
def garbage_event(exchange: Exchange, argument: str) -> None:
    exchange.open_stream()
    exchange.part(b"data: {]\xff\n\n")
    exchange.close_stream()


@behaviour
def events(exchange: Exchange, argument: str) -> None:
    """The given JSON as the only event."""
    exchange.open_stream()
    exchange.part(b"data: " + argument.encode() + b"\n\n")
    exchange.close_stream()


@behaviour
def empty_body(exchange: Exchange, argument: str) -> None:
    exchange.answer(200, b"")


@behaviour
def compressed(exchange: Exchange, argument: str) -> None:
    exchange.answer(200, b"\x1f\x8b", "text/event-stream", "Content-Encoding: gzip")


@behaviour
def huge(exchange: Exchange, argument: str) -> None:
    """100 MB in one line, in comments, or in good chunks (`huge:text`)."""
    exchange.open_stream()
    megabyte = b"x" * 1_000_000
    wrapped = {
        "": megabyte,
        "comments": b": " + megabyte + b"\n",
        "text": b"data: " + json.dumps(chunk("é" * 50_000)).encode() + b"\n\n",
    }[argument]
    if argument == "":
        exchange.part(b"data: ")
    for _ in range(100_000_000 // len(wrapped)):
        exchange.part(wrapped)


@behaviour
def huge_headers(exchange: Exchange, argument: str) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    for index in range(1000):
        exchange.send(f"X-{index}: ".encode() + b"x" * 1000 + b"\r\n")
    exchange.wait()


@behaviour
def unclean(exchange: Exchange, argument: str) -> None:
    """NUL, a lone surrogate, and an emoji in two halves."""
    exchange.open_stream()
    for text in ("a\0b", "\ud83d", "\ude00", "\udc00c", "\ud83d"):
        exchange.delta(text)
    exchange.finish()


class ModelServer:
    """Listens on loopback from the moment it is made; use it as a context manager or close it."""

    def __init__(self, port: int = 0, ledger: Path | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self.calls: list[dict[str, Any]] = []
        self.connections = 0
        self._ledger = ledger
        self._queue: deque[str] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def script(self, *names: str) -> None:
        """The next calls behave like this, in order, whatever model they name."""
        with self._changed:
            self._queue.extend(names)

    def wait_until(self, holds: Callable[[list[dict[str, Any]]], bool], seconds: float = 5) -> bool:
        """Whether the ledger comes to hold true within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: holds(self.calls), seconds)

    def close(self) -> None:
        self._stopping.set()
        # Closing a socket does not wake the thread that accepts on it; a connection does.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            sock, _ = self._listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError, ClientGone, ValueError):
            while True:
                request = self._read(sock)
                if request is None or not self._answer(sock, *request):
                    return

    def _read(self, sock: socket.socket) -> tuple[str, str, dict[str, str], bytes] | None:
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += self._receive(sock)
        head, _, content = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        verb, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(content) < int(headers.get("content-length", 0)):
            content += self._receive(sock)
        return verb, path, headers, content

    def _receive(self, sock: socket.socket) -> bytes:
        while not self._stopping.is_set():
            if select.select([sock], [], [], 0.05)[0]:
                received = sock.recv(65536)
                if not received:
                    raise ClientGone
                return received
        raise ClientGone

    def _answer(self, sock: socket.socket, verb: str, path: str, headers: dict[str, str], raw: bytes) -> bool:
        if path == "/ledger":
            Exchange(sock, {}, self._stopping).json(200, self.calls)
            return True
        if path == "/script":
            self.script(*json.loads(raw))
            Exchange(sock, {}, self._stopping).json(200, {})
            return True
        entry = self._entered(f"{verb} {path}", headers, json.loads(raw or b"{}"))
        exchange = Exchange(sock, entry, self._stopping)
        name, _, argument = entry["behaviour"].partition(":")
        ended = "client_closed"
        try:
            BEHAVIOURS.get(name, ok)(exchange, argument if name in BEHAVIOURS else "")
            ended = "sent"
        finally:
            self._ended(entry, ended)
        return exchange.keep_alive

    def _entered(self, what: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            chosen = self._queue.popleft() if self._queue else str(body.get("model"))
            entry = {
                "n": len(self.calls) + 1,
                "at": time.time(),
                "what": what,
                "behaviour": chosen,
                "headers": headers,
                "body": body,
                "ended": None,
            }
            self.calls.append(entry)
            self._write(entry)
            self._changed.notify_all()
        return entry

    def _ended(self, entry: dict[str, Any], how: str) -> None:
        with self._changed:
            entry["ended"] = how
            self._write({"n": entry["n"], "at": time.time(), "ended": how})
            self._changed.notify_all()

    def _write(self, line: dict[str, Any]) -> None:
        if self._ledger is not None:
            with self._ledger.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ledger", type=Path)
    arguments = parser.parse_args()
    with ModelServer(arguments.port, arguments.ledger) as server:
        print(server.base_url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
