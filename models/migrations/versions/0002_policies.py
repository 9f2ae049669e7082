"""Policies of tasks, the ledger of what did not run, and what a task may spend."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TASK_CHECKS = {
    "overlap": "overlap IN ('skip', 'queue', 'allow', 'cancel_previous')",
    "catch_up": "catch_up IN ('latest', 'all', 'none')",
    "conversation_mode": "conversation_mode IN ('new', 'reuse', 'one')",
    "reuse_has_duration": "(conversation_mode = 'reuse') = (session_duration IS NOT NULL)",
    "paused_until_is_paused": "paused_until IS NULL OR state = 'paused'",
    "starts_before_it_expires": "starts_at < expires_at",
}
BLANK = (
    "state <> 'deleted' OR (name IS NULL AND description IS NULL AND schedule IS NULL AND bot_id IS NULL"
    " AND meta = '{}'"
)
RUN_CHECKS = {
    "state": (
        "state IN ('pending', 'running', 'succeeded', 'failed', 'cancelled', 'skipped', 'missed')",
        "state IN ('waiting', 'pending', 'running', 'succeeded', 'failed', 'cancelled', 'skipped', 'missed')",
    ),
    "trigger": (
        "trigger IN ('schedule', 'catch_up', 'manual', 'api')",
        "trigger IN ('schedule', 'catch_up', 'manual', 'backfill', 'api')",
    ),
    "final_has_finished_at": (
        "(state IN ('pending', 'running')) = (finished_at IS NULL)",
        "(state IN ('waiting', 'pending', 'running')) = (finished_at IS NULL)",
    ),
}
SPENDING = ("runs", "usage_days")


def task_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("max_cost", sa.BigInteger(), nullable=True),
        sa.Column("max_tokens_per_day", sa.BigInteger(), nullable=True),
        sa.Column("max_cost_per_day", sa.BigInteger(), nullable=True),
        sa.Column("overlap", sa.Text(), server_default="skip", nullable=False),
        sa.Column("catch_up", sa.Text(), server_default="latest", nullable=False),
        sa.Column("catch_up_window", sa.Interval(), nullable=True),
        sa.Column("catch_up_max", sa.Integer(), nullable=True),
        sa.Column("jitter", sa.Interval(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("max_attempts", sa.Integer(), nullable=True),
        sa.Column("retry_delay", sa.Interval(), nullable=True),
        sa.Column("retry_on", postgresql.ARRAY(sa.TEXT()), nullable=True),
        sa.Column("conversation_mode", sa.Text(), server_default="new", nullable=False),
        sa.Column("session_duration", sa.Interval(), nullable=True),
        sa.Column("assertions", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("max_consecutive_failures", sa.Integer(), nullable=True),
    ]


def upgrade() -> None:
    op.add_column("accounts", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))
    for column in task_columns():
        op.add_column("tasks", column)
    for name, condition in TASK_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_tasks_{name}"), "tasks", condition)
    _recheck("tasks", "tombstone_is_blank", BLANK + " AND assertions = '{}')")
    op.add_column("task_clocks", sa.Column("rests_from", sa.DateTime(timezone=True), nullable=True))
    for name, (_, condition) in RUN_CHECKS.items():
        _recheck("runs", name, condition)
    for table in SPENDING:
        op.add_column(table, sa.Column("cost", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index(
        "uq_runs_waiting",
        "runs",
        ["task_id"],
        unique=True,
        postgresql_where=sa.text("state = 'waiting' AND trigger = 'schedule'"),
    )
    op.create_index(
        "ix_runs_waiting",
        "runs",
        ["task_id", "scheduled_for"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "task_usage_days",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("runs", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "task_id"],
            ["tasks.account_id", "tasks.id"],
            name=op.f("fk_task_usage_days_account_id_task_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("task_id", "day", name=op.f("pk_task_usage_days")),
    )
    op.create_index("ix_task_usage_days_account", "task_usage_days", ["account_id", "task_id"])
    op.execute("ALTER TABLE tasks ALTER COLUMN assertions SET STATISTICS 0")


def downgrade() -> None:
    op.drop_table("task_usage_days")
    op.execute("DELETE FROM runs WHERE state = 'waiting' OR trigger = 'backfill'")
    op.drop_index("ix_runs_waiting", table_name="runs")
    op.drop_index("uq_runs_waiting", table_name="runs")
    for table in SPENDING:
        op.drop_column(table, "cost")
    for name, (condition, _) in RUN_CHECKS.items():
        _recheck("runs", name, condition)
    op.drop_column("task_clocks", "rests_from")
    _recheck("tasks", "tombstone_is_blank", BLANK + ")")
    for name in TASK_CHECKS:
        op.drop_constraint(op.f(f"ck_tasks_{name}"), "tasks", type_="check")
    for column in task_columns():
        op.drop_column("tasks", column.name)
    op.drop_column("accounts", "closed_at")


def _recheck(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
