"""Real processes: a Celery worker, a scheduler; and the scheduler's loop in a thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

import scheduler.loop
from core.context import Context
from core.publisher import broker_app
from core.settings import Settings

COMMAND = [sys.executable, "-m", "cli", "worker", "--queues", "chat"]


@contextmanager
def celery_worker(settings: Settings, threads: int) -> Iterator[psutil.Process]:
    """A worker on the settings' database and broker that answers pings, until the block ends."""
    process = subprocess.Popen(
        [*COMMAND, "--concurrency", str(threads)],
        env=environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_answer(settings)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def scheduler_process(settings: Settings) -> Iterator[psutil.Process]:
    """A scheduler on the settings' database and broker, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "scheduler"],
        env=environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=60)


def environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "CRONTALK_POOL_SIZE": str(settings.pool_size),
    }


def _wait_for_answer(settings: Settings) -> None:
    with broker_app(settings.redis_url or "") as app:
        end = time.monotonic() + 60
        while not app.control.ping(timeout=1):
            assert time.monotonic() < end, "The worker does not answer."


@contextmanager
def scheduling(context: Context) -> Iterator[None]:
    """The scheduler's own loop in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=scheduler.loop.run, args=(context, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
