"""One measurement's job: how many tasks, due when; told to peers and to ourselves alike."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

PERIOD = 60


@dataclass(frozen=True)
class Job:
    """`tasks` due every minute from `start` (epoch seconds, a whole one) on: spread over its seconds,
    in one instant (`burst`), or by cron at every minute's second 0 (`cron`; `start` is a whole minute then).
    """

    tasks: int
    start: float
    burst: bool = False
    cron: bool = False
    recovery: int = 10
    period: int = PERIOD

    def first_due(self, task: int) -> float:
        return self.start + (0 if self.burst or self.cron else task % self.period)

    def dues(self, minutes: int) -> set[tuple[int, float]]:
        """(task, due) of everything due in so many minutes."""
        return {
            (task, self.first_due(task) + self.period * minute)
            for task in range(self.tasks)
            for minute in range(minutes)
        }

    def told(self, directory: Path, **where: str) -> str:
        return json.dumps({**asdict(self), "directory": str(directory), **where})


def soon(seconds: float) -> float:
    """The next whole second at least so many seconds from now."""
    return float(int(time.time() + seconds) + 1)


def next_minute(seconds: float) -> float:
    """The next whole minute at least so many seconds from now."""
    return float(-(-int(time.time() + seconds + 1) // 60) * 60)
