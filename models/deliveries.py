"""Deliveries: who wants to be told what of a task, and every telling as a row that retries."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, one_of


class Channel(StrEnum):
    """How a subscriber is told."""

    WEBHOOK = "webhook"
    EMAIL = "email"


class Event(StrEnum):
    """What of a task is told. `test` is asked for by hand and needs no subscription to it."""

    SUCCESS = "success"
    RECOVERY = "recovery"  # the first success after a failed run
    FAILURE = "failure"
    MISSED = "missed"  # an occurrence that was due and has no run: missed or skipped
    BUDGET = "budget"
    PAUSED = "paused"  # by the program, not by its owner
    TEST = "test"


class SubscriptionState(StrEnum):
    """active ⇄ disabled: by its owner, or by the program (`disabled_reason` gone or failing)."""

    ACTIVE = "active"
    DISABLED = "disabled"


class DeliveryState(StrEnum):
    """pending ⇄ sending → delivered | failed; pending, sending → cancelled; an end → pending on request."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Subscription(Base):
    """Where the events of one task go, by one channel.

    `target` (an address) and `secret` (a webhook's signing key) are sealed with the account's key
    (core/keys.py); `hint` is what lists show of the target: its host. It goes with its task.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(["account_id", "task_id"], ["tasks.account_id", "tasks.id"], ondelete="CASCADE"),
        Index("ix_subscriptions_task", "task_id", "id"),
        one_of("kind", Channel),
        one_of("state", SubscriptionState),
        CheckConstraint("(kind = 'webhook') = (secret IS NOT NULL)", name="webhook_has_secret"),
        CheckConstraint("cardinality(events) > 0", name="events"),
        CheckConstraint("(state = 'disabled') = (disabled_reason IS NOT NULL)", name="disabled_has_reason"),
        CheckConstraint("consecutive_failures >= 0", name="consecutive_failures"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID]
    task_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    target: Mapped[bytes] = mapped_column(LargeBinary)
    hint: Mapped[str] = content(nullable=False)
    secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    events: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    include_text: Mapped[bool] = mapped_column(server_default=text("false"))
    state: Mapped[str] = mapped_column(server_default=SubscriptionState.ACTIVE)
    disabled_reason: Mapped[str | None]
    consecutive_failures: Mapped[int] = mapped_column(server_default="0")
    failing_since: Mapped[datetime | None]
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class Delivery(Base):
    """One event for one subscription: what has to be sent, and the log of how that went.

    Written in the transaction of what it tells. UNIQUE (subscription, event, occasion): `occasion` is the
    run's id, or what else makes the event one of a kind, and outlives the run. A row that is being sent has
    a lease, and its `run_at` is the lease's end: due again by itself. It holds no word of what is sent.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("subscription_id", "event", "occasion"),
        ForeignKeyConstraint(
            ["account_id", "subscription_id"],
            ["subscriptions.account_id", "subscriptions.id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(["account_id", "task_id"], ["tasks.account_id", "tasks.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["account_id", "run_id"], ["runs.account_id", "runs.id"], ondelete="SET NULL (run_id)"
        ),
        Index("ix_deliveries_task", "task_id", "id"),
        Index("ix_deliveries_run", "run_id", postgresql_where=text("run_id IS NOT NULL")),
        Index(
            "ix_deliveries_due",
            "account_id",
            "run_at",
            postgresql_where=text("state IN ('pending', 'sending')"),
        ),
        Index(
            "ix_deliveries_sending",
            "account_id",
            "subscription_id",
            postgresql_where=text("state = 'sending'"),
        ),
        one_of("event", Event),
        one_of("state", DeliveryState),
        CheckConstraint("(state = 'sending') = (lease_until IS NOT NULL)", name="sending_has_lease"),
        CheckConstraint(
            "(state IN ('pending', 'sending')) = (finished_at IS NULL)", name="final_has_finished_at"
        ),
        CheckConstraint("attempt >= 0 AND epoch >= 0", name="counters"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID]
    subscription_id: Mapped[uuid.UUID]
    task_id: Mapped[uuid.UUID]
    run_id: Mapped[uuid.UUID | None]
    event: Mapped[str]
    occasion: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=DeliveryState.PENDING)
    run_at: Mapped[datetime] = created_column()
    hinted_at: Mapped[datetime | None]
    hints: Mapped[int] = mapped_column(server_default="0")
    lease_until: Mapped[datetime | None]
    epoch: Mapped[int] = mapped_column(server_default="0")
    attempt: Mapped[int] = mapped_column(server_default="0")
    status_code: Mapped[int | None]
    error_code: Mapped[str | None]
    created_at: Mapped[datetime] = created_column()
    finished_at: Mapped[datetime | None]
