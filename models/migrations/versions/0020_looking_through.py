"""Looking through conversations: which hold personal data, or a message that nobody spoke."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_messages_pii",
        "messages",
        ["account_id", "conversation_id"],
        postgresql_where=sa.text("pii_types IS NOT NULL"),
    )
    op.create_index(
        "ix_messages_unspoken",
        "messages",
        ["account_id", "type", "conversation_id"],
        postgresql_where=sa.text("type NOT IN ('user', 'bot')"),
    )


def downgrade() -> None:
    op.drop_index("ix_messages_unspoken", table_name="messages")
    op.drop_index("ix_messages_pii", table_name="messages")
