"""Starts processes in order, keeps them alive, and stops them in reverse so that nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import FrameType

from cli.local.logs import drain
from cli.local.processes import launched
from cli.local.specs import Event, Happening, ProcessSpec
from core.errors import CrontalkError, Unavailable

TURN = 0.05
PAUSE = 0.02
FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 10.0
# A child that lived this long starts its back-off anew.
STEADY = 30.0
KILL_GRACE = timedelta(seconds=5)
HURRY = 2
ECHO = 0.5


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    process: subprocess.Popen[bytes] | None = None
    drain: threading.Thread | None = None
    born: float = 0.0
    backoff: float = 0.0
    start_at: float | None = None


class Supervisor:
    """Drives its children from the main thread; what they print goes to `<logs>/<name>.log`."""

    def __init__(
        self, specs: Sequence[ProcessSpec], logs: Path, tell: Callable[[Event], None] = lambda _: None
    ) -> None:
        self._children = [_Child(spec) for spec in specs]
        self._logs = logs
        self._tell = tell
        self._asked = 0
        self._asked_at = 0.0

    @property
    def processes(self) -> dict[str, int]:
        """The living children's names and process ids."""
        living = [(child.spec.name, child.process) for child in self._children]
        return {name: process.pid for name, process in living if process is not None}

    @property
    def stopping(self) -> bool:
        return self._asked > 0

    def ask_to_stop(self) -> None:
        """End `start` and `run` early; asked a second time, `stop` no longer waits for anybody's grace."""
        self._asked += 1
        self._asked_at = time.monotonic()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Within, SIGINT, SIGTERM and SIGHUP ask to stop; the second one asks for hurry.

        One Ctrl-C may arrive twice, from the terminal and from a wrapper that passes it on: what follows
        within half a second is the same wish.
        """

        def asked(_sign: int, _frame: FrameType | None) -> None:
            if not self._asked or time.monotonic() - self._asked_at >= ECHO:
                self.ask_to_stop()

        caught = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            caught.append(signal.SIGHUP)
        before = {sign: signal.signal(sign, asked) for sign in caught}
        try:
            yield
        finally:
            for sign, handler in before.items():
                signal.signal(sign, handler)

    def start(self) -> bool:
        """Start each child once its forerunner is ready; False when a stop was asked for meanwhile.

        Raises Unavailable when a child ends, or takes too long, before it is ready; whatever was started is
        stopped then.
        """
        try:
            for child in self._children:
                if self.stopping:
                    return False
                self._spawn(child)
                self._await_ready(child)
        except BaseException:
            self.stop()
            raise
        return not self.stopping

    def run(self) -> None:
        """Keep the children alive until a stop is asked for."""
        while not self.stopping:
            self.turn()
            time.sleep(TURN)

    def turn(self) -> None:
        """Look after every child once: notice the dead, start those whose back-off is over."""
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and _has_ended(child.process):
                pid, code = self._reap(child)
                self._schedule(child, Event(child.spec.name, Happening.DIED, pid, code), now)
            elif child.start_at is not None and now >= child.start_at:
                self._revive(child, now)

    def stop(self) -> None:
        """Stop every child, the last started first; afterwards no process of their groups lives."""
        self._asked = max(self._asked, 1)
        for child in reversed(self._children):
            child.start_at = None
            if child.process is not None:
                self._stop(child, child.process)

    def _spawn(self, child: _Child) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "Children are started by the main thread: they die with the thread that forked."
            )
        spec = child.spec
        if spec.prepare is not None:
            spec.prepare()
        reader, writer = os.pipe()
        try:
            child.process = subprocess.Popen(  # noqa: S603 - our own command lines
                launched(spec.argv, death_signal=spec.death_signal, identity=spec.identity),
                env=dict(spec.env),
                cwd=spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                process_group=0,
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        child.born = time.monotonic()
        child.start_at = None
        child.drain = drain(reader, self._log_of(spec))
        self._tell(Event(spec.name, Happening.STARTED, child.process.pid))

    def _await_ready(self, child: _Child) -> None:
        spec, process = child.spec, child.process
        if spec.ready is None or process is None:
            return
        deadline = time.monotonic() + spec.ready_within.total_seconds()
        while not spec.ready():
            if self.stopping:
                return
            if _has_ended(process):
                raise Unavailable(f"{spec.name} ended before it was ready; see {self._log_of(spec)}.")
            if time.monotonic() > deadline:
                raise Unavailable(f"{spec.name} was not ready in time; see {self._log_of(spec)}.")
            time.sleep(PAUSE)
        self._tell(Event(spec.name, Happening.READY, process.pid))

    def _schedule(self, child: _Child, event: Event, now: float) -> None:
        if child.spec.restart:
            lived = now - child.born
            child.backoff = FIRST_BACKOFF if lived > STEADY or not child.backoff else child.backoff * 2
            child.backoff = min(child.backoff, LONGEST_BACKOFF)
            child.start_at = now + child.backoff
            event = replace(event, retry_in=timedelta(seconds=child.backoff))
        self._tell(event)

    def _revive(self, child: _Child, now: float) -> None:
        try:
            self._spawn(child)
        except (CrontalkError, OSError):
            child.born = now
            self._schedule(child, Event(child.spec.name, Happening.FAILED, 0), now)

    def _stop(self, child: _Child, process: subprocess.Popen[bytes]) -> None:
        spec = child.spec
        ended = self._asked < HURRY and self._end_by(process, spec.stop_signal, spec.grace)
        if not ended:
            self._end_by(process, spec.kill_signal, KILL_GRACE, hurried=True)
        pid, code = self._reap(child)
        self._tell(Event(spec.name, Happening.STOPPED if ended else Happening.KILLED, pid, code))

    def _end_by(
        self,
        process: subprocess.Popen[bytes],
        sign: signal.Signals,
        grace: timedelta,
        *,
        hurried: bool = False,
    ) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, sign)
        deadline = time.monotonic() + grace.total_seconds()
        while not _has_ended(process):
            if time.monotonic() >= deadline or (self._asked >= HURRY and not hurried):
                return False
            time.sleep(PAUSE)
        return True

    def _reap(self, child: _Child) -> tuple[int, int]:
        """End what is left of the group, then collect the child: until then no other group has its id."""
        process = child.process
        if process is None:
            raise RuntimeError(f"{child.spec.name} does not run.")
        # macOS answers EPERM for a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        child.process = None
        if child.drain is not None:
            # A grandchild that left the group may hold the pipe: it does not hold us.
            child.drain.join(timeout=1)
        return process.pid, code

    def _log_of(self, spec: ProcessSpec) -> Path:
        return self._logs / f"{spec.name}.log"


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the child has ended; it stays unreaped, but on macOS before Python 3.13."""
    if process.returncode is None and hasattr(os, "waitid"):
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return process.poll() is not None
