"""The runs of an account by when they began and when they ended: what its event log is read off."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_runs_begun",
        "runs",
        ["account_id", "started_at"],
        postgresql_where=sa.text("started_at IS NOT NULL AND task_id IS NOT NULL"),
    )
    op.create_index(
        "ix_runs_ended",
        "runs",
        ["account_id", "finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL AND task_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_runs_ended", table_name="runs")
    op.drop_index("ix_runs_begun", table_name="runs")
