"""Starts a Celery worker: threads for the queue that waits for models, processes for those that compute."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from celery import signals

from core.errors import InvalidInput
from core.publisher import QUEUES
from core.settings import Settings
from worker import watchdog
from worker.app import make_app
from worker.process import hands

# Waiting for a model costs a thread and nothing else.
CHAT_SLOTS = 32
# Bulk work takes the processor that nobody who waits for an answer needs.
STEP_BACK = 5


def serve(settings: Settings, queues: Sequence[str], concurrency: int | None = None) -> None:
    """Runs until SIGTERM; then finishes what it holds within the grace and gives the rest back.

    Raises:
        InvalidInput: unknown queues, queues of different pools, or no broker.

    """
    if not settings.redis_url:
        raise InvalidInput(
            "A Celery worker needs a broker: set REDIS_URL, or start `crontalk worker --poll`."
        )
    unknown = set(queues) - set(QUEUES)
    if unknown or not queues:
        raise InvalidInput(f"The queues are {', '.join(QUEUES)}.")
    if "chat" in queues and len(set(queues)) > 1:
        raise InvalidInput(
            "The chat queue runs in threads, the others in processes: start a worker for each."
        )
    chat = "chat" in queues
    slots = concurrency or CHAT_SLOTS
    pool = ["--pool=threads", f"--concurrency={slots}"]
    if chat:
        # Before the first hint, and before the first SIGTERM; its threads share them.
        hands(settings).senders = max(1, slots // 4)
        _watch_when_ready(settings, slots)
    else:
        pool = ["--pool=prefork", f"--concurrency={concurrency or os.cpu_count() or 2}"]
        if hasattr(os, "nice"):
            os.nice(STEP_BACK)
    make_app(settings).worker_main(
        [
            "--quiet",
            "worker",
            *pool,
            f"--queues={','.join(queues)}",
            f"--hostname={queues[0]}-{os.getpid()}@%h",
            "--without-mingle",
            "--without-gossip",
            "--events",
        ]
    )


def _watch_when_ready(settings: Settings, slots: int) -> None:
    def watch(**_: Any) -> None:
        watchdog.start(hands(settings), "chat", slots)

    signals.worker_ready.connect(watch, weak=False)


@signals.setup_logging.connect(weak=False)
def _keep_our_logs(**_: Any) -> None:
    """Celery leaves logging alone when somebody answers this signal."""
