"""Scheduled tasks and their clocks."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Interval,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, meta_column, one_of


class Action(StrEnum):
    """What a run does in its conversation."""

    COMPLETE = "complete"
    RECEIVE = "receive"
    SEND = "send"


class TaskState(StrEnum):
    """active ⇄ paused; both → deleted, which is final."""

    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"


class Overlap(StrEnum):
    """What becomes of an occurrence that is due while a run of its task has not ended."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"
    CANCEL_PREVIOUS = "cancel_previous"


class CatchUp(StrEnum):
    """Which occurrences of an outage run afterwards, of those inside the window."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class ConversationMode(StrEnum):
    """Where a run speaks: a conversation of its own, the last one while it is fresh, or one for all."""

    NEW = "new"
    REUSE = "reuse"
    ONE = "one"


class Task(Base):
    """What to say, to which bot, when, and under which policies.

    Policies that are NULL are the installation's defaults or no limit. Money is in millionths of the
    operator's currency (core/prices.py). The rows of the day count towards budgets: `TaskUsageDay`.

    `shield` is what the prompt's message gets along where privacy is on: where entities stand in it, and the
    sealed values behind its tokens; `shield_stamp` says under which policies it was made (core/prompts.py).

    A deleted task stays as a blank tombstone (CHECK), so that the task link of its conversations
    still resolves.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(
            ["account_id", "bot_id"], ["bots.account_id", "bots.id"], ondelete="SET NULL (bot_id)"
        ),
        ForeignKeyConstraint(
            ["account_id", "contact_id"],
            ["contacts.account_id", "contacts.id"],
            ondelete="SET NULL (contact_id)",
        ),
        Index("ix_tasks_bot", "bot_id", "id"),
        Index("ix_tasks_contact", "contact_id", "id", postgresql_where=text("contact_id IS NOT NULL")),
        one_of("state", TaskState),
        one_of("action", Action),
        CheckConstraint(
            "state <> 'deleted' OR (name IS NULL AND description IS NULL AND schedule IS NULL"
            " AND bot_id IS NULL AND contact_id IS NULL AND meta = '{}' AND assertions = '{}'"
            " AND shield IS NULL)",
            name="tombstone_is_blank",
        ),
        one_of("overlap", Overlap),
        one_of("catch_up", CatchUp),
        one_of("conversation_mode", ConversationMode),
        CheckConstraint(
            "(conversation_mode = 'reuse') = (session_duration IS NOT NULL)", name="reuse_has_duration"
        ),
        CheckConstraint("paused_until IS NULL OR state = 'paused'", name="paused_until_is_paused"),
        CheckConstraint("starts_at < expires_at", name="starts_before_it_expires"),
        CheckConstraint(
            "max_time_ms BETWEEN 0 AND 86400000 AND max_iterations BETWEEN 0 AND 100000 AND max_tokens >= 0"
            " AND max_calls BETWEEN 0 AND 100000",
            name="limits",
        ),
        CheckConstraint("consecutive_failures >= 0", name="consecutive_failures"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    bot_id: Mapped[uuid.UUID | None]
    contact_id: Mapped[uuid.UUID | None]
    state: Mapped[str] = mapped_column(server_default=TaskState.ACTIVE)
    pause_reason: Mapped[str | None]
    action: Mapped[str] = mapped_column(server_default=Action.COMPLETE)
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    shield: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), info={"content": True})
    shield_stamp: Mapped[str | None]
    schedule: Mapped[str | None]
    timezone: Mapped[str | None]
    max_time_ms: Mapped[int | None]
    max_iterations: Mapped[int | None]
    max_calls: Mapped[int | None]
    max_tokens: Mapped[int | None]
    max_cost: Mapped[int | None] = mapped_column(BigInteger)
    max_tokens_per_day: Mapped[int | None] = mapped_column(BigInteger)
    max_cost_per_day: Mapped[int | None] = mapped_column(BigInteger)
    overlap: Mapped[str] = mapped_column(server_default=Overlap.SKIP)
    catch_up: Mapped[str] = mapped_column(server_default=CatchUp.LATEST)
    catch_up_window: Mapped[timedelta | None] = mapped_column(Interval)
    catch_up_max: Mapped[int | None]
    jitter: Mapped[timedelta | None] = mapped_column(Interval)
    starts_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    max_attempts: Mapped[int | None]
    retry_delay: Mapped[timedelta | None] = mapped_column(Interval)
    retry_on: Mapped[list[str] | None] = mapped_column(ARRAY(TEXT))
    conversation_mode: Mapped[str] = mapped_column(server_default=ConversationMode.NEW)
    session_duration: Mapped[timedelta | None] = mapped_column(Interval)
    assertions: Mapped[dict[str, Any]] = meta_column()
    max_consecutive_failures: Mapped[int | None]
    consecutive_failures: Mapped[int] = mapped_column(server_default="0")
    meta: Mapped[dict[str, Any]] = meta_column()
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class TaskClock(Base):
    """When a task fires next. One row per task that is not deleted.

    Apart from its task because `next_run_at` is indexed, so no update of it is ever HOT: the row that
    changes with every firing is kept narrow. Its row lock is the task's firing lock: fire, trigger and
    every edit take it first, so an occurrence is fired under the old or the new definition, never both.

    A clock that rests (`next_run_at` NULL) may keep `rests_from`: the first occurrence since it stopped. What
    was due from there on is written into the ledger when it goes on, as one row.
    """

    __tablename__ = "task_clocks"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "task_id"], ["tasks.account_id", "tasks.id"], ondelete="CASCADE"),
        Index("ix_task_clocks_due", "next_run_at", postgresql_where=text("next_run_at IS NOT NULL")),
        Index("ix_task_clocks_account", "account_id", "task_id"),
    )

    task_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    next_run_at: Mapped[datetime | None]
    last_run_at: Mapped[datetime | None]
    rests_from: Mapped[datetime | None]
    fire_errors: Mapped[int] = mapped_column(server_default="0")


class TaskUsageDay(Base):
    """What one task used on one UTC day: what its budgets are held against, and what its history shows."""

    __tablename__ = "task_usage_days"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "task_id"], ["tasks.account_id", "tasks.id"], ondelete="CASCADE"),
        Index("ix_task_usage_days_account", "account_id", "task_id"),
    )

    task_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    runs: Mapped[int] = mapped_column(BigInteger, server_default="0")
    input_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    output_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cost: Mapped[int] = mapped_column(BigInteger, server_default="0")
