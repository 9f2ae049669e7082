"""What every peer is given to do; runs in the peers' environment and knows nothing of ours.

Task `i` of `tasks` is due at `start` plus its phase, and every `period` seconds from there on. Its job is one
row: which task, when it was due.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

import psycopg

GIVEN: dict[str, Any] = json.loads(os.environ["PEERS_JOB"])
TASKS: int = GIVEN["tasks"]
START: float = GIVEN["start"]
PERIOD: int = GIVEN["period"]
BURST: bool = GIVEN["burst"]
# Every minute at its second 0, in cron's words, instead of an interval with a phase.
CRON: bool = GIVEN["cron"]
# After so many seconds without a sign of a worker its jobs are taken to be lost.
RECOVERY: int = GIVEN["recovery"]
DATABASE: str = GIVEN["database"]
INSERT = "INSERT INTO fired (task, due) VALUES (%s, %s)"


def phase(task: int) -> int:
    return 0 if BURST or CRON else task % PERIOD


def first_due(task: int) -> float:
    return START + phase(task)


def due_before(task: int, sent: float) -> datetime:
    """The occurrence that was sent at this time: the latest that was due by then."""
    first = first_due(task)
    return instant(first + PERIOD * ((sent - first) // PERIOD))


def instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def connect() -> psycopg.Connection[Any]:
    return psycopg.connect(DATABASE, autocommit=True)
