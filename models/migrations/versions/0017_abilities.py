"""Abilities that act: the schema of their arguments, and how they are carried out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

COLUMNS = ("parameters", "action")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("abilities", sa.Column(name, JSONB(), server_default="{}", nullable=False))
        op.execute(f"ALTER TABLE abilities ALTER COLUMN {name} SET STATISTICS 0")


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("abilities", name)
