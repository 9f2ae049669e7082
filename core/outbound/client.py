"""One request, one answer: to an address that was checked, within a deadline, and never further.

A name is resolved once, every address is judged, and the connection goes to an address that was judged, so
a name that changes its mind meanwhile (DNS rebinding) gains nothing. TLS is verified against the name.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

import httpcore2

from core import resolver
from core.outbound.addresses import parse_address
from core.outbound.allowance import Allowance
from core.outbound.errors import (
    OutboundBroken,
    OutboundRefused,
    OutboundTimeout,
    OutboundUnreachable,
)
from core.outbound.places import Place, parse_place, permitted

IDLE = timedelta(seconds=10)
MOST_SENT = 2 * 1024 * 1024
SLICE = 16 * 1024
AGENT = "Crontalk"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "te"})


@dataclass(frozen=True)
class Answer:
    """What came back. A redirect is an answer like any other: nobody follows it."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def error_code(self) -> str | None:
        """None for 2xx, else a static code."""
        if 200 <= self.status < 300:
            return None
        return "redirect" if 300 <= self.status < 400 else f"http_{self.status}"


def request(
    method: str,
    url: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str],
    within: timedelta,
    allowance: Allowance,
    body_limit: int = 0,
) -> Answer:
    """Sends one request and answers with what came back, up to `body_limit` bytes of its body.

    With a limit of 0 the answer's body is not read at all: its status says everything, and however long it
    is, it costs nothing. Everything from the name's resolution on happens `within` the time.

    Raises:
        OutboundError: there is no answer; see its tree.

    """
    limit = _Limit(time.monotonic() + within.total_seconds())
    place = parse_place(url)
    outgoing = _checked(headers, body)
    addresses = permitted(place, _resolve(place, limit), allowance)
    context = _tls() if place.scheme == "https" else None
    with (
        _translated(limit),
        httpcore2.ConnectionPool(
            ssl_context=context, max_connections=1, http2=False, network_backend=_Backend(addresses, limit)
        ) as pool,
    ):
        answer = pool.handle_request(
            httpcore2.Request(
                method,
                httpcore2.URL(
                    scheme=place.scheme.encode(),
                    host=place.host.encode(),
                    port=place.port,
                    target=place.target.encode(),
                ),
                headers=[(b"Host", place.host_header.encode()), *outgoing],
                content=body,
            )
        )
        with contextlib.closing(answer):
            return Answer(answer.status, _kept(answer), _read(answer, body_limit))


@dataclass(frozen=True)
class _Limit:
    """The end of one request on the monotonic clock."""

    end: float

    def wait(self, timeout: float | None = None) -> float:
        """Seconds a socket may wait for its next byte."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise OutboundTimeout("deadline")
        idle = IDLE.total_seconds() if timeout is None else timeout
        return max(0.001, min(left, idle))


class _Stream(httpcore2.NetworkStream):
    """A connection whose every wait is bounded by its request."""

    def __init__(self, inner: httpcore2.NetworkStream, limit: _Limit) -> None:
        self._inner = inner
        self._limit = limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._limit.wait(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In slices, because the time-out counts anew for each one the peer accepts.
        for start in range(0, len(buffer), SLICE):
            self._inner.write(buffer[start : start + SLICE], self._limit.wait(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        wait = self._limit.wait(timeout)
        try:
            return _Stream(self._inner.start_tls(ssl_context, server_hostname, wait), self._limit)
        except (httpcore2.ConnectError, ssl.SSLError):
            raise OutboundUnreachable("tls") from None

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    """Connects to the addresses that were judged, one after the other, whatever name it is told."""

    def __init__(self, addresses: list[str], limit: _Limit) -> None:
        self._addresses = addresses
        self._limit = limit
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        del host
        for tried, address in enumerate(self._addresses):
            share = self._limit.wait(timeout) / (len(self._addresses) - tried)
            with contextlib.suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                connected = self._plain.connect_tcp(address, port, share, local_address, socket_options)
                return _Stream(connected, self._limit)
        self._limit.wait()
        raise OutboundUnreachable("connect")


@cache
def _tls() -> ssl.SSLContext:
    """The system's and the operator's authorities (SSL_CERT_FILE), TLS 1.2 and later."""
    return httpcore2.default_ssl_context()


def _resolve(place: Place, limit: _Limit) -> list[str]:
    if parse_address(place.host) is not None:
        return [place.host]
    try:
        addresses = resolver.addresses_of(place.host, place.port, limit.wait(limit.end))
    except TimeoutError:
        raise OutboundTimeout("deadline") from None
    if not addresses:
        raise OutboundUnreachable("unknown_host")
    return addresses


def _checked(headers: Mapping[str, str], body: bytes) -> list[tuple[bytes, bytes]]:
    """The headers to send. A name or a value that could end its line is refused, never repaired."""
    if len(body) > MOST_SENT:
        raise OutboundRefused("too_large")
    outgoing = [(b"User-Agent", AGENT.encode()), (b"Accept-Encoding", b"identity"), (b"Connection", b"close")]
    for name, value in headers.items():
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)) or name.lower() in _OURS:
            raise OutboundRefused("header")
        outgoing.append((name.encode(), value.encode()))
    return [*outgoing, (b"Content-Length", str(len(body)).encode())]


def _kept(answer: httpcore2.Response) -> dict[str, str]:
    kept = (b"content-type", b"retry-after")
    return {
        name.decode("ascii").lower(): value.decode("latin-1")[:200]
        for name, value in answer.headers
        if name.lower() in kept
    }


def _read(answer: httpcore2.Response, body_limit: int) -> bytes:
    if body_limit == 0:
        return b""
    encodings = {
        value.strip().lower() for name, value in answer.headers if name.lower() == b"content-encoding"
    }
    if encodings - {b"", b"identity"}:
        raise OutboundBroken("encoded")
    read = bytearray()
    for piece in answer.iter_stream():
        read += piece
        if len(read) > body_limit:
            raise OutboundBroken("answer_too_large")
    return bytes(read)


@contextlib.contextmanager
def _translated(limit: _Limit) -> Iterator[None]:
    """Foreign exceptions become ours; their words, which may quote a header or an address, are dropped."""
    try:
        yield
    except httpcore2.TimeoutException:
        limit.wait()
        raise OutboundTimeout("idle") from None
    except (httpcore2.LocalProtocolError, httpcore2.UnsupportedProtocol):
        raise OutboundRefused("header") from None
    except httpcore2.ProtocolError:
        raise OutboundBroken("protocol") from None
    except (httpcore2.NetworkError, OSError):
        raise OutboundBroken("cut") from None
