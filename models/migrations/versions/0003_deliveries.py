"""Subscriptions to a task's events, their deliveries, and the key that seals an account's secrets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CONTENT = {"subscriptions": ("hint",)}


def upgrade() -> None:
    op.add_column("accounts", sa.Column("wrapped_key", sa.LargeBinary(), nullable=True))
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("events", postgresql.ARRAY(sa.TEXT()), nullable=False),
        sa.Column("include_text", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("consecutive_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('webhook', 'email')", name=op.f("ck_subscriptions_kind")),
        sa.CheckConstraint("state IN ('active', 'disabled')", name=op.f("ck_subscriptions_state")),
        sa.CheckConstraint(
            "(kind = 'webhook') = (secret IS NOT NULL)", name=op.f("ck_subscriptions_webhook_has_secret")
        ),
        sa.CheckConstraint("cardinality(events) > 0", name=op.f("ck_subscriptions_events")),
        sa.CheckConstraint(
            "(state = 'disabled') = (disabled_reason IS NOT NULL)",
            name=op.f("ck_subscriptions_disabled_has_reason"),
        ),
        sa.CheckConstraint("consecutive_failures >= 0", name=op.f("ck_subscriptions_consecutive_failures")),
        sa.ForeignKeyConstraint(
            ["account_id", "task_id"],
            ["tasks.account_id", "tasks.id"],
            name=op.f("fk_subscriptions_account_id_task_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_subscriptions_account_id_id")),
    )
    op.create_index("ix_subscriptions_task", "subscriptions", ["task_id", "id"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("occasion", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("hinted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hints", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "event IN ('success', 'recovery', 'failure', 'missed', 'budget', 'paused', 'test')",
            name=op.f("ck_deliveries_event"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'delivered', 'failed', 'cancelled')",
            name=op.f("ck_deliveries_state"),
        ),
        sa.CheckConstraint(
            "(state = 'sending') = (lease_until IS NOT NULL)", name=op.f("ck_deliveries_sending_has_lease")
        ),
        sa.CheckConstraint(
            "(state IN ('pending', 'sending')) = (finished_at IS NULL)",
            name=op.f("ck_deliveries_final_has_finished_at"),
        ),
        sa.CheckConstraint("attempt >= 0 AND epoch >= 0", name=op.f("ck_deliveries_counters")),
        sa.ForeignKeyConstraint(
            ["account_id", "subscription_id"],
            ["subscriptions.account_id", "subscriptions.id"],
            name=op.f("fk_deliveries_account_id_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "task_id"],
            ["tasks.account_id", "tasks.id"],
            name=op.f("fk_deliveries_account_id_task_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "run_id"],
            ["runs.account_id", "runs.id"],
            name=op.f("fk_deliveries_account_id_run_id"),
            ondelete="SET NULL (run_id)",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_deliveries_account_id_id")),
        sa.UniqueConstraint(
            "subscription_id",
            "event",
            "occasion",
            name=op.f("uq_deliveries_subscription_id_event_occasion"),
        ),
    )
    op.create_index("ix_deliveries_task", "deliveries", ["task_id", "id"])
    op.create_index(
        "ix_deliveries_run", "deliveries", ["run_id"], postgresql_where=sa.text("run_id IS NOT NULL")
    )
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["account_id", "run_at"],
        postgresql_where=sa.text("state IN ('pending', 'sending')"),
    )
    op.create_index(
        "ix_deliveries_sending",
        "deliveries",
        ["account_id", "subscription_id"],
        postgresql_where=sa.text("state = 'sending'"),
    )
    for table, columns in CONTENT.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")


def downgrade() -> None:
    op.drop_table("deliveries")
    op.drop_table("subscriptions")
    op.drop_column("accounts", "wrapped_key")
