"""A bulk deletion whose workers are killed every two seconds, PostgreSQL twice: `make deletion N=200000`.

Half of every conversation is selected; what has gone, what is left and what the receipts name must be exactly
that, however often a worker, or the database, was lost in the middle of a batch.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import redis

from cli.local.home import Home
from core.context import Context, make_context
from core.delete_jobs import receipt_of
from core.errors import Unavailable
from core.schema import upgrade
from core.settings import Settings
from models import Job
from tests.acceptance.storm.fleet import Fleet, Member
from tests.deletions import a_deletion, fill, left, some_talks, the_job
from tests.factories import a_task, an_account, execute, one, rows

EACH = 100  # messages of a conversation, every other one of them selected
AT_ONCE = 200  # conversations that one statement fills
LEASE = 4.0
PATIENCE = 60.0  # seconds of standing still
SETTINGS = {
    "CRONTALK_LEASE": str(LEASE),
    "CRONTALK_GRACE": "2",
    "CRONTALK_POLL_AFTER": "1",
    "CRONTALK_RATE_BULK": "off",
}
TALKS = (
    "INSERT INTO conversations (id, account_id, task_id, source)"
    " SELECT uuidv7(), :account, :task, 'tests' FROM generate_series(1, :count) RETURNING id"
)
IDS = "SELECT encode(sha256(string_agg(uuid_send(id), ''::bytea ORDER BY id)), 'hex') FROM messages m"
WORDS = (
    "SELECT encode(sha256(convert_to(string_agg(concat_ws(' ', id, conversation_id, seq, type, text), ','"
    " ORDER BY id), 'utf8')), 'hex') FROM messages m"
)
SELECTED = (
    "type = 'user' AND EXISTS (SELECT FROM conversations c WHERE c.id = m.conversation_id"
    " AND c.task_id IS NOT NULL)"
)


@dataclass
class Report:
    """What came of it: nothing in `wrong` means that every promise was kept."""

    wrong: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    logs: str = ""


@dataclass
class Fire:
    """Kills, and how long the deletion stood still after them."""

    fleet: Fleet
    gap: float
    job: uuid.UUID
    total: int
    kills: int = 0
    restarts: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)  # seconds
    outages: list[float] = field(default_factory=list)  # the same, around a restart

    def rage(self, context: Context) -> bool:
        """Until the deletion has ended; false: it stood still for too long."""
        targets = cycle([*self.fleet.of_kind("worker"), *self.fleet.of_kind("poll")])
        done, before, moved_at, kill_at, restarted_at = 0, 0, time.monotonic(), 0.0, 0.0
        while time.monotonic() - moved_at < PATIENCE:
            self.fleet.tend()
            with suppress(Unavailable):
                row = rows(context, "SELECT done, finished_at FROM jobs WHERE id = :id", id=self.job)[0]
                if row["done"] > done or row["finished_at"]:
                    pauses = self.outages if restarted_at > moved_at else self.pauses
                    pauses.append(time.monotonic() - moved_at)
                    done, moved_at = row["done"], time.monotonic()
                if row["finished_at"]:
                    return True
            postgres = self.fleet.members["postgres"]
            due = len(self.restarts) < 2 and done > self.total * (len(self.restarts) + 1) / 3
            if due and postgres.process is not None:  # it is not on its way back from the one before
                self._restart(postgres)
                restarted_at = time.monotonic()
            # On a busy machine whoever could go on is still starting: then it would only stand still.
            if done > before and time.monotonic() >= kill_at and self._idle() >= 2:
                self.fleet.kill(next(targets), 0.0)
                self.kills, before, kill_at = self.kills + 1, done, time.monotonic() + self.gap
            time.sleep(0.03)
        return False

    def _idle(self) -> int:
        """Workers that have started and wait for something to do."""
        with (
            suppress(redis.RedisError),
            redis.Redis(unix_socket_path=str(self.fleet.valkey_socket), socket_timeout=1) as client,
        ):
            return sum(other["cmd"] == "brpop" for other in client.client_list())
        return 0

    def _restart(self, postgres: Member) -> None:
        """Killed once, and once stopped in order under whoever works; it comes back after a second."""
        if self.restarts:
            assert postgres.process is not None
            postgres.process.send_signal(signal.SIGINT)
            postgres.process.wait(30)
            postgres.start_at = time.monotonic() + 1.0
            self.restarts.append("stopped")
        else:
            self.fleet.kill(postgres, 1.0)
            self.restarts.append("killed")


def storm(messages: int, rate: str, gap: float) -> Report:
    """Call it from the main thread."""
    with tempfile.TemporaryDirectory(prefix="crontalk-deletion-", ignore_cleanup_errors=True) as directory:
        fleet = Fleet(Path(directory), SETTINGS, 1)
        with Home.at(fleet.directory / "home").lock():
            fleet.start_servers()
            fleet.start_model()
            upgrade(fleet.direct_url)
            context = make_context(Settings(database_url=fleet.direct_url, rate_bulk=None), "storm")
            try:
                return _storm(context, fleet, messages, rate, gap)
            finally:
                context.close()
                fleet.stop()


@dataclass(frozen=True)
class Scene:
    """Who has what, as it was before: counts, and digests of what is to go and what is to stay."""

    account: uuid.UUID
    other: uuid.UUID
    total: int
    left: tuple[int, int]
    selected: str
    kept: str


def _scene(context: Context, messages: int) -> Scene:
    account, other = an_account(context), an_account(context, "Grace")
    _fill(context, account, messages)
    for each in (account, other):
        some_talks(context, each, 20, EACH)
    execute(context, "ANALYZE messages, conversations")
    selected = one(context, f"{IDS} WHERE {SELECTED}")
    kept = one(context, f"{WORDS} WHERE NOT ({SELECTED})")
    return Scene(
        account, other, messages, (left(context, account) - messages, left(context, other)), selected, kept
    )


def start_ours(fleet: Fleet) -> None:
    """A scheduler, and so many workers that some have started whenever one is killed."""
    fleet._add("scheduler", 0, "scheduler")
    fleet._add("poll", 0, "worker", "--poll")
    for number in range(4):
        fleet._add("worker", number, "worker", "--queues", "annotate,bulk", "--concurrency", "1")
    fleet.tend()
    fleet.wait_until_ready()


def _storm(context: Context, fleet: Fleet, messages: int, rate: str, gap: float) -> Report:
    scene = _scene(context, messages)
    start_ours(fleet)
    task = one(context, "SELECT id FROM tasks")
    job = a_deletion(context, scene.account, task_id=str(task), type="user", rate=rate)
    fire, report, began = Fire(fleet, gap, job.id, messages), Report(), time.monotonic()
    if not fire.rage(context):
        report.wrong.append("The deletion does not go on.")
    report.figures = figures_of(fire, time.monotonic() - began)
    report.wrong += _faults(context, scene, the_job(context, scene.account, job.id))
    report.logs = fleet.logs()
    return report


def _faults(context: Context, scene: Scene, job: Job) -> list[str]:
    fenced = "SELECT count(*) FROM conversations WHERE purge_epoch > 0 AND task_id IS NULL"
    found: dict[str, tuple[Any, Any]] = {
        "state, total, done, skipped, failed": (
            (str(job.state), job.total, job.done, job.skipped, job.failed),
            ("completed", scene.total, scene.total, 0, 0),
        ),
        "left to both accounts": ((left(context, scene.account), left(context, scene.other)), scene.left),
        "digest of what is left": (one(context, WORDS), scene.kept),
        "conversations of others that were fenced": (one(context, fenced), 0),
    }
    if job.finished_at is not None:
        with context.transaction(scene.account) as session:
            receipt = receipt_of(session, job.id)
        found["messages and ids of the receipt"] = (receipt.messages, receipt.ids), (scene.total, scene.total)
        found["digest of the receipt's ids"] = receipt.sha256, scene.selected
    return [f"{what}: {is_} instead of {wanted}" for what, (is_, wanted) in found.items() if is_ != wanted]


def _fill(context: Context, account: uuid.UUID, messages: int) -> None:
    task = a_task(context, account)
    talks = messages * 2 // EACH
    for begin in range(0, talks, AT_ONCE):
        count = min(AT_ONCE, talks - begin)
        made = rows(context, TALKS, account=account, task=task.id, count=count)
        fill(context, [row["id"] for row in made], EACH)


def figures_of(fire: Fire, took: float) -> dict[str, Any]:
    long = sorted(pause for pause in fire.pauses if pause > 1.0)
    return {
        "messages": fire.total,
        "seconds": round(took),
        "workers killed": fire.kills,
        "PostgreSQL": fire.restarts,
        "standstills over a second": len(long),
        "the longest of nine in ten": round(long[int(len(long) * 0.9)], 1) if long else 0.0,
        "the longest": round(max(fire.pauses), 1),
        "around a restart of PostgreSQL": [round(pause, 1) for pause in fire.outages],
        "lease": LEASE,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="deletion", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rate", help="such as 2000/s")
    parser.add_argument("--gap", type=float, default=2.0, help="seconds between kills")
    given = parser.parse_args()
    messages = given.messages // EACH * EACH
    report = storm(messages, given.rate or f"{min(2000, messages // 25)}/s", given.gap)
    print(json.dumps(report.figures, indent=1))
    for sentence in report.wrong:
        print(f"WRONG {sentence}")
    if report.wrong:
        print(report.logs[-4000:])
        return 1
    print("Exactly what was selected has gone, once.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
