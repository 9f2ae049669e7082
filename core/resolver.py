"""The addresses of a host name, within a time: the system's resolver has no time-out of its own."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable

SLICE = 0.5


def _always() -> None:
    """The addresses are wanted until the time is over."""


def addresses_of(host: str, port: int, seconds: float, wanted: Callable[[], None] = _always) -> list[str]:
    """The host's addresses in the resolver's order, each once; empty when there are none.

    Raises:
        TimeoutError: the resolver did not answer in time. Its thread ends when it does.
        Whatever `wanted` raises, which is asked every half a second.

    """
    found: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put(list(dict.fromkeys(str(entry[4][0]) for entry in entries)))
        except (OSError, UnicodeError):
            found.put([])

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        try:
            return found.get(timeout=max(0.001, min(left, SLICE)))
        except queue.Empty:
            wanted()
            if left <= 0:
                raise TimeoutError from None
