"""Runs: one row per occurrence, with the work columns that make it a queue."""

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

from models.base import Base, content, created_column, id_column, one_of
from models.tasks import Action


class RunState(StrEnum):
    """waiting → pending ⇄ running → succeeded | failed; waiting, pending, running → cancelled.

    waiting is behind another run of its task, or a turn behind the one its conversation has under way, and
    promoted when that one has ended. skipped and missed are
    born final: an occurrence that was due and has no run.
    """

    WAITING = "waiting"
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    MISSED = "missed"


ACTIVE = (RunState.PENDING, RunState.RUNNING)
OPEN = (RunState.WAITING, *ACTIVE)  # has not ended
# What people look for among very many runs: those that did not do what they should have.
UNHAPPY = "state IN ('failed', 'cancelled', 'skipped', 'missed')"


class Trigger(StrEnum):
    """Why a run exists."""

    SCHEDULE = "schedule"
    CATCH_UP = "catch_up"
    MANUAL = "manual"
    BACKFILL = "backfill"
    API = "api"


class Reason(StrEnum):
    """Why an occurrence that was due has no run: what a skipped or missed row of the ledger says."""

    OVERLAP = "overlap"
    NO_BOT = "no_bot"
    BUDGET = "budget"
    PAUSED = "paused"
    EXPIRED = "expired"
    ACCOUNT_CLOSED = "account_closed"
    RESCHEDULED = "rescheduled"
    DELETED = "deleted"
    LATE = "late"
    OUTSIDE_WINDOW = "outside_window"
    INTERNAL_ERROR = "internal_error"


class ErrorClass(StrEnum):
    """Why a run failed. The vocabulary of reports, metrics and Flower; never a sentence with content."""

    EMPTY_OUTPUT = "empty_output"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    PROVIDER_ERROR = "provider_error"
    QUOTA = "quota"
    TIMEOUT = "timeout"
    CONTEXT_TOO_LONG = "context_too_long"
    MISCONFIGURED = "misconfigured"
    LIMIT = "limit"
    BUDGET = "budget"
    ASSERTION = "assertion"
    TOOL_LOOP = "tool_loop"
    POISON = "poison"
    NO_BOT = "no_bot"
    CANCELLED = "cancelled"
    INTERNAL_ERROR = "internal_error"


class Run(Base):
    """One occurrence of a task, or one turn asked for by a caller.

    Exactly once: UNIQUE (task_id, scheduled_for) for scheduled runs. One active turn per conversation:
    UNIQUE (conversation_id) while pending or running. One scheduled run of a task waits behind another:
    UNIQUE (task_id) while waiting; those of a catch-up wait in a row. One turn of a conversation waits behind
    another: UNIQUE (conversation_id) while waiting and asked for by a caller. One run per backfill and
    instant: UNIQUE (backfill_id, scheduled_for). A running row without a lease cannot be stored.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(
            ["account_id", "task_id"], ["tasks.account_id", "tasks.id"], ondelete="SET NULL (task_id)"
        ),
        ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            name="fk_runs_conversation",
            ondelete="SET NULL (conversation_id)",
            use_alter=True,
        ),
        ForeignKeyConstraint(
            ["account_id", "backfill_id"],
            ["jobs.account_id", "jobs.id"],
            ondelete="SET NULL (backfill_id)",
        ),
        Index(
            "uq_runs_occurrence",
            "task_id",
            "scheduled_for",
            unique=True,
            postgresql_where=text("trigger IN ('schedule', 'catch_up')"),
        ),
        Index(
            "uq_runs_active_turn",
            "conversation_id",
            unique=True,
            postgresql_where=text("state IN ('pending', 'running')"),
        ),
        Index(
            "uq_runs_waiting",
            "task_id",
            unique=True,
            postgresql_where=text("state = 'waiting' AND trigger = 'schedule'"),
        ),
        Index(
            "uq_runs_follow_up",
            "conversation_id",
            unique=True,
            postgresql_where=text("state = 'waiting' AND trigger = 'api'"),
        ),
        Index("ix_runs_waiting", "task_id", "scheduled_for", postgresql_where=text("state = 'waiting'")),
        Index(
            "uq_runs_backfill",
            "backfill_id",
            "scheduled_for",
            unique=True,
            postgresql_where=text("backfill_id IS NOT NULL"),
        ),
        Index(
            "ix_runs_backfill_open",
            "backfill_id",
            postgresql_where=text("backfill_id IS NOT NULL AND state IN ('waiting', 'pending', 'running')"),
        ),
        Index(
            "ix_runs_backfilled", "task_id", "scheduled_for", postgresql_where=text("trigger = 'backfill'")
        ),
        Index(
            "uq_runs_channel",
            "account_id",
            "channel",
            unique=True,
            postgresql_where=text("channel IS NOT NULL"),
        ),
        Index("ix_runs_task", "task_id", "id"),
        Index("ix_runs_active", "task_id", postgresql_where=text("state IN ('pending', 'running')")),
        Index("ix_runs_conversation", "conversation_id", "id"),
        # Partial, so that runs that succeed on schedule pay nothing for them. In the order of the list, and
        # with what it is filtered by, so that what is not wanted is passed over in the index.
        Index(
            "ix_runs_unhappy",
            "account_id",
            "id",
            "state",
            "error_class",
            "reason",
            postgresql_where=text(UNHAPPY),
        ),
        Index(
            "ix_runs_asked",
            "account_id",
            "trigger",
            "id",
            postgresql_where=text("trigger IN ('manual', 'catch_up', 'backfill')"),
        ),
        # What the event log is read off.
        Index(
            "ix_runs_begun",
            "account_id",
            "started_at",
            postgresql_where=text("started_at IS NOT NULL AND task_id IS NOT NULL"),
        ),
        Index(
            "ix_runs_ended",
            "account_id",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL AND task_id IS NOT NULL"),
        ),
        Index(
            "ix_runs_pending",
            "queue",
            "account_id",
            "run_at",
            postgresql_where=text("state = 'pending'"),
        ),
        Index("ix_runs_suspect", "run_at", postgresql_where=text("state = 'pending' AND crashes >= 2")),
        Index("ix_runs_lease", "lease_until", postgresql_where=text("state = 'running'")),
        one_of("state", RunState),
        one_of("trigger", Trigger),
        one_of("action", Action),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="running_has_lease"),
        CheckConstraint(
            "(state IN ('waiting', 'pending', 'running')) = (finished_at IS NULL)",
            name="final_has_finished_at",
        ),
        CheckConstraint("state <> 'failed' OR error_class IS NOT NULL", name="failed_has_class"),
        CheckConstraint("state <> 'succeeded' OR error_class IS NULL", name="succeeded_has_no_class"),
        CheckConstraint("state NOT IN ('skipped', 'missed') OR reason IS NOT NULL", name="unrun_has_reason"),
        CheckConstraint("request IS NULL OR finished_at IS NULL", name="request_ends_with_run"),
        CheckConstraint("(covers_from IS NULL) = (covers_count IS NULL)", name="span"),
        CheckConstraint("attempt >= 0 AND crashes BETWEEN 0 AND 3 AND model_calls >= 0", name="counters"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    task_id: Mapped[uuid.UUID | None]
    conversation_id: Mapped[uuid.UUID | None]
    trigger: Mapped[str]
    action: Mapped[str]
    scheduled_for: Mapped[datetime | None]
    covers_from: Mapped[datetime | None]
    covers_count: Mapped[int | None]
    backfill_id: Mapped[uuid.UUID | None]

    queue: Mapped[str] = mapped_column(server_default="chat")
    state: Mapped[str] = mapped_column(server_default=RunState.PENDING)
    run_at: Mapped[datetime] = created_column()
    hinted_at: Mapped[datetime | None]
    hints: Mapped[int] = mapped_column(server_default="0")
    lease_until: Mapped[datetime | None]
    epoch: Mapped[int] = mapped_column(server_default="0")
    attempt: Mapped[int] = mapped_column(server_default="0")
    crashes: Mapped[int] = mapped_column(server_default="0")
    deadline_at: Mapped[datetime | None]
    worker: Mapped[str | None]
    delivery_id: Mapped[str | None]

    reason: Mapped[str | None]
    end_reason: Mapped[str | None]  # why a turn that succeeded ended, where it is not the model's own stop
    error_class: Mapped[str | None]
    error_code: Mapped[str | None]
    summary: Mapped[str | None] = content()
    model: Mapped[str | None]
    model_calls: Mapped[int] = mapped_column(server_default="0")
    input_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    output_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cost: Mapped[int] = mapped_column(BigInteger, server_default="0")
    # How the turn was asked for: names and numbers, no text. `request` is the text that came along
    # (functions, extensions, a stateless conversation), sealed, and gone when the run has ended.
    # `channel` is the live channel that a dispatched turn speaks on: one turn per channel.
    channel: Mapped[str | None]
    params: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    request: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = created_column()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class RunStep(Base):
    """A run's timeline: one row per attempt and per effect. (run, step) is the effect's natural key."""

    __tablename__ = "run_steps"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "run_id"], ["runs.account_id", "runs.id"], ondelete="CASCADE"),
        Index("ix_run_steps_account", "account_id", "run_id"),
    )

    run_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    epoch: Mapped[int]
    started_at: Mapped[datetime] = created_column()
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    error_code: Mapped[str | None]
    worker: Mapped[str | None]
    delivery_id: Mapped[str | None]
    model: Mapped[str | None]
    finish_reason: Mapped[str | None]
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
