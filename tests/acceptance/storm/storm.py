"""One storm from beginning to end: prepare, rage, calm, judge."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event

from cli.local.home import Home
from core import annotations
from core.context import Context, make_context
from core.delivering import MARGIN
from core.errors import Unavailable
from core.schema import upgrade
from core.settings import Settings
from core.tasks import pause_task
from tests.acceptance.storm import broken, verdict
from tests.acceptance.storm.chaos import Chaos, plan
from tests.acceptance.storm.fleet import Fleet
from tests.acceptance.storm.parts import PATIENCE, Part, Stage
from tests.acceptance.storm.telling import a_moody_server
from tests.acceptance.storm.whole import made, told_of_privacy
from tests.acceptance.storm.workload import Client, World, prepare
from tests.factories import rows
from tests.hook_server import HookServer

LEASE = 4.0
RETRY_CAP = 5.0
SETTINGS = {
    "CRONTALK_LEASE": str(LEASE),
    "CRONTALK_RETRY_CAP": str(RETRY_CAP),
    "CRONTALK_RETRY_BASE": "0.2",
    "CRONTALK_GRACE": "2",
    "CRONTALK_POLL_AFTER": "2",
    "CRONTALK_MODEL_TIME": "5",
    "CRONTALK_POOL_SIZE": "8",
    "CRONTALK_HIGH_WATER": "100",
    "CRONTALK_KEY": "5e" * 32,
    "CRONTALK_OUTBOUND_ALLOW": "127.0.0.1",
    "CRONTALK_DELIVER_TIME": "3",
    "CRONTALK_RATE_CHAT_MESSAGE": "off",
}
WARM_UP = 2.0
LOOK_EVERY = 5.0
ANNOTATING = annotations.LEASE.total_seconds()
SENDING = 3 + MARGIN.total_seconds()  # a delivery's lease
WAITING = (
    "SELECT 'run' AS what, state FROM runs WHERE state IN ('pending', 'running')"
    " UNION ALL SELECT 'clock', 'due' FROM task_clocks WHERE next_run_at <= now()"
    " UNION ALL SELECT kind || ' job', state FROM jobs WHERE finished_at IS NULL"
    " UNION ALL SELECT 'delivery', state FROM deliveries WHERE state IN ('pending', 'sending')"
)
# Their lease is longer than a batch may take: a lost one is taken up again when it is over.
UNSEEN = "SELECT 'annotation' AS what, state FROM annotations WHERE state IN ('pending', 'running')"


@dataclass(frozen=True)
class Plan:
    """A storm to be. `gap` is the mean time between faults in seconds."""

    occurrences: int
    seed: int
    seconds: float
    gap: float = 1.5
    schedulers: int = 3
    workers: int = 2
    polls: int = 1
    apis: int = 2
    clients: int = 6
    parts: tuple[str, ...] = ()
    sabotage: str | None = None
    keep: bool = False


@dataclass
class Report:
    """What came of it: nothing in `wrong` means that every promise was kept."""

    plan: Plan
    wrong: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    kept: Path | None = None


def rage(plan_: Plan) -> Report:
    """Raises nothing that the storm did: what is wrong is in the report. Call it from the main thread."""
    with tempfile.TemporaryDirectory(prefix="crontalk-storm-", ignore_cleanup_errors=True) as directory:
        place = {"CRONTALK_BLOBS": str(Path(directory) / "blobs")}
        fleet = Fleet(Path(directory), SETTINGS | place, plan_.seed, plan_.sabotage)
        with Home.at(fleet.directory / "home").lock():
            fleet.start_servers()
            fleet.start_model()
            upgrade(fleet.direct_url)
            context = make_context(_settings(fleet), "storm")
            event.listen(context.engine, "connect", _be_patient)
            try:
                with a_moody_server() as server:
                    report = _Storm(plan_, fleet, context, server).go()
                if report.wrong or plan_.keep:
                    report.kept = _keep(fleet.directory)
                return report
            finally:
                context.close()
                fleet.stop()


def _settings(fleet: Fleet) -> Settings:
    sealing = {"key": SETTINGS["CRONTALK_KEY"], "outbound_allow": SETTINGS["CRONTALK_OUTBOUND_ALLOW"]}
    place = {"blobs": fleet.settings["CRONTALK_BLOBS"]}
    return Settings(database_url=fleet.direct_url, pool_size=16, **sealing, **place)


def _be_patient(connection: Any, _record: object) -> None:
    """What is asked after a large storm takes longer than the program would wait."""
    connection.autocommit = True
    connection.execute("SET statement_timeout = '180s'")
    connection.autocommit = False


def _keep(directory: Path) -> Path:
    """Logs and ledger, for whoever wants to know why."""
    kept = Path(tempfile.mkdtemp(prefix="crontalk-storm-kept-"))
    for file in directory.glob("*.*"):
        shutil.copy(file, kept)
    return kept


class _Storm:
    def __init__(self, plan_: Plan, fleet: Fleet, context: Context, server: HookServer) -> None:
        self.plan, self.fleet, self.context, self.server = plan_, fleet, context, server
        self.chaos = Chaos(fleet, LEASE)
        self.report = Report(plan_)
        self.over = threading.Event()
        self.parts: list[Part] = []

    def go(self) -> Report:
        if self.plan.sabotage:
            broken.change_database(self.context, self.plan.sabotage)
        self.fleet.start_ours(
            schedulers=self.plan.schedulers,
            workers=self.plan.workers,
            polls=self.plan.polls,
            apis=self.plan.apis,
            bulks=1 if self.plan.parts else 0,
        )
        self.fleet.wait_until_ready()
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=WARM_UP)
        world = prepare(
            self.context,
            self.server,
            seed=self.plan.seed,
            occurrences=self.plan.occurrences,
            start=start,
            seconds=self.plan.seconds,
        )
        stage = Stage(self.context, self.fleet.ports, self.plan.seed)
        self.parts = made(self.plan.parts, stage)
        watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)
        watcher.start()
        self._storm(world, start)
        self._calm(world)
        self.over.set()
        watcher.join(60)
        self._judge(world)
        return self.report

    def _storm(self, world: World, start: datetime) -> None:
        self._until(start.timestamp(), [])
        ends_at = start.timestamp() + self.plan.seconds
        clients = [
            Client(world, self.fleet.ports, number, self.plan.seed, ends_at)
            for number in range(self.plan.clients)
        ]
        for client in [*clients, *self.parts]:
            client.start()
        began = time.time()
        faults = [
            (began + fault.at, fault)
            for fault in plan(self.plan.seed, self.plan.seconds, self.plan.gap, whole=bool(self.plan.parts))
        ]
        self._until(ends_at, faults)
        for client in clients:
            client.done.set()
        self._wait_for(clients, 60)

    def _until(self, end: float, faults: list[tuple[float, Any]]) -> None:
        """Turns until this wall time: strikes when a fault is due, and revives the dead."""
        waiting = list(faults)
        while time.time() < end:
            while waiting and waiting[0][0] <= time.time():
                self.chaos.strike(waiting.pop(0)[1])
            self.chaos.undo_due(time.monotonic())
            self.fleet.tend()
            time.sleep(0.02)

    def _wait_for(self, callers: Sequence[threading.Thread], seconds: float) -> None:
        """Until each has its last answer; the dead are started meanwhile, and faults end in time."""
        end = time.time() + seconds
        while any(caller.is_alive() for caller in callers) and time.time() < end:
            self._until(time.time() + 0.1, [])

    def _watch(self) -> None:
        """In a thread of its own: a slow look must not keep a fault longer than planned."""
        took = 0.0
        while not self.over.wait(max(LOOK_EVERY, 10 * took)):
            began = time.monotonic()
            with suppress(Unavailable):
                found = verdict.broken_promises(self.context, always_only=True)
                self.report.wrong += [f"during the storm: {sentence}" for sentence in found]
            took = time.monotonic() - began

    def _calm(self, world: World) -> None:
        """Faults end; what is left must be done within the leases, the longest back-off and half a minute."""
        self.chaos.end()
        self.fleet.wait_until_ready()
        calmed = time.time()
        for part in self.parts:
            part.end()
        self._wait_for(self.parts, 2 * PATIENCE)
        for number, ticker in enumerate(world.tickers):
            self._patiently(
                lambda t=ticker, n=number: self._pause(world.accounts[n % len(world.accounts)], t.id)
            )
        self._until_idle(WAITING, LEASE + RETRY_CAP + SENDING + 30)
        self.report.figures["seconds to idle"] = round(time.time() - calmed, 1)
        self._until_idle(UNSEEN, ANNOTATING + 30)
        for part in self.parts:
            part.finish()

    def _pause(self, account: Any, task: Any) -> None:
        with self.context.transaction(account) as session:
            pause_task(session, task)

    def _patiently(self, act: Callable[[], None]) -> None:
        end = time.monotonic() + 30
        while True:
            try:
                return act()
            except Unavailable:
                if time.monotonic() > end:
                    raise
                self._until(time.time() + 0.2, [])

    def _until_idle(self, question: str, patience: float) -> None:
        """A backlog may take its time as long as it shrinks; what does not shrink any more is stuck."""
        fewest: Counter[str] | None = None
        end = time.time() + patience
        while time.time() < end:
            with suppress(Unavailable):
                waiting = rows(self.context, question)
                left = Counter(f"{row['what']} {row['state']}" for row in waiting)
                if not left:
                    return
                if fewest is None or left.total() < fewest.total():
                    fewest, end = left, time.time() + patience
            self._until(time.time() + 0.25, [])
        self.report.wrong.append(f"{dict(fewest or {})} do not move {patience:.0f} seconds after the storm")

    def _judge(self, world: World) -> None:
        logs = self.fleet.logs()
        self.report.wrong += verdict.faults_in(self.context, world, self.fleet.ledger, self.server.asked)
        self.report.wrong += [sentence for part in self.parts for sentence in part.judged()]
        self.report.wrong += told_of_privacy(self.context, self.fleet, self.parts)
        figures = verdict.figures(self.context, world, self.fleet.kills, logs)
        self.report.figures |= {
            "faults": sum(self.chaos.done.values()),
            "faults by kind": dict(sorted(self.chaos.done.items())),
            "deliveries heard": len(self.server.asked),
            "connections cut": {"postgres": self.fleet.postgres.cuts, "valkey": self.fleet.valkey.cuts},
            **figures,
            **{part.name: part.figures() for part in self.parts},
        }


def a_seed() -> int:
    return random.SystemRandom().randrange(1_000_000)
