"""What goes wrong, and when: drawn from the seed alone, so that a storm can be repeated."""

from __future__ import annotations

import base64
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import redis

from tests.acceptance.storm.fleet import Fleet
from tests.acceptance.storm.proxy import Faults, Proxy

# Shares of the faults. A frozen process sleeps longer than a lease, so that it wakes as a zombie.
KINDS = {
    "kill worker": 14,
    "kill scheduler": 10,
    "kill poll": 5,
    "kill api": 6,
    "kill postgres": 3,
    "kill valkey": 4,
    "freeze worker": 6,
    "freeze scheduler": 3,
    "freeze poll": 2,
    "freeze api": 2,
    "postgres refuses": 3,
    "postgres delays": 4,
    "postgres swallows": 3,
    "postgres cut": 5,
    "commit never arrives": 8,
    "commit unanswered": 10,
    "commit answered, then cut": 6,
    "valkey refuses": 2,
    "valkey delays": 2,
    "valkey swallows": 2,
    "valkey cut": 3,
    "hints flushed": 4,
    "hints dropped": 4,
    "hints doubled": 4,
    "hints reordered": 4,
    "hints forged": 4,
}
# Where there are workers for long work as well.
OF_THE_WHOLE = {"kill bulk": 10}
COMMITS = {
    "commit never arrives": "request",
    "commit unanswered": "answer",
    "commit answered, then cut": "afterwards",
}
GARBAGE = (b"garbage", b"\xff\xfe", b"[]", b"{}", b'{"body": "x", "headers": {}, "properties": {}}')


@dataclass(frozen=True)
class Fault:
    """At so many seconds into the storm; `lot` in [0, 1) picks the target, `length` is in seconds."""

    at: float
    kind: str
    lot: float
    length: float


def plan(seed: int, seconds: float, gap: float, *, whole: bool = False) -> list[Fault]:
    """The faults of a storm, `gap` seconds apart on average."""
    drawn = random.Random(f"{seed}/chaos")
    kinds = KINDS | OF_THE_WHOLE if whole else KINDS
    faults, at = [], drawn.expovariate(1 / gap)
    while at < seconds:
        kind = drawn.choices(list(kinds), list(kinds.values()))[0]
        faults.append(Fault(at, kind, drawn.random(), drawn.uniform(0.2, 3.0)))
        at += drawn.expovariate(1 / gap)
    return faults


@dataclass
class Chaos:
    """Does what is planned when its time has come, and undoes it later."""

    fleet: Fleet
    lease: float
    done: Counter[str] = field(default_factory=Counter)
    _undo: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def undo_due(self, now: float) -> None:
        due = [undo for at, undo in self._undo if at <= now]
        self._undo = [(at, undo) for at, undo in self._undo if at > now]
        for undo in due:
            undo()

    def end(self) -> None:
        self.undo_due(float("inf"))
        self.fleet.calm()

    def strike(self, fault: Fault) -> None:
        first, second = fault.kind.split(" ", 1)
        if first in {"kill", "freeze"}:
            struck = self._at_a_process(first, second, fault)
        elif first == "hints":
            struck = self._at_hints(second, fault.lot)
        else:
            struck = self._at_a_connection(first, second, fault)
        self.done[fault.kind] += struck

    def _at_a_process(self, verb: str, kind: str, fault: Fault) -> bool:
        members = self.fleet.of_kind(kind)
        member = members[int(fault.lot * len(members))]
        if member.process is None:
            return False
        if verb == "kill":
            self.fleet.kill(member, fault.length / 3)
            return True
        pid = self.fleet.freeze(member)
        if pid is None:
            return False
        until = time.monotonic() + self.lease + 1 + fault.length
        self._undo.append((until, lambda: self.fleet.thaw(member, pid)))
        return True

    def _at_a_connection(self, where: str, what: str, fault: Fault) -> bool:
        proxy = self.fleet.valkey if where == "valkey" else self.fleet.postgres
        if where == "commit":
            proxy.faults.cut_commit = COMMITS[fault.kind]
        elif what == "cut":
            proxy.faults.cut_after = int(fault.lot * 20_000)
        else:
            changes = {"refuses": {"refuse": True}, "delays": {"delay": 0.05}, "swallows": {"swallow": True}}
            proxy.faults = Faults(**changes[what])
            self._undo.append((time.monotonic() + fault.length, lambda: _mend(proxy, fault.lot)))
        return True

    def _at_hints(self, what: str, lot: float) -> bool:
        """Meddles with the queue itself; a broker that is away has no hints to meddle with."""
        client = redis.Redis(unix_socket_path=str(self.fleet.valkey_socket), socket_timeout=1)
        try:
            return _meddle(client, what, lot)
        except redis.RedisError:
            return False
        finally:
            client.close()


def _mend(proxy: Proxy, lot: float) -> None:
    """The network is back: half of the time the connections have survived."""
    proxy.clear()
    if lot < 0.5:
        proxy.cut_all()


def _meddle(client: redis.Redis, what: str, lot: float) -> bool:
    hints = client.lrange("chat", 0, -1)
    if what == "flushed":
        client.flushall()
    elif what == "dropped":
        client.lpop("chat", max(1, int(len(hints) * lot)))
    elif what == "doubled" and hints:
        client.rpush("chat", *hints, *hints)
    elif what == "reordered" and hints:
        client.delete("chat")
        client.rpush("chat", *reversed(hints))
    elif what == "forged":
        real = [hint for hint in hints if hint not in GARBAGE]
        client.lpush("chat", *GARBAGE, *(for_a_stranger(hint) for hint in real[:3]))
    return True


def for_a_stranger(hint: bytes) -> bytes:
    """A well-formed hint for a run that does not exist."""
    message = json.loads(hint)
    known, stranger = message["headers"]["id"].rpartition(".")[0], str(uuid.uuid4())
    body = base64.b64decode(message["body"]).replace(known.encode(), stranger.encode())
    message["body"] = base64.b64encode(body).decode()
    return json.dumps(message).replace(known, stranger).encode()
