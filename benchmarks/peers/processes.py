"""A system's processes: started, killed with everything they started, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks.peers.systems import Stage


class Fleet:
    """The processes of one stage, each the leader of a group of its own. Their output is kept."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        self.kills = 0
        self.died: list[str] = []
        self._environment = stage.environment()

    def start(self, name: str) -> None:
        with (self.stage.directory / f"{name}.log").open("ab") as log:
            self.started[name] = subprocess.Popen(
                self.stage.command(name),
                env=self._environment,
                cwd=None if not self.stage.system.packages else self.stage.directory,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def kill(self, name: str) -> None:
        """SIGKILL for the process and its children, at one stroke."""
        with suppress(ProcessLookupError):
            os.killpg(self.started[name].pid, signal.SIGKILL)
        self.started[name].wait()
        self.kills += 1

    def look(self) -> None:
        """Notes what has ended by itself, and starts it again, as a supervisor would."""
        for name, process in list(self.started.items()):
            if process.poll() is not None:
                self.died.append(name)
                self.start(name)

    def stop(self) -> None:
        for process in self.started.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        end = time.monotonic() + 3
        for process in self.started.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.1, end - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def running(stage: Stage) -> Iterator[Fleet]:
    fleet = Fleet(stage)
    try:
        for name in stage.system.processes:
            fleet.start(name)
        yield fleet
    finally:
        fleet.stop()
