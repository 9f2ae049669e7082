"""Conversations and their messages."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, meta_column, one_of, policy_column

MAX_TEXT_BYTES = 256 * 1024
# What a search finds a conversation by, besides its messages; a query that says the same uses the index.
ABOUT = "to_tsvector('simple', (COALESCE(name, '') || ' ') || COALESCE(description, ''))"


class ConversationStatus(StrEnum):
    ACTIVE = "active"
    ARCHIVED = "archived"


class MessageType(StrEnum):
    """The message types of the ChatBotKit contract, section 1.4."""

    USER = "user"
    BOT = "bot"
    REASONING = "reasoning"
    CONTEXT = "context"
    INSTRUCTION = "instruction"
    BACKSTORY = "backstory"
    ACTIVITY = "activity"
    CHECKPOINT = "checkpoint"


class Conversation(Base):
    """A sequence of messages, linked to the task and the run that opened it.

    `next_seq` hands out the order of messages; the row lock taken to raise it is the order.
    `purge_epoch` rises with every deletion inside, so that a reply made from older text is discarded.
    `anonymised_seq` is `next_seq` as it was when all that was said was anonymised: whatever is said after it,
    or changed, is not.
    What it says itself of backstory, model, dataset and skillset goes before what its bot says.
    """

    __tablename__ = "conversations"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        ForeignKeyConstraint(
            ["account_id", "bot_id"], ["bots.account_id", "bots.id"], ondelete="SET NULL (bot_id)"
        ),
        ForeignKeyConstraint(
            ["account_id", "task_id"], ["tasks.account_id", "tasks.id"], ondelete="SET NULL (task_id)"
        ),
        ForeignKeyConstraint(
            ["account_id", "run_id"], ["runs.account_id", "runs.id"], ondelete="SET NULL (run_id)"
        ),
        ForeignKeyConstraint(
            ["account_id", "contact_id"],
            ["contacts.account_id", "contacts.id"],
            ondelete="SET NULL (contact_id)",
        ),
        ForeignKeyConstraint(
            ["account_id", "dataset_id"],
            ["datasets.account_id", "datasets.id"],
            ondelete="SET NULL (dataset_id)",
        ),
        ForeignKeyConstraint(
            ["account_id", "skillset_id"],
            ["skillsets.account_id", "skillsets.id"],
            ondelete="SET NULL (skillset_id)",
        ),
        Index("ix_conversations_search", text(ABOUT), postgresql_using="gin"),
        Index("ix_conversations_bot", "bot_id", "id"),
        Index(
            "ix_conversations_contact", "contact_id", "id", postgresql_where=text("contact_id IS NOT NULL")
        ),
        Index("ix_conversations_dataset", "dataset_id", postgresql_where=text("dataset_id IS NOT NULL")),
        Index("ix_conversations_skillset", "skillset_id", postgresql_where=text("skillset_id IS NOT NULL")),
        Index("ix_conversations_expires", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
        Index("ix_conversations_task", "task_id", "id", postgresql_where=text("task_id IS NOT NULL")),
        Index("ix_conversations_run", "run_id", postgresql_where=text("run_id IS NOT NULL")),
        one_of("status", ConversationStatus),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    bot_id: Mapped[uuid.UUID | None]
    task_id: Mapped[uuid.UUID | None]
    run_id: Mapped[uuid.UUID | None]
    contact_id: Mapped[uuid.UUID | None]
    dataset_id: Mapped[uuid.UUID | None]
    skillset_id: Mapped[uuid.UUID | None]
    source: Mapped[str] = content(nullable=False)
    status: Mapped[str] = mapped_column(server_default=ConversationStatus.ACTIVE)
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    backstory: Mapped[str | None] = content()
    model: Mapped[str | None]
    privacy: Mapped[bool] = mapped_column(server_default="false")
    privacy_policy: Mapped[dict[str, Any] | None] = policy_column()
    moderation: Mapped[bool] = mapped_column(server_default="false")
    expires_at: Mapped[datetime | None]
    meta: Mapped[dict[str, Any]] = meta_column()
    next_seq: Mapped[int] = mapped_column(server_default="1")
    purge_epoch: Mapped[int] = mapped_column(server_default="0")
    anonymised_seq: Mapped[int | None]
    last_message_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class Message(Base):
    """One utterance. (conversation, seq) is the order everywhere; gaps are legal, reuse is not.

    (run, step) is unique: a run's prompt and reply are written once, however often it is attempted.
    `pii` says where in the stored text entities stand, or what stands for them, and never what they are;
    null: none. `text_rev` rises with every change of the text; `pii_version` names what looked at it.
    `anonymised_at`: nothing of what it said of people is left; empty again once somebody changes it.
    """

    __tablename__ = "messages"
    __mapper_args__ = {"eager_defaults": False}  # noqa: RUF012 (SQLAlchemy's own protocol; `search` is not read back)
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq"),
        Index("ix_messages_search", "search", postgresql_using="gin"),
        ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["account_id", "run_id"], ["runs.account_id", "runs.id"], ondelete="SET NULL (run_id)"
        ),
        Index(
            "uq_messages_run_step", "run_id", "step", unique=True, postgresql_where=text("run_id IS NOT NULL")
        ),
        Index(
            "ix_messages_pii_types",
            "pii_types",
            postgresql_using="gin",
            postgresql_where=text("pii_types IS NOT NULL"),
        ),
        # Which conversations hold personal data, and messages that are neither a user's nor a bot's.
        Index(
            "ix_messages_pii", "account_id", "conversation_id", postgresql_where=text("pii_types IS NOT NULL")
        ),
        Index(
            "ix_messages_unspoken",
            "account_id",
            "type",
            "conversation_id",
            postgresql_where=text("type NOT IN ('user', 'bot')"),
        ),
        # What turns have summed up: it goes with any message before it.
        Index(
            "ix_messages_checkpoints",
            "conversation_id",
            "seq",
            postgresql_where=text("type = 'checkpoint'"),
        ),
        one_of("type", MessageType),
        CheckConstraint("pii_state IN ('pending', 'blocked', 'done')", name="pii_state"),
        CheckConstraint("(pii IS NULL) = (pii_types IS NULL)", name="pii_has_types"),
        CheckConstraint(f"octet_length(text) <= {MAX_TEXT_BYTES}", name="text_size"),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID]
    conversation_id: Mapped[uuid.UUID]
    seq: Mapped[int]
    type: Mapped[str]
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    text: Mapped[str] = content(nullable=False)
    meta: Mapped[dict[str, Any]] = meta_column()
    search: Mapped[str] = mapped_column(
        TSVECTOR,
        Computed("to_tsvector('simple', left(text, 100000))", persisted=True),
        deferred=True,
        info={"content": True},
    )
    pii: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB(none_as_null=True))
    pii_types: Mapped[list[str] | None] = mapped_column(ARRAY(TEXT))
    pii_state: Mapped[str | None]
    pii_version: Mapped[str | None]
    text_rev: Mapped[int] = mapped_column(server_default="1")
    anonymised_at: Mapped[datetime | None]
    run_id: Mapped[uuid.UUID | None]
    step: Mapped[str | None]
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()
