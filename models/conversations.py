"""Conversations and their messages."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, content, created_column, id_column, meta_column, one_of

MAX_TEXT_BYTES = 256 * 1024


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
        Index("ix_conversations_task", "task_id", "id", postgresql_where=text("task_id IS NOT NULL")),
        Index("ix_conversations_run", "run_id", postgresql_where=text("run_id IS NOT NULL")),
        one_of("status", ConversationStatus),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    bot_id: Mapped[uuid.UUID | None]
    task_id: Mapped[uuid.UUID | None]
    run_id: Mapped[uuid.UUID | None]
    source: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=ConversationStatus.ACTIVE)
    name: Mapped[str | None] = content()
    description: Mapped[str | None] = content()
    meta: Mapped[dict[str, Any]] = meta_column()
    next_seq: Mapped[int] = mapped_column(server_default="1")
    purge_epoch: Mapped[int] = mapped_column(server_default="0")
    last_message_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()


class Message(Base):
    """One utterance. (conversation, seq) is the order everywhere; gaps are legal, reuse is not.

    (run, step) is unique: a run's prompt and reply are written once, however often it is attempted.
    """

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq"),
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
        one_of("type", MessageType),
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
    run_id: Mapped[uuid.UUID | None]
    step: Mapped[str | None]
    created_at: Mapped[datetime] = created_column()
    updated_at: Mapped[datetime] = created_column()
