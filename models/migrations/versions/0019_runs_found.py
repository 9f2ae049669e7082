"""Runs are found by how they ended, why, and what asked for them, among however many."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_runs_unhappy",
        "runs",
        ["account_id", "id", "state", "error_class", "reason"],
        postgresql_where=sa.text("state IN ('failed', 'cancelled', 'skipped', 'missed')"),
    )
    op.create_index(
        "ix_runs_asked",
        "runs",
        ["account_id", "trigger", "id"],
        postgresql_where=sa.text("trigger IN ('manual', 'catch_up', 'backfill')"),
    )


def downgrade() -> None:
    op.drop_index("ix_runs_asked", table_name="runs")
    op.drop_index("ix_runs_unhappy", table_name="runs")
