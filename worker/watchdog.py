"""Notices a consumer that stopped: hints wait, runs wait, and nothing arrives here.

A half-open connection looks healthy from both ends. Such a worker gives its runs back and ends, so that
whoever supervises it starts another; the poll worker serves what is due meanwhile.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import Unavailable
from core.work import unclaimed
from worker.process import Hands

log = structlog.get_logger()

LOOKS = 2  # in a row, so that a moment between two deliveries proves nothing


def start(hands: Hands, queue: str, slots: int) -> None:
    """Watches this process's consumer from a thread of its own."""
    threading.Thread(target=_watch, args=[hands, queue, slots], name="watchdog", daemon=True).start()


def _watch(hands: Hands, queue: str, slots: int) -> None:
    patience = hands.context.settings.wedge_after
    suspicious = 0
    while not hands.stopping.wait(patience.total_seconds() / 3):
        try:
            suspicious = suspicious + 1 if _looks_wedged(hands, queue, slots, patience) else 0
        except (Unavailable, SQLAlchemyError):
            suspicious = 0
        if suspicious >= LOOKS:
            log.error("consumer_wedged", queue=queue, held=hands.leases.held())
            hands.finish()
            os._exit(1)  # The consumer's thread may be stuck in a read that never ends.


def _looks_wedged(hands: Hands, queue: str, slots: int, patience: timedelta) -> bool:
    """Whether there was work for this process and none came, though it has room and the broker is there."""
    if time.monotonic() - hands.delivered_at < patience.total_seconds() or hands.busy() >= slots:
        return False
    return bool(hands.context.publisher.waiting(queue)) and bool(
        unclaimed(hands.context, queue, patience / 3, 1)
    )
