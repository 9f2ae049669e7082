"""A TCP proxy that stops passing bytes on without closing anything: a half-open connection, a held COMMIT."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from typing import Self

COMMIT = b"COMMIT\x00"  # as PostgreSQL's protocol asks for it


class Proxy:
    """Listens on loopback and forwards to a unix socket.

    `freeze` silences what is open; new connections pass. `hold_commit` keeps the next COMMIT of a connection
    that has sent some words, so that its transaction stays open: `held` tells that it has come to that.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._frozen: set[socket.socket] = set()
        self._words: bytes | None = None
        self._said: set[socket.socket] = set()
        self._kept: dict[socket.socket, bytes] = {}
        self.held = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, waker = os.pipe()
        self._waker = waker
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def freeze(self) -> int:
        """Nothing that is open now passes anything any more; answers how many connections that are."""
        self._frozen |= set(self._peers)
        return len(self._frozen) // 2

    def hold_commit(self, after: bytes) -> None:
        """The next COMMIT on a connection that has sent these words does not arrive until `release`."""
        self.held.clear()
        self._words = after

    def release(self) -> None:
        """What was held goes on its way, if there is still somebody to take it."""
        for source, data in self._kept.items():
            with contextlib.suppress(OSError, KeyError):
                self._peers[source].sendall(data)
        self._kept.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._waker, b"x")
        self._thread.join()
        self._selector.close()
        for sock in [self._listener, *self._peers, *self._frozen]:
            sock.close()
        os.close(self._wake)
        os.close(self._waker)

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == self._wake:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        self._peers |= {client: server, server: client}
        for sock in (client, server):
            self._selector.register(sock, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket) -> None:
        if source in self._frozen:
            self._selector.unregister(source)
            return
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(65536)
        try:
            if not data:
                raise ConnectionError
            if self._is_held(source, data):
                self._kept[source] = self._kept.get(source, b"") + data
                return
            self._peers[source].sendall(data)
        except OSError:
            self._close(source)

    def _is_held(self, source: socket.socket, data: bytes) -> bool:
        if self._words and self._words in data:
            self._said.add(source)
        if self._words and source in self._said and COMMIT in data:
            self._words = None
            self._kept[source] = b""
            self.held.set()
        return source in self._kept

    def _close(self, source: socket.socket) -> None:
        for sock in (source, self._peers.get(source)):
            if sock is not None and sock in self._peers:
                self._peers.pop(sock)
                self._kept.pop(sock, None)
                with contextlib.suppress(KeyError):
                    self._selector.unregister(sock)
                sock.close()
