"""Runs that have lost two workers are found without reading the queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_runs_suspect",
        "runs",
        ["run_at"],
        postgresql_where=sa.text("state = 'pending' AND crashes >= 2"),
    )


def downgrade() -> None:
    op.drop_index("ix_runs_suspect", table_name="runs")
