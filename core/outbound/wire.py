"""The connection below a request: a socket whose every wait is bounded, and ends once nobody wants it."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import httpcore2

from core.outbound.errors import OutboundBroken, OutboundTimeout, OutboundUnreachable

IDLE = timedelta(seconds=10)
SLICE = 0.5  # seconds that a wait lasts at most before it is asked whether anybody wants the answer
PIECE = 16 * 1024

Done = TypeVar("Done")
Wanted = Callable[[], None]


def always() -> None:
    """The answer is wanted until the deadline."""


@dataclass(frozen=True)
class Limit:
    """The end of one request on the monotonic clock; `wanted` raises when it is to end before."""

    end: float
    wanted: Wanted = field(default=always, compare=False, repr=False)

    @classmethod
    def after(cls, within: timedelta, wanted: Wanted = always) -> Limit:
        return cls(time.monotonic() + within.total_seconds(), wanted)

    def left(self) -> float:
        """Seconds, and some are left.

        Raises:
            OutboundTimeout: none are. Whatever `wanted` raises.

        """
        self.wanted()
        left = self.end - time.monotonic()
        if left <= 0:
            raise OutboundTimeout("deadline")
        return left

    def patiently(self, sock: socket.socket, step: Callable[[], Done], quiet: float | None = None) -> Done:
        """What a step on the socket comes to, tried in slices until nothing has moved for too long."""
        began = time.monotonic()
        patience = IDLE.total_seconds() if quiet is None else quiet
        while True:
            left = min(self.left(), began + patience - time.monotonic())
            if left <= 0:
                raise OutboundTimeout("idle")
            sock.settimeout(max(0.001, min(left, SLICE)))
            # A step that timed out has done nothing, under TLS as well: it is tried again as it was.
            with contextlib.suppress(TimeoutError):
                return step()


class Stream(httpcore2.NetworkStream):
    """A connected socket, with TLS or without, from which so many bytes may be read in all.

    The size of an answer alone bounds nothing: a chunk of one byte may carry a kilobyte about itself.
    """

    def __init__(self, sock: socket.socket, limit: Limit, most: int) -> None:
        self._sock = sock
        self._limit = limit
        self._most = most

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            read = self._limit.patiently(self._sock, lambda: self._sock.recv(max_bytes), timeout)
        except OSError:
            raise httpcore2.ReadError from None
        self._most -= len(read)
        if self._most < 0:
            raise OutboundBroken("answer_too_large")
        return read

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In pieces, because patience begins anew with each one the peer accepts.
        view = memoryview(buffer)
        try:
            while view:
                sent = self._limit.patiently(self._sock, partial(self._sock.send, view[:PIECE]), timeout)
                view = view[sent:]
        except OSError:
            raise httpcore2.WriteError from None

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        try:
            secure = ssl_context.wrap_socket(
                self._sock, server_hostname=server_hostname, do_handshake_on_connect=False
            )
        except OSError:
            self.close()
            raise OutboundUnreachable("tls") from None
        try:
            self._limit.patiently(secure, secure.do_handshake, timeout)
        except OSError:
            secure.close()
            raise OutboundUnreachable("tls") from None
        except BaseException:
            secure.close()
            raise
        return Stream(secure, self._limit, self._most)

    def get_extra_info(self, info: str) -> Any:
        return self._sock if info == "socket" else None


class Backend(httpcore2.NetworkBackend):
    """Connects to the addresses that were judged, one after the other, whatever name it is told."""

    def __init__(self, addresses: list[str], limit: Limit, most: int) -> None:
        self._addresses = addresses
        self._limit = limit
        self._most = most

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        del host, timeout, local_address, socket_options
        for tried, address in enumerate(self._addresses):
            share = min(self._limit.left(), IDLE.total_seconds()) / (len(self._addresses) - tried)
            with contextlib.suppress(OSError):
                return Stream(_connected(address, port, self._limit, share), self._limit, self._most)
        self._limit.left()
        raise OutboundUnreachable("connect")


def _connected(address: str, port: int, limit: Limit, share: float) -> socket.socket:
    """A connection to the address.

    Raises:
        OSError: nobody there, or not within the share. OutboundTimeout: the deadline has passed.

    """
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _connect(sock, (address, port), limit, time.monotonic() + share)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(sock: socket.socket, place: tuple[str, int], limit: Limit, end: float) -> None:
    sock.setblocking(False)
    while (state := sock.connect_ex(place)) in {errno.EINPROGRESS, errno.EALREADY, errno.EINTR}:
        _wait_for(sock, min(limit.left(), end - time.monotonic(), SLICE))
    if state not in {0, errno.EISCONN}:
        raise OSError(state, "not connected")


def _wait_for(sock: socket.socket, seconds: float) -> None:
    if seconds <= 0:
        raise TimeoutError
    waiting = select.poll()
    waiting.register(sock, select.POLLOUT)
    waiting.poll(seconds * 1000)
