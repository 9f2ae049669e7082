"""A process of its own for a run that has lost two workers: if it ends this one too, nobody else suffers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import uuid

import structlog

from core.errors import RunFailed, Unavailable
from core.settings import Settings
from core.turns import carry_out
from worker.process import Hands

log = structlog.get_logger()

LOOK = 0.2


def start(settings: Settings, run_id: uuid.UUID) -> subprocess.Popen[bytes]:
    """Starts a process for this one run, with our settings."""
    log.info("suspect_started", run=str(run_id))
    given = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "CRONTALK_HOME": str(settings.home),
    }
    return subprocess.Popen(  # noqa: S603 (our own command)
        [sys.executable, "-P", "-m", "cli", "worker", "--run", str(run_id)],
        env={**os.environ, **{name: value for name, value in given.items() if value}},
        stdin=subprocess.DEVNULL,
    )


def stop(process: subprocess.Popen[bytes], settings: Settings) -> None:
    """Lets it give its run back, and ends it."""
    process.terminate()
    try:
        process.wait(settings.grace.total_seconds() + 1)
    except subprocess.TimeoutExpired:
        process.kill()


def run(hands: Hands, run_id: uuid.UUID, asked_to_stop: threading.Event) -> None:
    """Carries the run out; gives it back when asked to stop, or when whoever started us is gone."""
    name, parent = f"alone-{os.getpid()}@{socket.gethostname()}", os.getppid()
    working = threading.Thread(target=_serve, args=(hands, run_id, name), name="alone", daemon=True)
    working.start()
    while working.is_alive() and not asked_to_stop.wait(LOOK) and os.getppid() == parent:
        pass
    hands.leave()


def _serve(hands: Hands, run_id: uuid.UUID, name: str) -> None:
    try:
        outcome = carry_out(hands.context, hands.leases, run_id, worker=name, alone=True)
    except RunFailed as failure:
        outcome = str(failure)
    except Unavailable:
        outcome = "unavailable"
    except Exception as error:  # noqa: BLE001 (the lease runs out and the run is reaped)
        log.error("delivery_broke", run=str(run_id), error=type(error).__name__)
        outcome = "broken"
    log.info("suspect_ended", run=str(run_id), outcome=outcome)
