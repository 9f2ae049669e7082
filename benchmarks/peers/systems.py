"""The schedulers that are compared: what is started of each, and where its records are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks import firing, support
from benchmarks.peers.environment import SCRIPTS
from benchmarks.peers.job import Job
from benchmarks.workers import environment as our_environment
from cli.local.servers import Servers
from core.context import Context
from core.publisher import celery_url

Records = list[tuple[int, float, float]]  # (task, due, committed), epoch seconds

THREADS = 16
OUR_TASKS = "JOIN tasks t ON t.id = r.task_id"
OUR_RECORDS = (
    "SELECT substring(t.name FROM 6)::int, extract(epoch FROM r.scheduled_for)::float8,"
    " extract(epoch FROM pg_xact_commit_timestamp({row}.xmin))::float8 FROM runs r"
)


@dataclass(frozen=True)
class System:
    """`processes` are started in this order, each in a group of its own, by the peers' Python.

    `preparing` and `starting` are the seconds that each task takes then.
    """

    name: str
    packages: tuple[str, ...]
    processes: Mapping[str, Sequence[str]]
    prepare: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    settings: str = ""
    preparing: float = 0.0
    starting: float = 0.0


def _celery(name: str, beat: str, packages: tuple[str, ...], settings: str, preparing: float = 0.0) -> System:
    return System(
        name,
        ("celery", *packages),
        {
            "worker": ("-m", "celery", "-A", "celery_app", "worker", "--concurrency", "2", "-l", "warning"),
            "scheduler": ("-m", "celery", "-A", "celery_app", "beat", "--pidfile=", "-l", "warning"),
        },
        prepare=("celery_app.py",),
        env={"PEERS_BEAT": beat},
        settings=settings,
        preparing=preparing,
    )


PEERS = (
    _celery("Celery beat", "beat", (), "its own schedule file, as it comes"),
    _celery(
        "celery-redbeat",
        "redbeat",
        ("celery-redbeat",),
        "no lock (there is one beat), loop of at most 5 s",
        0.003,
    ),
    _celery(
        "sqlalchemy-celery-beat",
        "sqlalchemy",
        ("sqlalchemy-celery-beat",),
        "schedules in the same PostgreSQL",
    ),
    System(
        "APScheduler",
        ("apscheduler",),
        {"scheduler": ("aps.py",)},
        prepare=("aps.py", "prepare"),
        settings="jobs in PostgreSQL, 10 threads, catches up every occurrence, max_instances 10; one process",
        preparing=0.006,
    ),
    System(
        "procrastinate",
        ("procrastinate",),
        {"scheduler": ("procrastinate_app.py",)},
        prepare=("procrastinate_app.py", "prepare"),
        settings="concurrency 10, jobs of lost workers retried by its documented task every 5 s; one process",
        starting=0.005,  # what was due in the minute before it began is deferred first
    ),
)
OURS = System(
    "Crontalk",
    (),
    {
        "worker": ("-m", "cli", "worker", "--queues", "chat", "--concurrency", str(THREADS)),
        "scheduler": ("-m", "cli", "scheduler"),
    },
    settings=f"one scheduler, one Celery worker with {THREADS} threads, the offline model, as they come",
)
CELERY = "late acknowledgement, visibility time-out {recovery} s, prefork with 2 processes"


@dataclass
class Stage:
    """Where one system runs for one measurement."""

    system: System
    job: Job
    both: Servers
    context: Context
    directory: Path
    python: str

    @property
    def admin(self) -> str:
        return support.superuser(self.context, self.both)

    def environment(self) -> dict[str, str]:
        url = self.context.engine.url.render_as_string(hide_password=False)
        if self.system is OURS:
            return {**our_environment(self.context.settings), "CRONTALK_LEASE": str(self.job.recovery)}
        told = self.job.told(
            self.directory,
            database=support.plain(url),
            sqlalchemy=url,
            redis=self.both.redis_url,
            broker=celery_url(self.both.redis_url),
        )
        path = {"PYTHONPATH": str(SCRIPTS), "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
        return {**os.environ, **path, **self.system.env, "PEERS_JOB": told}

    def command(self, process: str) -> list[str]:
        words = self.system.processes[process]
        return [sys.executable, *words] if self.system is OURS else [self.python, *self._found(words)]

    def prepare(self) -> None:
        """The tasks are stored, and the table of what their jobs did is there."""
        if self.system is OURS:
            self._store_ours()
            return
        with psycopg.connect(self.admin, autocommit=True) as admin:
            admin.execute(
                "CREATE TABLE fired (task int NOT NULL, due timestamptz NOT NULL);"
                " ALTER TABLE fired OWNER TO crontalk"
            )
        words = [self.python, *self._found(self.system.prepare)]
        subprocess.run(
            words, env=self.environment(), cwd=self.directory, check=True, stdout=subprocess.DEVNULL
        )

    def records(self) -> dict[str, Records]:
        """What has been committed, by what it is called in the tables."""
        statements = {
            "job done": "SELECT task, extract(epoch FROM due)::float8,"
            " extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM fired"
        }
        if self.system is OURS:
            # Of all that is committed with a run only its prompt is never touched again.
            prompts = (
                f"{OUR_RECORDS.format(row='m')} JOIN messages m ON m.run_id = r.id AND m.step = 'prompt'"
                f" {OUR_TASKS}"
            )
            replies = (
                f"{OUR_RECORDS.format(row='m')} JOIN messages m ON m.run_id = r.id AND m.step = 'reply'"
                f" {OUR_TASKS} WHERE r.state = 'succeeded'"
            )
            calls = (
                f"{OUR_RECORDS.format(row='s')} JOIN run_steps s ON s.run_id = r.id AND s.step LIKE 'model.%'"
                f" {OUR_TASKS}"
            )
            statements = {"run committed": prompts, "answer settled": replies, "model asked": calls}
        with psycopg.connect(self.admin) as admin:
            return {name: admin.execute(text).fetchall() for name, text in statements.items()}

    def _found(self, words: Sequence[str]) -> list[str]:
        return [str(SCRIPTS / word) if word.endswith(".py") else word for word in words]

    def _store_ours(self) -> None:
        job = self.job
        phase = "0" if job.burst or job.cron else f"substring(name FROM 6)::int % {job.period}"
        firing.store(
            self.context, self.both, job.tasks, f"to_timestamp({job.start}) + ({phase}) * interval '1 second'"
        )
        with psycopg.connect(self.admin, autocommit=True) as admin:
            every = "* * * * *" if job.cron else f"@every {job.period}s"
            admin.execute("UPDATE tasks SET schedule = %s, timezone = 'UTC'", [every])
            admin.execute("VACUUM ANALYZE tasks, task_clocks")
