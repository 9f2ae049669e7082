"""What a worker process holds: its context and its leases, made after any fork, given back before it ends."""

from __future__ import annotations

import os
import threading
import time
import uuid
from dataclasses import dataclass, field

import structlog

from core.context import Context, make_context
from core.delivering import deliver
from core.privacy.detect import warm
from core.settings import Settings
from core.work import Leases

log = structlog.get_logger()

SENDERS = 8  # threads of a process that may wait for receivers of deliveries; the others serve runs


@dataclass
class Hands:
    """One per process: never share a database connection across a fork."""

    context: Context
    leases: Leases
    senders: int = SENDERS
    stopping: threading.Event = field(default_factory=threading.Event)
    delivered_at: float = field(default_factory=time.monotonic)
    _sending: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def deliver(self, delivery_id: uuid.UUID) -> str:
        """Sends a delivery, or leaves it for a later hint (`busy`) where as many are being sent as may be."""
        with self._lock:
            if self._sending >= self.senders or self.stopping.is_set():
                return "busy"
            self._sending += 1
        try:
            return deliver(self.context, delivery_id)
        finally:
            with self._lock:
                self._sending -= 1

    def busy(self) -> int:
        """How many threads work on a run or a delivery."""
        return self.leases.held() + self._sending

    def finish(self) -> int:
        """Waits for what is in hand up to the grace, then gives the rest back; answers how many runs.

        A delivery cannot be given back: its lease runs out, and it is sent again.
        """
        self.stopping.set()
        end = time.monotonic() + self.context.settings.grace.total_seconds()
        while self.busy() and time.monotonic() < end:
            time.sleep(0.05)
        released = self.leases.release_all()
        log.info("worker_finished", released=released)
        return released

    def leave(self) -> None:
        """Finishes, and ends the process if threads are still inside a model call.

        They write nothing any more, but Celery and the interpreter would wait for them without end.
        """
        if self.finish():
            os._exit(0)


def make_hands(settings: Settings, name: str) -> Hands:
    context = make_context(settings, name)
    return Hands(context, Leases(context))


_hands: dict[int, Hands] = {}
_lock = threading.Lock()


def hands(settings: Settings) -> Hands:
    """The hands of the asking process, made when first asked for."""
    with _lock:
        mine = _hands.get(os.getpid())
        if mine is None:
            warm()
            mine = _hands[os.getpid()] = make_hands(settings, "worker")
        return mine


def existing_hands() -> Hands | None:
    """The hands of the asking process, if it has taken any work."""
    return _hands.get(os.getpid())
