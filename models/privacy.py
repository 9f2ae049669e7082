"""Privacy: what can be restored, what is still to be looked at, and what was erased or revealed."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, created_column, id_column, one_of


class PiiState(StrEnum):
    """How far a message's text has been looked at; null: its conversation has no privacy."""

    PENDING = "pending"  # detected and redacted before it was stored; the annotation is to come
    BLOCKED = "blocked"  # the same, and nobody is shown the text before it
    DONE = "done"


class AnnotationState(StrEnum):
    """pending ⇄ running → the row goes; running → failed."""

    PENDING = "pending"
    RUNNING = "running"
    FAILED = "failed"


class ErasureKind(StrEnum):
    """What was erased for good."""

    MESSAGE = "message"
    CONVERSATION = "conversation"
    CONTACT = "contact"
    TASK = "task"
    MEMORY = "memory"
    ACCOUNT = "account"
    MESSAGES = "messages"  # many at once, named in `target_ids`
    CONVERSATIONS = "conversations"


class PiiToken(Base):
    """The value behind a token of a conversation, sealed with the account's key: the only way back.

    The token is made from the value (core/privacy/tokens.py), so however often one is minted there is one.
    """

    __tablename__ = "pii_tokens"
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            ondelete="CASCADE",
        ),
    )

    conversation_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True, info={"content": True})
    account_id: Mapped[uuid.UUID]
    value: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = created_column()


class Annotation(Base):
    """A message whose text a worker is to look at again; the row goes when it has.

    Of one message there is at most one: what changes meanwhile raises `text_rev` and begins it anew. A row
    that is being worked on has a lease, and its `run_at` is the lease's end: due again by itself. A
    job that asked for it counts it.
    """

    __tablename__ = "annotations"
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            ondelete="CASCADE",
        ),
        Index(
            "ix_annotations_due",
            "account_id",
            "run_at",
            postgresql_where=text("state IN ('pending', 'running')"),
        ),
        ForeignKeyConstraint(
            ["account_id", "job_id"], ["jobs.account_id", "jobs.id"], ondelete="SET NULL (job_id)"
        ),
        Index("ix_annotations_conversation", "conversation_id"),
        Index("ix_annotations_job", "job_id", "state", postgresql_where=text("job_id IS NOT NULL")),
        one_of("state", AnnotationState),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="running_has_lease"),
    )

    message_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True
    )
    account_id: Mapped[uuid.UUID]
    conversation_id: Mapped[uuid.UUID]
    job_id: Mapped[uuid.UUID | None]
    text_rev: Mapped[int] = mapped_column(server_default="1")
    state: Mapped[str] = mapped_column(server_default=AnnotationState.PENDING)
    run_at: Mapped[datetime] = created_column()
    lease_until: Mapped[datetime | None]
    epoch: Mapped[int] = mapped_column(server_default="0")
    attempt: Mapped[int] = mapped_column(server_default="0")
    hinted_at: Mapped[datetime | None]
    hints: Mapped[int] = mapped_column(server_default="0")
    error_code: Mapped[str | None]
    created_at: Mapped[datetime] = created_column()


class Erasure(Base):
    """The receipt of a deletion: what, when, by whom, how much; never what it said.

    Kept after what it is about, so that it can be applied to a restored backup. Of a target there is one.
    What goes slice by slice is counted slice by slice, and has no `completed_at` before the last one. What a
    job deletes has a receipt for every thousand or so, which names them.
    """

    __tablename__ = "erasures"
    __table_args__ = (
        UniqueConstraint("account_id", "kind", "target_id"),
        Index("ix_erasures_account", "account_id", "id"),
        one_of("kind", ErasureKind),
        CheckConstraint("messages >= 0 AND conversations >= 0 AND attachments >= 0", name="counters"),
        CheckConstraint(
            "(kind IN ('messages', 'conversations')) = (target_ids IS NOT NULL)", name="many_have_ids"
        ),
        Index("ix_erasures_job", "job_id", postgresql_where=text("job_id IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    target_id: Mapped[uuid.UUID]
    conversation_id: Mapped[uuid.UUID | None]
    job_id: Mapped[uuid.UUID | None]
    target_ids: Mapped[list[uuid.UUID] | None] = mapped_column(ARRAY(Uuid()), deferred=True)
    messages: Mapped[int] = mapped_column(BigInteger, server_default="0")
    conversations: Mapped[int] = mapped_column(BigInteger, server_default="0")
    attachments: Mapped[int] = mapped_column(BigInteger, server_default="0")
    actor: Mapped[str | None]
    created_at: Mapped[datetime] = created_column()
    completed_at: Mapped[datetime | None]


class AuditEvent(Base):
    """Who did what with what is private: ids, counts and times, never a value."""

    __tablename__ = "audit_events"
    __table_args__ = (Index("ix_audit_events_account", "account_id", "id"),)

    id: Mapped[uuid.UUID] = id_column()
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    actor: Mapped[str | None]
    action: Mapped[str]
    target_id: Mapped[uuid.UUID | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    created_at: Mapped[datetime] = created_column()


class PiiDay(Base):
    """How many entities of a kind were found, by account and UTC day, over slots as `usage_days` is."""

    __tablename__ = "pii_days"

    account_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[date] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger, server_default="0")
