"""HTTP to a model server within a total deadline, however slowly the server drips.

An idle time-out starts anew with every byte, so a server that sends one byte a second holds a thread for
hours. Here every connect, read and write waits no longer than its call's deadline has left.

Reads and writes wait in slices, and ask between two whether the answer is still wanted. The thread that
waits asks for itself: another thread that shut the socket instead might meet a connection which the pool has
already given to the next call, and would have to be alive and at leisure just when the database is not.
Connecting and the TLS handshake cannot be taken up again where they were left; each ends within
the few seconds of its own time-out.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import httpcore2
import httpx2

from core.chat.provider import (
    SLICE,
    Deadline,
    ModelError,
    ModelMisconfigured,
    ModelTimeout,
    ModelUnavailable,
)
from core.resolver import addresses_of

Waited = TypeVar("Waited")

MAX_CONNECTIONS = 1000
MAX_IDLE_CONNECTIONS = 500
# Below the 5 s after which common servers close: an idle connection is not reused just as it dies.
KEEP_ALIVE = timedelta(seconds=4)
MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
ERROR_BODY_PATIENCE = timedelta(seconds=2)
WRITE_BYTES = 16 * 1024

_SENT_HEADERS = frozenset({b"host", b"accept", b"content-type", b"content-length", b"user-agent"})
_current = threading.local()


@dataclass
class Call:
    """One request's limits, as the sockets of its thread see them; the deadline may be moved closer."""

    deadline: Deadline

    def hurry(self, span: timedelta) -> None:
        """End the call `span` from now, unless its deadline is sooner."""
        self.deadline = self.deadline.or_sooner(span)

    def wait(self, timeout: float | None) -> float:
        """Seconds a socket may wait; raises ModelTimeout when none are left, or that it is not wanted."""
        self.deadline.check()
        remaining = self.deadline.remaining()
        return max(0.001, remaining if timeout is None else min(timeout, remaining))


@contextlib.contextmanager
def limited_by(call: Call) -> Iterator[None]:
    """What this thread sends and reads inside obeys the call. Hold it for one step, never over a yield."""
    before = getattr(_current, "call", None)
    _current.call = call
    try:
        yield
    finally:
        _current.call = before


def _wait(timeout: float | None) -> float:
    call: Call = _current.call
    return call.wait(timeout)


def _in_slices(attempt: Callable[[float], Waited], timeout: float | None, elapsed: type[Exception]) -> Waited:
    """What `attempt(seconds)` answers. While it raises `elapsed` it is made again, up to the time-out."""
    end = float("inf") if timeout is None else time.monotonic() + timeout
    while True:
        span = min(_wait(end - time.monotonic()), SLICE)
        try:
            return attempt(span)
        except elapsed:
            if time.monotonic() >= end:
                raise


def _send(sock: socket.socket, piece: memoryview, timeout: float) -> int:
    """How many bytes the peer took. The library's own write does not tell when its time is up."""
    sock.settimeout(timeout)
    try:
        return int(sock.send(piece))
    except TimeoutError:
        raise httpcore2.WriteTimeout from None
    except OSError:
        raise httpcore2.WriteError from None


class _Stream(httpcore2.NetworkStream):
    """A connection whose every wait is bounded by the call of the thread that uses it."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return _in_slices(lambda span: self._inner.read(max_bytes, span), timeout, httpcore2.ReadTimeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # Piece by piece, because the time-out counts anew for each one the peer accepts.
        sock, left = self._inner.get_extra_info("socket"), memoryview(buffer)
        while left:
            attempt = functools.partial(_send, sock, left[:WRITE_BYTES])
            left = left[_in_slices(attempt, timeout, httpcore2.WriteTimeout) :]

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _wait(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    """Connects within the call's deadline, name resolution and all addresses of a name included."""

    def __init__(self) -> None:
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        limit = Deadline.after(timedelta(seconds=_wait(timeout)))
        *others, last = _resolve(host, port, limit)
        for tried, address in enumerate(others):
            share = max(0.001, limit.remaining() / (len(others) + 1 - tried))
            with contextlib.suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return _Stream(self._plain.connect_tcp(address, port, share, local_address, socket_options))
        share = max(0.001, limit.remaining())
        return _Stream(self._plain.connect_tcp(last, port, share, local_address, socket_options))


def _resolve(host: str, port: int, limit: Deadline) -> list[str]:
    """The addresses of a host."""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    try:
        addresses = addresses_of(host, port, limit.remaining())
    except TimeoutError:
        raise httpcore2.ConnectTimeout from None
    if not addresses:
        raise httpcore2.ConnectError
    return addresses


class BoundedTransport(httpx2.BaseTransport):
    """A connection pool for all threads: no proxies, no redirects, bounded bodies, ModelError for failures.

    Sends the few headers a completion needs and none the client library or its environment variables add.
    """

    def __init__(self, api_key: str | None) -> None:
        self._authorization = None if api_key is None else b"Bearer " + api_key.encode()
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_IDLE_CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE.total_seconds(),
            network_backend=_Backend(),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send within the current call's deadline. Raises ModelError when there is no HTTP answer."""
        call: Call = _current.call
        with _translated(call, "no_answer"):
            answer = self._pool.handle_request(self._outgoing(request))
        body = _Body(answer, call)
        if answer.status != 200:
            return httpx2.Response(answer.status, headers=_kept(answer), content=_error_body(body, call))
        if _header(answer, b"content-encoding") not in (b"", b"identity"):
            body.close()
            raise ModelUnavailable("encoded")
        return httpx2.Response(answer.status, headers=_kept(answer), stream=body)

    def _outgoing(self, request: httpx2.Request) -> httpcore2.Request:
        headers = [(name, value) for name, value in request.headers.raw if name.lower() in _SENT_HEADERS]
        headers.append((b"Accept-Encoding", b"identity"))
        if self._authorization is not None:
            headers.append((b"Authorization", self._authorization))
        return httpcore2.Request(
            request.method,
            httpcore2.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=headers,
            content=request.content,
            extensions=request.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    """An answer's raw body: read within the deadline and up to MAX_BODY_BYTES, then ModelUnavailable."""

    def __init__(self, answer: httpcore2.Response, call: Call) -> None:
        self._answer = answer
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        pieces = iter(self._answer.iter_stream())
        size = 0
        while True:
            with limited_by(self._call), _translated(self._call, "stream_cut"):
                self._call.deadline.check()
                piece = next(pieces, None)
            if piece is None:
                return
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise ModelUnavailable("too_large")
            yield piece

    def close(self) -> None:
        self._answer.close()


def _error_body(body: _Body, call: Call) -> bytes:
    """The beginning of an error's body: enough to classify it, and the status counts if it never comes."""
    call.hurry(ERROR_BODY_PATIENCE)
    read = bytearray()
    with contextlib.closing(body), contextlib.suppress(ModelError):
        for piece in body:
            read += piece
            if len(read) > MAX_ERROR_BYTES:
                break
    return bytes(read[:MAX_ERROR_BYTES])


def _header(answer: httpcore2.Response, wanted: bytes) -> bytes:
    return next((value.strip().lower() for name, value in answer.headers if name.lower() == wanted), b"")


def _kept(answer: httpcore2.Response) -> list[tuple[bytes, bytes]]:
    return [
        (name, value) for name, value in answer.headers if name.lower() in (b"content-type", b"retry-after")
    ]


@contextlib.contextmanager
def _translated(call: Call, cut: str) -> Iterator[None]:
    """Foreign exceptions become ours; `cut` is the code of a connection that broke."""
    try:
        yield
    except httpcore2.ConnectTimeout:
        call.deadline.check()
        raise ModelUnavailable("connect") from None
    except httpcore2.PoolTimeout:
        call.deadline.check()
        raise ModelUnavailable("busy") from None
    except httpcore2.TimeoutException:
        call.deadline.check()
        raise ModelTimeout("idle") from None
    except (httpcore2.ConnectError, ssl.SSLError):
        raise ModelUnavailable("connect") from None
    except (httpcore2.LocalProtocolError, httpcore2.UnsupportedProtocol):
        # Its message may quote a header, and one of them is the key.
        raise ModelMisconfigured("bad_request") from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError):
        raise ModelUnavailable(cut) from None
