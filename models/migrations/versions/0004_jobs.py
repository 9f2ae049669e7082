"""Jobs: long work with a cursor. The first kind runs a task's past occurrences."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CHECKS = {
    "kind": "kind IN ('backfill')",
    "state": (
        "state IN ('pending', 'running', 'paused', 'completed', 'completed_with_errors', 'cancelled', 'failed')"
    ),
    "final_has_finished_at": "(state IN ('pending', 'running', 'paused')) = (finished_at IS NULL)",
    "running_has_started_at": "state <> 'running' OR started_at IS NOT NULL",
    "failed_has_class": "state <> 'failed' OR error_class IS NOT NULL",
    "counters": "done >= 0 AND skipped >= 0 AND failed >= 0 AND done + skipped + failed <= total",
    "completed_adds_up": (
        "state NOT IN ('completed', 'completed_with_errors') OR done + skipped + failed = total"
    ),
    "completed_without_errors": "state <> 'completed' OR failed = 0",
}


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("params", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("skipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("run_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        *(sa.CheckConstraint(check, name=op.f(f"ck_jobs_{name}")) for name, check in CHECKS.items()),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_jobs_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "task_id"],
            ["tasks.account_id", "tasks.id"],
            name=op.f("fk_jobs_account_id_task_id"),
            ondelete="SET NULL (task_id)",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_jobs_account_id_id")),
    )
    op.create_index(
        "ix_jobs_due", "jobs", ["run_at"], postgresql_where=sa.text("state IN ('pending', 'running')")
    )
    op.create_index(
        "ix_jobs_task", "jobs", ["task_id", "id"], postgresql_where=sa.text("task_id IS NOT NULL")
    )
    op.execute("ALTER TABLE jobs ALTER COLUMN params SET STATISTICS 0")
    op.add_column("runs", sa.Column("backfill_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_runs_account_id_backfill_id"),
        "runs",
        "jobs",
        ["account_id", "backfill_id"],
        ["account_id", "id"],
        ondelete="SET NULL (backfill_id)",
    )
    op.create_index(
        "uq_runs_backfill",
        "runs",
        ["backfill_id", "scheduled_for"],
        unique=True,
        postgresql_where=sa.text("backfill_id IS NOT NULL"),
    )
    op.create_index(
        "ix_runs_backfill_open",
        "runs",
        ["backfill_id"],
        postgresql_where=sa.text("backfill_id IS NOT NULL AND state IN ('waiting', 'pending', 'running')"),
    )
    op.create_index(
        "ix_runs_backfilled",
        "runs",
        ["task_id", "scheduled_for"],
        postgresql_where=sa.text("trigger = 'backfill'"),
    )


def downgrade() -> None:
    for index in ("ix_runs_backfilled", "ix_runs_backfill_open", "uq_runs_backfill"):
        op.drop_index(index, table_name="runs")
    op.drop_column("runs", "backfill_id")
    op.drop_table("jobs")
