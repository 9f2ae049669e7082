"""One request, one answer: to an address that was checked, within a deadline, and never further.

A name is resolved once, every address is judged, and the connection goes to an address that was judged, so
a name that changes its mind meanwhile (DNS rebinding) gains nothing. TLS is verified against the name.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache

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
from core.outbound.places import LONGEST, Place, parse_place, permitted
from core.outbound.wire import Backend, Limit, Wanted, always

MOST_SENT = 2 * 1024 * 1024
HEADERS = 1024 * 1024  # what may come around a body
AGENT = "Crontalk"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "te"})
# Of an answer's headers these are kept, up to so many characters: one too many for a URL is no URL.
_KEPT = {b"content-type": 200, b"retry-after": 200, b"location": LONGEST + 1}


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
    wanted: Wanted = always,
) -> Answer:
    """Sends one request and answers with what came back, up to `body_limit` bytes of its body.

    With a limit of 0 the answer's body is not read at all: its status says everything, and however long it
    is, it costs nothing. Everything from the name's resolution on happens `within` the time. `wanted` is
    asked at least twice a second; what it raises ends the request and closes its connection.

    Raises:
        OutboundError: there is no answer; see its tree. Whatever `wanted` raises.

    """
    limit = Limit.after(within, wanted)
    place = parse_place(url)
    outgoing = _checked(headers, body)
    addresses = permitted(place, _resolve(place, limit), allowance)
    context = _tls() if place.scheme == "https" else None
    backend = Backend(addresses, limit, HEADERS + 2 * body_limit)
    with (
        _translated(limit),
        httpcore2.ConnectionPool(
            ssl_context=context, max_connections=1, http2=False, network_backend=backend
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
            return Answer(answer.status, _kept(answer), _read(answer, 0 if method == "HEAD" else body_limit))


@cache
def _tls() -> ssl.SSLContext:
    """The system's and the operator's authorities (SSL_CERT_FILE), TLS 1.2 and later."""
    return httpcore2.default_ssl_context()


def _resolve(place: Place, limit: Limit) -> list[str]:
    if parse_address(place.host) is not None:
        return [place.host]
    asking = {} if limit.wanted is always else {"wanted": limit.wanted}
    try:
        addresses = resolver.addresses_of(place.host, place.port, limit.left(), **asking)
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
    return {
        name.decode("ascii").lower(): value.decode("latin-1")[: _KEPT[name.lower()]]
        for name, value in answer.headers
        if name.lower() in _KEPT
    }


def _read(answer: httpcore2.Response, body_limit: int) -> bytes:
    if body_limit == 0:
        return b""
    encodings = {
        value.strip().lower() for name, value in answer.headers if name.lower() == b"content-encoding"
    }
    if encodings - {b"", b"identity"}:
        raise OutboundBroken("encoded")
    if any(name.lower() == b"content-length" and int(value) > body_limit for name, value in answer.headers):
        raise OutboundBroken("answer_too_large")  # which spares reading it
    read = bytearray()
    for piece in answer.iter_stream():
        read += piece
        if len(read) > body_limit:
            raise OutboundBroken("answer_too_large")
    return bytes(read)


@contextlib.contextmanager
def _translated(limit: Limit) -> Iterator[None]:
    """Foreign exceptions become ours; their words, which may quote a header or an address, are dropped."""
    try:
        yield
    except httpcore2.TimeoutException:
        limit.left()
        raise OutboundTimeout("idle") from None
    except (httpcore2.LocalProtocolError, httpcore2.UnsupportedProtocol):
        raise OutboundRefused("header") from None
    except httpcore2.ProtocolError:
        raise OutboundBroken("protocol") from None
    except (httpcore2.NetworkError, OSError):
        raise OutboundBroken("cut") from None
