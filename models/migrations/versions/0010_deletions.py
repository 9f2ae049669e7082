"""Bulk deletions: jobs that workers carry out in slices, the rate they keep, and receipts of many at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
TIME = sa.DateTime(timezone=True)
ONE = "'message', 'conversation', 'contact', 'task', 'account'"
COUNTERS = ("epoch", "attempt", "crashes", "hints")


def upgrade() -> None:
    _kind("jobs", "'backfill', 'annotate', 'delete'")
    for name in ("lease_until", "hinted_at"):
        op.add_column("jobs", sa.Column(name, TIME, nullable=True))
    for name in COUNTERS:
        op.add_column("jobs", sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    op.create_check_constraint(
        op.f("ck_jobs_lease_while_running"), "jobs", "lease_until IS NULL OR state = 'running'"
    )
    op.create_check_constraint(
        op.f("ck_jobs_work_counters"),
        "jobs",
        "crashes >= 0 AND attempt >= 0 AND epoch >= 0 AND hints >= 0",
    )
    op.create_table(
        "rate_buckets",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Float(), server_default="0", nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_rate_buckets_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", "kind", name=op.f("pk_rate_buckets")),
    )
    op.create_index(
        "ix_messages_checkpoints",
        "messages",
        ["conversation_id", "seq"],
        postgresql_where=sa.text("type = 'checkpoint'"),
    )
    _kind("erasures", f"{ONE}, 'messages', 'conversations'")
    op.add_column("erasures", sa.Column("job_id", sa.Uuid(), nullable=True))
    op.add_column("erasures", sa.Column("target_ids", postgresql.ARRAY(sa.Uuid()), nullable=True))
    op.create_check_constraint(
        op.f("ck_erasures_many_have_ids"),
        "erasures",
        "(kind IN ('messages', 'conversations')) = (target_ids IS NOT NULL)",
    )
    op.create_index("ix_erasures_job", "erasures", ["job_id"], postgresql_where=sa.text("job_id IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("ix_erasures_job", table_name="erasures")
    op.drop_constraint(op.f("ck_erasures_many_have_ids"), "erasures", type_="check")
    op.execute("DELETE FROM erasures WHERE kind IN ('messages', 'conversations')")
    op.drop_column("erasures", "target_ids")
    op.drop_column("erasures", "job_id")
    _kind("erasures", ONE)
    op.drop_index("ix_messages_checkpoints", table_name="messages")
    op.drop_table("rate_buckets")
    op.drop_constraint(op.f("ck_jobs_work_counters"), "jobs", type_="check")
    op.drop_constraint(op.f("ck_jobs_lease_while_running"), "jobs", type_="check")
    for name in (*reversed(COUNTERS), "hinted_at", "lease_until"):
        op.drop_column("jobs", name)
    op.execute("DELETE FROM jobs WHERE kind = 'delete'")
    _kind("jobs", "'backfill', 'annotate'")


def _kind(table: str, kinds: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_kind"), table, type_="check")
    op.create_check_constraint(op.f(f"ck_{table}_kind"), table, f"kind IN ({kinds})")
