"""The processes under the storm: started, killed, frozen, and started again when they are dead."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis

from cli.local.home import Home
from cli.local.postgres import database_url, postgres_spec
from cli.local.processes import launched, process_ids
from cli.local.specs import ProcessSpec
from cli.local.valkey import valkey_spec
from tests.acceptance.storm.proxy import Proxy

ROOT = Path(__file__).resolve().parents[3]
CLI = "cli"
BROKEN_CLI = "tests.acceptance.storm.broken"


@dataclass
class Member:
    """One process that is meant to run; `frozen` while it is stopped by a signal."""

    name: str
    kind: str
    argv: Sequence[str]
    env: Mapping[str, str]
    identity: str = "self"
    cwd: Path = ROOT
    prepare: Callable[[], None] | None = None
    process: subprocess.Popen[bytes] | None = None
    start_at: float = 0.0
    logged: int = 0
    frozen: bool = False


@dataclass(frozen=True)
class Kill:
    """When (the wall clock) which process was killed or frozen."""

    at: float
    kind: str
    pid: int


@dataclass
class Fleet:
    """PostgreSQL, Valkey, the model server and everything of ours. Call it from the main thread alone."""

    directory: Path
    settings: Mapping[str, str]
    seed: int
    sabotage: str | None = None
    members: dict[str, Member] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)

    def start_servers(self) -> None:
        """PostgreSQL and Valkey answer and the proxies stand before them."""
        self.home = Home.at(self.directory / "home")
        specs = {"postgres": postgres_spec(self.home, fsync=False), "valkey": valkey_spec(self.home)}
        for name, spec in specs.items():
            self._add_server(name, spec)
            self.tend()
            while spec.ready and not spec.ready():
                time.sleep(0.05)
        self.direct_url = database_url(self.home)
        self.valkey_socket = self.home.socket_path("valkey.sock")
        self.postgres = Proxy(self.home.socket_path("pg", ".s.PGSQL.5432"))
        self.valkey = Proxy(self.valkey_socket)

    def start_model(self) -> None:
        """Not killed: what it has seen is the evidence."""
        self.ledger = self.directory / "ledger.jsonl"
        argv = [sys.executable, "-m", "tests.acceptance.storm.model", str(self.ledger)]
        with (self.directory / "model.log").open("wb") as log:
            self.model = subprocess.Popen(
                launched(argv, death_signal=signal.SIGKILL),
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                process_group=0,
            )
        assert self.model.stdout
        self.model_url = self.model.stdout.readline().decode().strip()

    def start_ours(self, *, schedulers: int, workers: int, polls: int, apis: int, bulks: int = 0) -> None:
        for number in range(schedulers):
            self._add("scheduler", number, "scheduler")
        for number in range(workers):
            self._add("worker", number, "worker", "--queues", "chat")
        for number in range(polls):
            self._add("poll", number, "worker", "--poll")
        for number in range(bulks):
            self._add("bulk", number, "worker", "--queues", "annotate,bulk", "--concurrency", "1")
        for number in range(apis):
            port = free_port()
            self.ports.append(port)
            self._add("api", number, "api", "--port", str(port))
        self.tend()

    def tend(self) -> None:
        """Starts whatever is dead and has been for long enough."""
        for member in self.members.values():
            if member.process is not None and member.process.poll() is not None:
                member.process, member.frozen = None, False
            if member.process is None and time.monotonic() >= member.start_at:
                self._start(member)

    def wait_until_ready(self, seconds: float = 120) -> None:
        """Schedulers turn, workers listen, APIs answer: the machine may be slow to start so many."""
        end = time.monotonic() + seconds
        while not self._is_ready():
            if time.monotonic() > end:
                raise TimeoutError(f"The processes did not start in {seconds:.0f} s.")
            self.tend()
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        if not all(_listens(port) for port in self.ports):
            return False
        client = redis.Redis(unix_socket_path=str(self.valkey_socket), socket_timeout=1)
        try:
            listening = sum(one["cmd"] == "brpop" for one in client.client_list())
        except redis.RedisError:
            return False
        finally:
            client.close()
        loops = [*self.of_kind("scheduler"), *self.of_kind("poll")]
        served = len(self.of_kind("worker")) + len(self.of_kind("bulk"))
        return listening >= served and all(self._has_begun(member) for member in loops)

    def _has_begun(self, member: Member) -> bool:
        """Each start of a loop writes one line; a start that was killed earlier has written none."""
        told = (self.directory / f"{member.name}.log").read_text(errors="replace")
        return "_started" in told[member.logged :]

    def of_kind(self, kind: str) -> list[Member]:
        return [member for member in self.members.values() if member.kind == kind]

    def kill(self, member: Member, rest: float) -> None:
        """SIGKILL, with every process it has started; it is started again after so many seconds."""
        if member.process is None:
            return
        pid = member.process.pid
        family = [pid, *_children_of(pid)] if member.kind == "postgres" else [pid]
        self.kills.append(Kill(time.time(), member.kind, pid))
        for one in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        member.process.wait()
        member.process, member.frozen = None, False
        member.start_at = time.monotonic() + rest

    def freeze(self, member: Member) -> int | None:
        """SIGSTOP; answers the process id to thaw, None when it does not run."""
        if member.process is None or member.frozen:
            return None
        member.process.send_signal(signal.SIGSTOP)
        member.frozen = True
        return member.process.pid

    def thaw(self, member: Member, pid: int | None = None) -> None:
        if member.process is not None and member.frozen and pid in {None, member.process.pid}:
            member.process.send_signal(signal.SIGCONT)
            member.frozen = False

    def calm(self) -> None:
        """No fault is left and everything runs."""
        self.postgres.clear()
        self.valkey.clear()
        for member in self.members.values():
            self.thaw(member)
            member.start_at = 0.0
        self.tend()

    def stop(self) -> None:
        ours = [m for m in self.members.values() if m.kind not in {"postgres", "valkey"}]
        servers = [m for m in self.members.values() if m not in ours]
        for member in [*ours, *servers]:
            self.kill(member, 3600)
        self.model.kill()
        self.model.wait()
        self.postgres.close()
        self.valkey.close()

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))

    def environment(self) -> dict[str, str]:
        """Ours reach the servers through the proxies only."""
        plain = "?sslmode=disable&gssencmode=disable"
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CRONTALK_", "PG"))},
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": f"postgresql://crontalk@127.0.0.1:{self.postgres.port}/crontalk{plain}",
            "REDIS_URL": f"redis://127.0.0.1:{self.valkey.port}/0",
            "LLM_BASE_URL": self.model_url,
            "LLM_API_KEY": "key",
            "LLM_MODEL": f"stormy:{self.seed}",
            "CRONTALK_HOME": str(self.directory / "none"),
            **({"STORM_SABOTAGE": self.sabotage} if self.sabotage else {}),
            **self.settings,
        }

    def _add(self, kind: str, number: int, *command: str) -> None:
        module = BROKEN_CLI if self.sabotage else CLI
        argv = [sys.executable, "-P", "-m", module, *command]
        self.members[f"{kind}-{number}"] = Member(f"{kind}-{number}", kind, argv, self.environment())

    def _add_server(self, name: str, spec: ProcessSpec) -> None:
        self.members[name] = Member(
            name, name, spec.argv, dict(spec.env), spec.identity, spec.cwd or ROOT, spec.prepare
        )

    def _start(self, member: Member) -> None:
        if member.prepare:
            member.prepare()
        with (self.directory / f"{member.name}.log").open("ab") as log:
            member.logged = log.tell()
            member.process = subprocess.Popen(
                launched(member.argv, death_signal=signal.SIGKILL, identity=member.identity),
                env=dict(member.env),
                cwd=member.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )


def _listens(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children_of(pid: int) -> list[int]:
    """The backends lead sessions of their own, so no process group holds them."""
    found = []
    for one in process_ids():
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{one}/stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(one)
    return found
