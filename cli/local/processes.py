"""Questions about processes that may not be our children, and the way to start those that are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
PROC = Path("/proc")


def launched(argv: Iterable[str], *, death_signal: signal.Signals, identity: str = "self") -> list[str]:
    """The command line that starts `argv` under `identity`, and on Linux ends it with the calling thread."""
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
    return [*launcher, str(os.getpid()), str(int(death_signal)), identity, *argv]


def alive(pid: int) -> bool:
    """Whether the process still runs; a zombie, which nobody may ever reap, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return not PROC.joinpath("self", "stat").exists()
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def command_of(pid: int) -> str:
    """The process's command line with blanks between its words; empty when it is gone or hidden."""
    if PROC.joinpath("self", "stat").exists():
        try:
            return (
                (PROC / str(pid) / "cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="replace")
                .strip()
            )
        except OSError:
            return ""
    listing = ["ps", "-ww", "-p", str(pid), "-o", "command="]
    answer = subprocess.run(listing, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return answer.stdout.strip()


def works_in(pid: int, directory: Path) -> bool:
    """Whether the process works in this directory, whatever that is called by now; False when unknown."""
    try:
        return (PROC / str(pid) / "cwd").samefile(directory)
    except OSError:
        return False


def process_ids() -> list[int]:
    """Every process the kernel shows us; none where there is no /proc."""
    try:
        return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    except OSError:
        return []


def wait_until(condition: Callable[[], bool], timeout: timedelta, pause: float = 0.02) -> bool:
    """Ask until the answer is yes; False when it was not within the timeout."""
    deadline = time.monotonic() + timeout.total_seconds()
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True


def send(pids: Iterable[int], sign: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            continue
