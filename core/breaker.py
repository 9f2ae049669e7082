"""The circuit breaker: stops asking a model that keeps hanging or failing, per account and model.

A hanging endpoint costs a worker's slot for as long as its time-outs last. After a few failures in a row the
runs of that account on that model are put off without a call; then one run probes. Each process learns by
itself: nothing is shared, so nothing can be wrong about it elsewhere.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

Key = tuple[uuid.UUID, str]


@dataclass
class _Circuit:
    failures: int = 0
    closed_at: float = 0.0  # monotonic; before it the circuit is open
    probing: bool = False


@dataclass
class Breaker:
    """Counts failures in a row; `threshold` of them open a circuit for `pause`."""

    threshold: int = 5
    pause: timedelta = timedelta(seconds=30)
    clock: Callable[[], float] = time.monotonic
    _circuits: dict[Key, _Circuit] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, key: Key) -> timedelta | None:
        """None: ask the model. A span: the circuit is open, come back after it.

        When the pause is over one caller is admitted as a probe; the others wait for what it finds.
        """
        with self._lock:
            circuit = self._circuits.get(key)
            if circuit is None or circuit.failures < self.threshold:
                return None
            left = circuit.closed_at - self.clock()
            if left <= 0 and not circuit.probing:
                circuit.probing = True
                return None
            return max(timedelta(seconds=left), self.pause / 10)

    def succeeded(self, key: Key) -> None:
        """The model answered, whatever it said."""
        with self._lock:
            self._circuits.pop(key, None)

    def failed(self, key: Key) -> bool:
        """The model hung or failed; True when this opened the circuit."""
        with self._lock:
            circuit = self._circuits.setdefault(key, _Circuit())
            circuit.failures += 1
            circuit.probing = False
            if circuit.failures < self.threshold:
                return False
            circuit.closed_at = self.clock() + self.pause.total_seconds()
            return circuit.failures == self.threshold

    def gave_up(self, key: Key) -> None:
        """A call ended without telling anything about the model: a cancelled probe frees its place."""
        with self._lock:
            circuit = self._circuits.get(key)
            if circuit is not None:
                circuit.probing = False
