"""Contacts found by how their names begin."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

NAMED = "lower(substr(COALESCE(name, nick), 1, 100))"


def upgrade() -> None:
    op.create_index("ix_contacts_named", "contacts", ["account_id", sa.text(f"{NAMED} text_pattern_ops")])
    op.execute("ALTER INDEX ix_contacts_named ALTER COLUMN 2 SET STATISTICS 0")


def downgrade() -> None:
    op.drop_index("ix_contacts_named", table_name="contacts")
