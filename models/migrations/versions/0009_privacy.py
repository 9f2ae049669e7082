"""Privacy: policies, what was found in messages and prompts, tokens, annotations, erasures and the audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
JSON = postgresql.JSONB(astext_type=sa.Text())
TIME = sa.DateTime(timezone=True)
BLANK = (
    "state <> 'deleted' OR (name IS NULL AND description IS NULL AND schedule IS NULL"
    " AND bot_id IS NULL AND contact_id IS NULL AND meta = '{}' AND assertions = '{}'"
)


def upgrade() -> None:
    for table in ("accounts", "bots", "conversations"):
        op.add_column(table, sa.Column("privacy_policy", JSON, nullable=True))
        op.execute(f"ALTER TABLE {table} ALTER COLUMN privacy_policy SET STATISTICS 0")
    for table in ("accounts", "bots"):
        op.add_column(table, sa.Column("privacy_rev", sa.Integer(), server_default="0", nullable=False))
    op.add_column("accounts", sa.Column("erased_at", TIME, nullable=True))
    op.create_check_constraint(
        op.f("ck_accounts_erased_has_no_key"),
        "accounts",
        "erased_at IS NULL OR (closed_at IS NOT NULL AND wrapped_key IS NULL)",
    )
    _messages()
    op.add_column("tasks", sa.Column("shield", JSON, nullable=True))
    op.add_column("tasks", sa.Column("shield_stamp", sa.Text(), nullable=True))
    op.execute("ALTER TABLE tasks ALTER COLUMN shield SET STATISTICS 0")
    op.drop_constraint(op.f("ck_tasks_tombstone_is_blank"), "tasks", type_="check")
    op.create_check_constraint(op.f("ck_tasks_tombstone_is_blank"), "tasks", f"{BLANK} AND shield IS NULL)")
    op.drop_constraint(op.f("ck_jobs_kind"), "jobs", type_="check")
    op.create_check_constraint(op.f("ck_jobs_kind"), "jobs", "kind IN ('backfill', 'annotate')")
    op.create_index(
        "uq_jobs_annotate",
        "jobs",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'annotate' AND state IN ('pending', 'running', 'paused')"),
    )
    _tokens()
    _annotations()
    _erasures()
    _audit()


def _messages() -> None:
    op.add_column("messages", sa.Column("pii", JSON, nullable=True))
    op.add_column("messages", sa.Column("pii_types", postgresql.ARRAY(sa.TEXT()), nullable=True))
    op.add_column("messages", sa.Column("pii_state", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("pii_version", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("text_rev", sa.Integer(), server_default="1", nullable=False))
    op.create_check_constraint(
        op.f("ck_messages_pii_state"), "messages", "pii_state IN ('pending', 'blocked', 'done')"
    )
    op.create_check_constraint(
        op.f("ck_messages_pii_has_types"), "messages", "(pii IS NULL) = (pii_types IS NULL)"
    )
    op.create_index(
        "ix_messages_pii_types",
        "messages",
        ["pii_types"],
        postgresql_using="gin",
        postgresql_where=sa.text("pii_types IS NOT NULL"),
    )


def _tokens() -> None:
    op.create_table(
        "pii_tokens",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            name=op.f("fk_pii_tokens_account_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("conversation_id", "token", name=op.f("pk_pii_tokens")),
    )
    op.execute("ALTER TABLE pii_tokens ALTER COLUMN token SET STATISTICS 0")


def _annotations() -> None:
    op.create_table(
        "annotations",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("text_rev", sa.Integer(), server_default="1", nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("run_at", TIME, server_default=NOW, nullable=False),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("hinted_at", TIME, nullable=True),
        sa.Column("hints", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.CheckConstraint("state IN ('pending', 'running', 'failed')", name=op.f("ck_annotations_state")),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_annotations_running_has_lease")
        ),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.id"],
            name=op.f("fk_annotations_message_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            name=op.f("fk_annotations_account_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["jobs.account_id", "jobs.id"],
            name=op.f("fk_annotations_account_id_job_id"),
            ondelete="SET NULL (job_id)",
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_annotations")),
    )
    op.create_index(
        "ix_annotations_due",
        "annotations",
        ["account_id", "run_at"],
        postgresql_where=sa.text("state IN ('pending', 'running')"),
    )
    op.create_index("ix_annotations_conversation", "annotations", ["conversation_id"])
    op.create_index(
        "ix_annotations_job",
        "annotations",
        ["job_id", "state"],
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )


def _erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("messages", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("conversations", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attachments", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("completed_at", TIME, nullable=True),
        sa.CheckConstraint(
            "kind IN ('message', 'conversation', 'contact', 'task', 'account')",
            name=op.f("ck_erasures_kind"),
        ),
        sa.CheckConstraint(
            "messages >= 0 AND conversations >= 0 AND attachments >= 0", name=op.f("ck_erasures_counters")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
        sa.UniqueConstraint(
            "account_id", "kind", "target_id", name=op.f("uq_erasures_account_id_kind_target_id")
        ),
    )
    op.create_index("ix_erasures_account", "erasures", ["account_id", "id"])


def _audit() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=True),
        sa.Column("details", JSON, server_default="{}", nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_audit_events_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index("ix_audit_events_account", "audit_events", ["account_id", "id"])
    op.create_table(
        "pii_days",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_pii_days_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", "day", "slot", "kind", name=op.f("pk_pii_days")),
    )


def downgrade() -> None:
    for table in ("pii_days", "audit_events", "erasures", "annotations", "pii_tokens"):
        op.drop_table(table)
    op.drop_index("uq_jobs_annotate", table_name="jobs")
    op.execute("DELETE FROM jobs WHERE kind = 'annotate'")
    op.drop_constraint(op.f("ck_jobs_kind"), "jobs", type_="check")
    op.create_check_constraint(op.f("ck_jobs_kind"), "jobs", "kind IN ('backfill')")
    op.drop_constraint(op.f("ck_tasks_tombstone_is_blank"), "tasks", type_="check")
    op.create_check_constraint(op.f("ck_tasks_tombstone_is_blank"), "tasks", f"{BLANK})")
    op.drop_column("tasks", "shield_stamp")
    op.drop_column("tasks", "shield")
    op.drop_index("ix_messages_pii_types", table_name="messages")
    op.drop_constraint(op.f("ck_messages_pii_has_types"), "messages", type_="check")
    op.drop_constraint(op.f("ck_messages_pii_state"), "messages", type_="check")
    for column in ("text_rev", "pii_version", "pii_state", "pii_types", "pii"):
        op.drop_column("messages", column)
    op.drop_constraint(op.f("ck_accounts_erased_has_no_key"), "accounts", type_="check")
    op.drop_column("accounts", "erased_at")
    for table in ("accounts", "bots"):
        op.drop_column(table, "privacy_rev")
    for table in ("accounts", "bots", "conversations"):
        op.drop_column(table, "privacy_policy")
