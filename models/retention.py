"""Retention: how long what was said is kept, and what is kept whatever a rule says."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, one_of


class Kept(StrEnum):
    """What a rule is about, and by whose age."""

    CONVERSATIONS = "conversations"  # whole ones, by their last message
    MESSAGES = "messages"  # each by its own age


class RetentionRule(Base):
    """When what was said is anonymised and when it is deleted, of a bot, a task, a source or the account.

    Of whom is what it is linked to; without a link it is the account's. (account, link) is unique, nothing
    counting as a value. A duration stands as it was said, beside the days it comes to. Whoever starts its
    jobs holds the row and moves `next_run_at`, and `uq_jobs_rule` allows one unfinished job of each kind: so
    however many schedulers ask, it starts once.
    """

    __tablename__ = "retention_rules"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(["account_id", "bot_id"], ["bots.account_id", "bots.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["account_id", "task_id"], ["tasks.account_id", "tasks.id"], ondelete="CASCADE"),
        Index(
            "uq_retention_rules_scope",
            "account_id",
            "bot_id",
            "task_id",
            "source",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_retention_rules_bot", "bot_id", postgresql_where=text("bot_id IS NOT NULL")),
        Index("ix_retention_rules_task", "task_id", postgresql_where=text("task_id IS NOT NULL")),
        Index("ix_retention_rules_due", "next_run_at"),
        one_of("what", Kept),
        CheckConstraint("num_nonnulls(bot_id, task_id, source) <= 1", name="one_scope"),
        CheckConstraint("num_nonnulls(anonymise_days, delete_days) > 0", name="does_something"),
        CheckConstraint(
            "(anonymise_days IS NULL) = (anonymise_after IS NULL)"
            " AND (delete_days IS NULL) = (delete_after IS NULL)",
            name="days_of_durations",
        ),
        CheckConstraint(
            "anonymise_days > 0 AND delete_days > 0 AND delete_days > anonymise_days", name="delete_is_later"
        ),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    bot_id: Mapped[uuid.UUID | None]
    task_id: Mapped[uuid.UUID | None]
    source: Mapped[str | None] = content()
    what: Mapped[str] = mapped_column(server_default=Kept.CONVERSATIONS)
    anonymise_after: Mapped[str | None]
    anonymise_days: Mapped[int | None]
    delete_after: Mapped[str | None]
    delete_days: Mapped[int | None]
    next_run_at: Mapped[datetime]
    last_run_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class LegalHold(Base):
    """Nothing of what it is on is deleted or anonymised while it stands; without a link: of the account.

    Of one thing there may be several, each placed for a reason of its own. The row goes with its release,
    which the audit keeps.
    """

    __tablename__ = "legal_holds"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(["account_id", "bot_id"], ["bots.account_id", "bots.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["account_id", "task_id"], ["tasks.account_id", "tasks.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["account_id", "contact_id"], ["contacts.account_id", "contacts.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            ondelete="CASCADE",
        ),
        Index("ix_legal_holds_bot", "bot_id", postgresql_where=text("bot_id IS NOT NULL")),
        Index("ix_legal_holds_task", "task_id", postgresql_where=text("task_id IS NOT NULL")),
        Index("ix_legal_holds_contact", "contact_id", postgresql_where=text("contact_id IS NOT NULL")),
        Index(
            "ix_legal_holds_conversation",
            "conversation_id",
            postgresql_where=text("conversation_id IS NOT NULL"),
        ),
        CheckConstraint("num_nonnulls(bot_id, task_id, contact_id, conversation_id) <= 1", name="one_thing"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    bot_id: Mapped[uuid.UUID | None]
    task_id: Mapped[uuid.UUID | None]
    contact_id: Mapped[uuid.UUID | None]
    conversation_id: Mapped[uuid.UUID | None]
    reason: Mapped[str | None] = content()
    placed_by: Mapped[str | None]
    created_at: Mapped[datetime] = created_column()
