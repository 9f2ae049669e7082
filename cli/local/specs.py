"""What the supervisor is told about a child, and what it tells."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path


class Happening(StrEnum):
    STARTED = "started"
    READY = "ready"
    DIED = "died"
    FAILED = "failed"  # could not even be started again; there is no pid
    STOPPED = "stopped"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to which child; `code` as in Popen.returncode, `retry_in` until its next start."""

    name: str
    happening: Happening
    pid: int
    code: int | None = None
    retry_in: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """How one child is started, known to be ready, and stopped.

    `prepare` runs before every start, `ready` is asked until it says yes and must answer at once.
    `death_signal` is sent by the kernel when the supervisor dies (Linux). `kill_signal` follows when `grace`
    has passed or hurry is asked for; SIGKILL to the whole group follows that in any case.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    grace: timedelta = timedelta(seconds=10)
    stop_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL
    death_signal: signal.Signals = signal.SIGTERM
    restart: bool = True
    identity: str = "self"
    cwd: Path | None = None
    prepare: Callable[[], None] | None = None
    ready: Callable[[], bool] | None = None
    ready_within: timedelta = timedelta(minutes=3)
