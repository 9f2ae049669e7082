"""Announcing: who follows an account is told to which of its conversations and jobs something has happened.

Ids over pub/sub and nothing else: whoever hears them reads the rows it may read. Nothing depends on them. One
that is lost, since nobody could be told or the process died between its commit and its telling, is found by
the slow look at the rows that followers take all the same (core/news.py).

A thread does the telling, so that a commit costs its caller a few microseconds however the server fares. The
first word goes out at once; what is committed within `PACE` of it is told together, so that a busy process
spends little on telling.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from core.valkey import Absence

PREFIX = "news:"
PACE = 0.025  # seconds from one telling to the next
# How long it may take until somebody who follows an account for the first time is known here.
REFRESH = 1.0
MOST = 1000  # rows of an account in one telling; beyond it followers look for themselves
PATIENCE = 1.0  # seconds that a process which ends waits for its last words

News = Mapping[uuid.UUID, Iterable[uuid.UUID]]


def channel_of(account: uuid.UUID) -> str:
    return f"{PREFIX}{account}"


def pack(rows: Iterable[uuid.UUID]) -> bytes:
    """Ids as they are told; nothing stands for "look at all of them"."""
    ids = set(rows)
    return b"".join(one.bytes for one in ids) if len(ids) <= MOST else b""


def unpack(told: bytes) -> list[uuid.UUID]:
    return [uuid.UUID(bytes=told[at : at + 16]) for at in range(0, len(told) - 15, 16)]


class Announcer:
    """Tells followers through a client for threads. Every failure is logged by its class and swallowed."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._absence = Absence("news_away")
        self._waiting: dict[uuid.UUID, set[uuid.UUID]] = defaultdict(set)
        self._lock = threading.Lock()
        self._something = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._followed: frozenset[str] = frozenset()
        self._asked_at = float("-inf")

    def tell(self, news: News) -> None:
        """Has it told soon."""
        with self._lock:
            for account, rows in news.items():
                self._waiting[account].update(rows)
            if self._pid != os.getpid():  # a thread does not survive a fork
                self._begin()
        self._something.set()

    def close(self) -> None:
        """Tells what waits, and ends."""
        self._stop.set()
        self._something.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(PATIENCE)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        told_at = float("-inf")
        while not self._stop.is_set():
            self._something.wait()
            if (early := told_at + PACE - time.monotonic()) > 0:
                self._stop.wait(early)
            told_at = time.monotonic()
            self._something.clear()
            with self._lock:
                news, self._waiting = self._waiting, defaultdict(set)
            if news and not self._absence.is_away():
                try:
                    self._publish(news)
                except Exception as error:  # noqa: BLE001 (see the class)
                    self._absence.note(error)

    def _publish(self, news: Mapping[uuid.UUID, set[uuid.UUID]]) -> None:
        """Only to who follows: asked once a second, since a scheduler speaks of thousands of accounts."""
        if time.monotonic() - self._asked_at >= REFRESH:
            found = self._client.pubsub_channels(f"{PREFIX}*")
            self._followed = frozenset(name.decode() for name in found)
            self._asked_at = time.monotonic()
        told = [
            (name, ids) for account, ids in news.items() if (name := channel_of(account)) in self._followed
        ]
        if not told:
            return
        with self._client.pipeline(transaction=False) as pipe:
            for name, ids in told:
                pipe.publish(name, pack(ids))
            pipe.execute()
