"""Imports, exports and anonymising as jobs; what was imported under which key of its source."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BEFORE = "'backfill', 'annotate', 'delete'"
KINDS = f"{BEFORE}, 'import', 'undo', 'export', 'anonymise'"


def upgrade() -> None:
    _kind(KINDS)
    op.add_column("jobs", sa.Column("file_id", sa.Uuid(), nullable=True))
    op.add_column("jobs", sa.Column("counts", postgresql.JSONB(), server_default="{}", nullable=False))
    op.create_foreign_key(
        op.f("fk_jobs_account_id_file_id"),
        "jobs",
        "files",
        ["account_id", "file_id"],
        ["account_id", "id"],
        ondelete="SET NULL (file_id)",
    )
    op.create_index("ix_jobs_file", "jobs", ["file_id"], postgresql_where=sa.text("file_id IS NOT NULL"))
    op.create_table(
        "job_errors",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("row", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["jobs.account_id", "jobs.id"],
            name=op.f("fk_job_errors_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_job_errors")),
    )
    op.create_table(
        "import_keys",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=False),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.Column("members", sa.LargeBinary(), server_default=sa.text("''::bytea"), nullable=False),
        sa.Column("first_seq", sa.Integer(), nullable=True),
        sa.Column("last_seq", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('conversation', 'contact', 'task', 'bot')", name=op.f("ck_import_keys_kind")
        ),
        sa.CheckConstraint("octet_length(key) = 16", name=op.f("ck_import_keys_key_size")),
        sa.CheckConstraint("octet_length(members) % 10 = 0", name=op.f("ck_import_keys_members_size")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_import_keys_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "job_id"],
            ["jobs.account_id", "jobs.id"],
            name=op.f("fk_import_keys_account_id_job_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "kind", "key", "number", name=op.f("pk_import_keys")),
    )
    op.create_index("ix_import_keys_job", "import_keys", ["job_id"])


def downgrade() -> None:
    op.drop_table("import_keys")
    op.drop_table("job_errors")
    op.drop_index("ix_jobs_file", table_name="jobs")
    op.drop_constraint(op.f("fk_jobs_account_id_file_id"), "jobs", type_="foreignkey")
    op.drop_column("jobs", "counts")
    op.drop_column("jobs", "file_id")
    op.execute("DELETE FROM jobs WHERE kind IN ('import', 'undo', 'export', 'anonymise')")
    _kind(BEFORE)


def _kind(kinds: str) -> None:
    op.drop_constraint(op.f("ck_jobs_kind"), "jobs", type_="check")
    op.create_check_constraint(op.f("ck_jobs_kind"), "jobs", f"kind IN ({kinds})")
