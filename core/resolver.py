"""The addresses of a host name, within a time: the system's resolver has no time-out of its own."""

from __future__ import annotations

import queue
import socket
import threading


def addresses_of(host: str, port: int, seconds: float) -> list[str]:
    """The host's addresses in the resolver's order, each once; empty when there are none.

    Raises:
        TimeoutError: the resolver did not answer in time. Its thread ends when it does.

    """
    found: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put(list(dict.fromkeys(str(entry[4][0]) for entry in entries)))
        except (OSError, UnicodeError):
            found.put([])

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    try:
        return found.get(timeout=max(0.001, seconds))
    except queue.Empty:
        raise TimeoutError from None
