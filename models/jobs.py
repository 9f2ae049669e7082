"""Jobs: long work with a cursor, advanced in short transactions."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, created_column, id_column, meta_column, one_of


class JobKind(StrEnum):
    """What a job does."""

    BACKFILL = "backfill"
    ANNOTATE = "annotate"
    DELETE = "delete"
    IMPORT = "import"
    UNDO = "undo"
    EXPORT = "export"
    ANONYMISE = "anonymise"
    SYNC = "sync"


class JobState(StrEnum):
    """pending → running ⇄ paused; these three → completed | completed_with_errors | cancelled | failed.

    A paused one that never began goes back to pending.
    """

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    CANCELLED = "cancelled"
    FAILED = "failed"


DUE_STATES = (JobState.PENDING, JobState.RUNNING)
UNFINISHED = (*DUE_STATES, JobState.PAUSED)
# Those that workers carry out, a slice at a time.
SLICED = (
    JobKind.DELETE,
    JobKind.IMPORT,
    JobKind.UNDO,
    JobKind.EXPORT,
    JobKind.ANONYMISE,
    JobKind.SYNC,
)


class Job(Base):
    """Work on many things, one after the other: the cursor is the last one dealt with.

    What is done, the cursor and `skipped` are committed together, so a kill loses and doubles nothing. `done`
    and `failed` are exact once the job has ended; until then the rows it made are counted, and `done` of an
    annotation holds how many messages it has handed to the workers. An account has one unfinished annotation
    at most. `params` are the kind's own and can hold what a user wrote.

    Those of SLICED are carried out by workers, a slice at a time: whoever has one holds a lease, renewed with
    every batch, and every batch is guarded by the epoch. `run_at` is then the lease's end: due again by
    itself. `counts` are further numbers of the kind's own, by name. `file_id` is what an import or a
    synchronisation reads, or an export has written.
    `crashes` counts the leases that ran out since the last batch.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(
            ["account_id", "task_id"], ["tasks.account_id", "tasks.id"], ondelete="SET NULL (task_id)"
        ),
        ForeignKeyConstraint(
            ["account_id", "file_id"], ["files.account_id", "files.id"], ondelete="SET NULL (file_id)"
        ),
        ForeignKeyConstraint(
            ["account_id", "rule_id"],
            ["retention_rules.account_id", "retention_rules.id"],
            ondelete="SET NULL (rule_id)",
        ),
        Index("ix_jobs_file", "file_id", postgresql_where=text("file_id IS NOT NULL")),
        Index("ix_jobs_rule", "rule_id", postgresql_where=text("rule_id IS NOT NULL")),
        Index(
            "uq_jobs_rule",
            "rule_id",
            "kind",
            unique=True,
            postgresql_where=text("rule_id IS NOT NULL AND state IN ('pending', 'running', 'paused')"),
        ),
        Index("ix_jobs_due", "run_at", postgresql_where=text("state IN ('pending', 'running')")),
        Index("ix_jobs_task", "task_id", "id", postgresql_where=text("task_id IS NOT NULL")),
        Index(
            "uq_jobs_annotate",
            "account_id",
            unique=True,
            postgresql_where=text("kind = 'annotate' AND state IN ('pending', 'running', 'paused')"),
        ),
        one_of("kind", JobKind),
        one_of("state", JobState),
        CheckConstraint(
            "(state IN ('pending', 'running', 'paused')) = (finished_at IS NULL)",
            name="final_has_finished_at",
        ),
        CheckConstraint("state <> 'running' OR started_at IS NOT NULL", name="running_has_started_at"),
        CheckConstraint("state <> 'failed' OR error_class IS NOT NULL", name="failed_has_class"),
        CheckConstraint(
            "done >= 0 AND skipped >= 0 AND failed >= 0 AND done + skipped + failed <= total", name="counters"
        ),
        CheckConstraint(
            "state NOT IN ('completed', 'completed_with_errors') OR done + skipped + failed = total",
            name="completed_adds_up",
        ),
        CheckConstraint("state <> 'completed' OR failed = 0", name="completed_without_errors"),
        CheckConstraint("lease_until IS NULL OR state = 'running'", name="lease_while_running"),
        CheckConstraint("crashes >= 0 AND attempt >= 0 AND epoch >= 0 AND hints >= 0", name="work_counters"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    kind: Mapped[str]
    task_id: Mapped[uuid.UUID | None]
    state: Mapped[str] = mapped_column(server_default=JobState.PENDING)
    file_id: Mapped[uuid.UUID | None]
    rule_id: Mapped[uuid.UUID | None]
    params: Mapped[dict[str, Any]] = meta_column()
    counts: Mapped[dict[str, int]] = mapped_column(JSONB, server_default="{}")
    cursor: Mapped[str | None]
    total: Mapped[int | None]
    done: Mapped[int] = mapped_column(server_default="0")
    skipped: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    error_class: Mapped[str | None]
    run_at: Mapped[datetime] = created_column()
    lease_until: Mapped[datetime | None]
    epoch: Mapped[int] = mapped_column(server_default="0")
    attempt: Mapped[int] = mapped_column(server_default="0")
    crashes: Mapped[int] = mapped_column(server_default="0")
    hinted_at: Mapped[datetime | None]
    hints: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = created_column()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobError(Base):
    """A row that a job could not deal with: its number in the source and a code, never what it holds."""

    __tablename__ = "job_errors"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "job_id"], ["jobs.account_id", "jobs.id"], ondelete="CASCADE"),
    )

    job_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    account_id: Mapped[uuid.UUID]
    row: Mapped[int] = mapped_column(BigInteger)
    code: Mapped[str]


class ImportKind(StrEnum):
    """What a key of a source stands for."""

    CONVERSATION = "conversation"
    CONTACT = "contact"
    TASK = "task"
    BOT = "bot"


class ImportKey(Base):
    """What an import has stored under a key of its source: which row of ours, and which of its messages.

    (account, kind, key) with a number is unique, so that nothing is imported twice, whoever else imports just
    then. `key` is a keyed hash of the source's own: it tells nothing, and outlives what was imported, so that
    what was deleted is not imported again. A conversation has a row for every time something came to it:
    `members` are the hashes of these messages' keys, ten bytes each, which took the places from `first_seq`
    to `last_seq`. `made`: the row of ours was made then, and was not there before.
    """

    __tablename__ = "import_keys"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "job_id"], ["jobs.account_id", "jobs.id"], ondelete="CASCADE"),
        Index("ix_import_keys_job", "job_id"),
        one_of("kind", ImportKind),
        CheckConstraint("octet_length(key) = 16", name="key_size"),
        CheckConstraint("octet_length(members) % 10 = 0", name="members_size"),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    job_id: Mapped[uuid.UUID]
    target_id: Mapped[uuid.UUID]
    made: Mapped[bool]
    members: Mapped[bytes] = mapped_column(LargeBinary, server_default=text("''::bytea"))
    first_seq: Mapped[int | None]
    last_seq: Mapped[int | None]


class RateBucket(Base):
    """What an account may do just now of one kind of work: exact over all workers, since the row is locked by
    whoever takes from it, in the transaction that does the work.
    """

    __tablename__ = "rate_buckets"

    account_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(primary_key=True)
    tokens: Mapped[float] = mapped_column(server_default="0")
    updated_at: Mapped[datetime] = created_column()
