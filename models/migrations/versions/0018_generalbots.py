"""The second dialect: tokens of contacts, turns that wait behind a turn, and its tables as views."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0013"
branch_labels = None
depends_on = None

# What nobody may see before it was annotated is withheld here as everywhere.
SESSIONS = (
    "CREATE VIEW sessions WITH (security_invoker = true) AS"
    " SELECT id, contact_id AS user_id, bot_id, status, created_at,"
    "  GREATEST(updated_at, last_message_at) AS updated_at, account_id FROM conversations"
)
MESSAGE_HISTORY = (
    "CREATE VIEW message_history WITH (security_invoker = true) AS"
    " SELECT id, conversation_id AS session_id, type AS sender,"
    "  CASE WHEN pii_state = 'blocked' THEN '' ELSE text END AS content,"
    "  CASE WHEN pii_state = 'blocked' THEN '{}'::jsonb ELSE meta END AS metadata, created_at, account_id"
    " FROM messages WHERE type IN ('user', 'bot')"
)


def upgrade() -> None:
    op.add_column("api_tokens", sa.Column("contact_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_api_tokens_account_id_contact_id"),
        "api_tokens",
        "contacts",
        ["account_id", "contact_id"],
        ["account_id", "id"],
        ondelete="CASCADE",
    )
    op.create_index(
        "ix_api_tokens_contact",
        "api_tokens",
        ["contact_id"],
        postgresql_where=sa.text("contact_id IS NOT NULL"),
    )
    op.create_index(
        "uq_runs_follow_up",
        "runs",
        ["conversation_id"],
        unique=True,
        postgresql_where=sa.text("state = 'waiting' AND trigger = 'api'"),
    )
    op.execute(SESSIONS)
    op.execute(MESSAGE_HISTORY)


def downgrade() -> None:
    op.execute("DROP VIEW message_history")
    op.execute("DROP VIEW sessions")
    op.drop_index("uq_runs_follow_up", table_name="runs")
    op.drop_index("ix_api_tokens_contact", table_name="api_tokens")
    op.drop_constraint(op.f("fk_api_tokens_account_id_contact_id"), "api_tokens", type_="foreignkey")
    op.drop_column("api_tokens", "contact_id")
