"""Secrets that abilities use: sealed, and never read out again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
TIME = sa.DateTime(timezone=True)
TABLE = "secrets"
WRITTEN = ("name", "description", "alias", "blueprint_id")


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in WRITTEN),
        sa.Column("type", sa.Text(), server_default="plain", nullable=False),
        sa.Column("visibility", sa.Text(), server_default="private", nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("meta", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("last_used_at", TIME, nullable=True),
        *(sa.Column(name, TIME, server_default=NOW, nullable=False) for name in ("created_at", "updated_at")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_secrets_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_secrets")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_secrets_account_id_id")),
        sa.CheckConstraint("type IN ('plain', 'basic', 'bearer')", name=op.f("ck_secrets_type")),
        sa.CheckConstraint(
            "visibility IN ('private', 'protected', 'public')", name=op.f("ck_secrets_visibility")
        ),
    )
    for column in (*WRITTEN, "meta"):
        op.execute(f"ALTER TABLE {TABLE} ALTER COLUMN {column} SET STATISTICS 0")


def downgrade() -> None:
    op.drop_table(TABLE)
