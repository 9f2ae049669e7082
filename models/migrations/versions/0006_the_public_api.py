"""What the public API needs: contacts, ratings, knowledge, doors, counters, and where they hang."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CONTENT = {
    "bots": ("alias",),
    "conversations": ("backstory", "source"),
    "messages": ("search",),
    "contacts": ("fingerprint", "name", "description", "email", "phone", "nick", "preferences", "meta"),
    "ratings": ("reason",),
    "datasets": ("name", "description", "alias", "config", "meta"),
    "records": ("text", "source", "meta"),
    "skillsets": ("name", "description", "alias", "meta"),
    "abilities": ("name", "description", "instruction", "links", "meta"),
}
BLANK = "state <> 'deleted' OR (name IS NULL AND description IS NULL AND schedule IS NULL AND bot_id IS NULL AND meta = '{}' AND assertions = '{}')"
BLANK_NOW = "state <> 'deleted' OR (name IS NULL AND description IS NULL AND schedule IS NULL AND bot_id IS NULL AND contact_id IS NULL AND meta = '{}' AND assertions = '{}')"
LIMITS = "max_time_ms BETWEEN 0 AND 86400000 AND max_iterations BETWEEN 0 AND 100000 AND max_tokens >= 0"
LIMITS_NOW = "max_time_ms BETWEEN 0 AND 86400000 AND max_iterations BETWEEN 0 AND 100000 AND max_tokens >= 0 AND max_calls BETWEEN 0 AND 100000"


def upgrade() -> None:  # noqa: PLR0915 (written by the migration tool)
    op.create_table(
        "contacts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("nick", sa.Text(), nullable=True),
        sa.Column("preferences", sa.Text(), nullable=True),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_contacts_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts")),
        sa.UniqueConstraint("account_id", "fingerprint", name=op.f("uq_contacts_account_id_fingerprint")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_contacts_account_id_id")),
    )
    op.create_table(
        "datasets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("alias", sa.Text(), nullable=True),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("visibility", sa.Text(), server_default="private", nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "visibility IN ('private', 'protected', 'public')", name=op.f("ck_datasets_visibility")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_datasets_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_datasets_account_id_id")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("key_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_idempotency_keys_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", "key_sha256", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "skillsets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("alias", sa.Text(), nullable=True),
        sa.Column("visibility", sa.Text(), server_default="private", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "visibility IN ('private', 'protected', 'public')", name=op.f("ck_skillsets_visibility")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_skillsets_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_skillsets")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_skillsets_account_id_id")),
    )
    op.create_table(
        "abilities",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("skillset_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("instruction", sa.Text(), nullable=False),
        sa.Column("links", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(instruction) <= 262144", name=op.f("ck_abilities_instruction_size")),
        sa.ForeignKeyConstraint(
            ["account_id", "skillset_id"],
            ["skillsets.account_id", "skillsets.id"],
            name=op.f("fk_abilities_account_id_skillset_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_abilities")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_abilities_account_id_id")),
    )
    op.create_index("ix_abilities_skillset", "abilities", ["skillset_id", "id"], unique=False)
    op.create_table(
        "records",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(text) <= 262144", name=op.f("ck_records_text_size")),
        sa.ForeignKeyConstraint(
            ["account_id", "dataset_id"],
            ["datasets.account_id", "datasets.id"],
            name=op.f("fk_records_account_id_dataset_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_records")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_records_account_id_id")),
    )
    op.create_index("ix_records_dataset", "records", ["dataset_id", "id"], unique=False)
    op.create_table(
        "session_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            name=op.f("fk_session_tokens_account_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_session_tokens_token_sha256")),
    )
    op.create_index("ix_session_tokens_conversation", "session_tokens", ["conversation_id"], unique=False)
    op.create_index("ix_session_tokens_expires", "session_tokens", ["expires_at"], unique=False)
    op.create_table(
        "ratings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "num_nonnulls(bot_id, conversation_id) > 0", name=op.f("ck_ratings_is_about_something")
        ),
        sa.CheckConstraint("value BETWEEN -100 AND 100 AND value <> 0", name=op.f("ck_ratings_value")),
        sa.ForeignKeyConstraint(
            ["account_id", "bot_id"],
            ["bots.account_id", "bots.id"],
            name=op.f("fk_ratings_account_id_bot_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "contact_id"],
            ["contacts.account_id", "contacts.id"],
            name=op.f("fk_ratings_account_id_contact_id"),
            ondelete="SET NULL (contact_id)",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            name=op.f("fk_ratings_account_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_ratings_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_ratings_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ratings")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_ratings_account_id_id")),
    )
    op.create_index(
        "ix_ratings_bot",
        "ratings",
        ["bot_id", "id"],
        unique=False,
        postgresql_where=sa.text("bot_id IS NOT NULL"),
    )
    op.create_index(
        "ix_ratings_contact",
        "ratings",
        ["contact_id", "id"],
        unique=False,
        postgresql_where=sa.text("contact_id IS NOT NULL"),
    )
    op.create_index(
        "ix_ratings_conversation",
        "ratings",
        ["conversation_id"],
        unique=False,
        postgresql_where=sa.text("conversation_id IS NOT NULL"),
    )
    op.create_index(
        "ix_ratings_message",
        "ratings",
        ["message_id"],
        unique=False,
        postgresql_where=sa.text("message_id IS NOT NULL"),
    )
    op.add_column("bots", sa.Column("dataset_id", sa.Uuid(), nullable=True))
    op.add_column("bots", sa.Column("skillset_id", sa.Uuid(), nullable=True))
    op.add_column("bots", sa.Column("privacy", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("bots", sa.Column("moderation", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("bots", sa.Column("visibility", sa.Text(), server_default="private", nullable=False))
    op.add_column("bots", sa.Column("alias", sa.Text(), nullable=True))
    op.create_foreign_key(
        op.f("fk_bots_account_id_skillset_id"),
        "bots",
        "skillsets",
        ["account_id", "skillset_id"],
        ["account_id", "id"],
        ondelete="SET NULL (skillset_id)",
    )
    op.create_foreign_key(
        op.f("fk_bots_account_id_dataset_id"),
        "bots",
        "datasets",
        ["account_id", "dataset_id"],
        ["account_id", "id"],
        ondelete="SET NULL (dataset_id)",
    )
    op.add_column("conversations", sa.Column("contact_id", sa.Uuid(), nullable=True))
    op.add_column("conversations", sa.Column("dataset_id", sa.Uuid(), nullable=True))
    op.add_column("conversations", sa.Column("skillset_id", sa.Uuid(), nullable=True))
    op.add_column("conversations", sa.Column("backstory", sa.Text(), nullable=True))
    op.add_column("conversations", sa.Column("model", sa.Text(), nullable=True))
    op.add_column("conversations", sa.Column("privacy", sa.Boolean(), server_default="false", nullable=False))
    op.add_column(
        "conversations", sa.Column("moderation", sa.Boolean(), server_default="false", nullable=False)
    )
    op.add_column("conversations", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_conversations_bot", "conversations", ["bot_id", "id"], unique=False)
    op.create_index(
        "ix_conversations_contact",
        "conversations",
        ["contact_id", "id"],
        unique=False,
        postgresql_where=sa.text("contact_id IS NOT NULL"),
    )
    op.create_index(
        "ix_conversations_dataset",
        "conversations",
        ["dataset_id"],
        unique=False,
        postgresql_where=sa.text("dataset_id IS NOT NULL"),
    )
    op.create_index(
        "ix_conversations_expires",
        "conversations",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_conversations_skillset",
        "conversations",
        ["skillset_id"],
        unique=False,
        postgresql_where=sa.text("skillset_id IS NOT NULL"),
    )
    op.create_index(
        "ix_conversations_search",
        "conversations",
        [
            sa.literal_column(
                "to_tsvector('simple', (COALESCE(name, '') || ' ') || COALESCE(description, ''))"
            )
        ],
        unique=False,
        postgresql_using="gin",
    )
    op.execute("ALTER INDEX ix_conversations_search ALTER COLUMN 1 SET STATISTICS 0")
    op.create_foreign_key(
        op.f("fk_conversations_account_id_contact_id"),
        "conversations",
        "contacts",
        ["account_id", "contact_id"],
        ["account_id", "id"],
        ondelete="SET NULL (contact_id)",
    )
    op.create_foreign_key(
        op.f("fk_conversations_account_id_skillset_id"),
        "conversations",
        "skillsets",
        ["account_id", "skillset_id"],
        ["account_id", "id"],
        ondelete="SET NULL (skillset_id)",
    )
    op.create_foreign_key(
        op.f("fk_conversations_account_id_dataset_id"),
        "conversations",
        "datasets",
        ["account_id", "dataset_id"],
        ["account_id", "id"],
        ondelete="SET NULL (dataset_id)",
    )
    op.add_column(
        "messages",
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed("to_tsvector('simple', left(text, 100000))", persisted=True),
            nullable=False,
        ),
    )
    op.create_index("ix_messages_search", "messages", ["search"], unique=False, postgresql_using="gin")
    op.add_column(
        "runs",
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
    )
    op.add_column("runs", sa.Column("channel", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("end_reason", sa.Text(), nullable=True))
    op.create_index(
        "uq_runs_channel",
        "runs",
        ["account_id", "channel"],
        unique=True,
        postgresql_where=sa.text("channel IS NOT NULL"),
    )
    op.add_column("runs", sa.Column("request", sa.LargeBinary(), nullable=True))
    op.add_column("tasks", sa.Column("contact_id", sa.Uuid(), nullable=True))
    op.add_column("tasks", sa.Column("max_calls", sa.Integer(), nullable=True))
    op.create_index("ix_tasks_bot", "tasks", ["bot_id", "id"], unique=False)
    op.create_index(
        "ix_tasks_contact",
        "tasks",
        ["contact_id", "id"],
        unique=False,
        postgresql_where=sa.text("contact_id IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("fk_tasks_account_id_contact_id"),
        "tasks",
        "contacts",
        ["account_id", "contact_id"],
        ["account_id", "id"],
        ondelete="SET NULL (contact_id)",
    )
    op.add_column("usage_days", sa.Column("slot", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column(
        "usage_days", sa.Column("conversations", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.add_column("usage_days", sa.Column("messages", sa.BigInteger(), server_default="0", nullable=False))
    op.drop_constraint(op.f("pk_usage_days"), "usage_days")
    op.create_primary_key(op.f("pk_usage_days"), "usage_days", ["account_id", "day", "slot"])
    _check("tasks", "tombstone_is_blank", BLANK_NOW)
    _check("tasks", "limits", LIMITS_NOW)
    op.create_check_constraint(
        op.f("ck_runs_request_ends_with_run"), "runs", "request IS NULL OR finished_at IS NULL"
    )
    op.create_check_constraint(
        op.f("ck_bots_visibility"), "bots", "visibility IN ('private', 'protected', 'public')"
    )
    for table, columns in CONTENT.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")


def downgrade() -> None:  # noqa: PLR0915 (the same)
    op.drop_constraint(op.f("ck_bots_visibility"), "bots")
    op.drop_constraint(op.f("ck_runs_request_ends_with_run"), "runs")
    _check("tasks", "limits", LIMITS)
    _check("tasks", "tombstone_is_blank", BLANK)
    op.execute(
        "WITH moved AS (DELETE FROM usage_days WHERE slot > 0 RETURNING *), summed AS ("
        " SELECT account_id, day, sum(runs) AS runs, sum(model_calls) AS model_calls,"
        "  sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost"
        "  FROM moved GROUP BY account_id, day)"
        " INSERT INTO usage_days AS u (account_id, day, runs, model_calls, input_tokens, output_tokens, cost)"
        " SELECT * FROM summed ON CONFLICT (account_id, day, slot) DO UPDATE SET runs = u.runs + excluded.runs,"
        " model_calls = u.model_calls + excluded.model_calls, input_tokens = u.input_tokens + excluded.input_tokens,"
        " output_tokens = u.output_tokens + excluded.output_tokens, cost = u.cost + excluded.cost"
    )
    op.drop_constraint(op.f("pk_usage_days"), "usage_days")
    op.create_primary_key(op.f("pk_usage_days"), "usage_days", ["account_id", "day"])
    op.drop_column("usage_days", "messages")
    op.drop_column("usage_days", "conversations")
    op.drop_column("usage_days", "slot")
    op.drop_constraint(op.f("fk_tasks_account_id_contact_id"), "tasks", type_="foreignkey")
    op.drop_index("ix_tasks_contact", table_name="tasks", postgresql_where=sa.text("contact_id IS NOT NULL"))
    op.drop_index("ix_tasks_bot", table_name="tasks")
    op.drop_column("tasks", "max_calls")
    op.drop_column("tasks", "contact_id")
    op.drop_index("uq_runs_channel", table_name="runs")
    op.drop_column("runs", "end_reason")
    op.drop_column("runs", "channel")
    op.drop_column("runs", "request")
    op.drop_column("runs", "params")
    op.drop_index("ix_messages_search", table_name="messages", postgresql_using="gin")
    op.drop_column("messages", "search")
    op.drop_constraint(op.f("fk_conversations_account_id_dataset_id"), "conversations", type_="foreignkey")
    op.drop_constraint(op.f("fk_conversations_account_id_skillset_id"), "conversations", type_="foreignkey")
    op.drop_constraint(op.f("fk_conversations_account_id_contact_id"), "conversations", type_="foreignkey")
    op.drop_index("ix_conversations_search", table_name="conversations", postgresql_using="gin")
    op.drop_index(
        "ix_conversations_skillset",
        table_name="conversations",
        postgresql_where=sa.text("skillset_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_conversations_expires",
        table_name="conversations",
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_conversations_dataset",
        table_name="conversations",
        postgresql_where=sa.text("dataset_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_conversations_contact",
        table_name="conversations",
        postgresql_where=sa.text("contact_id IS NOT NULL"),
    )
    op.drop_index("ix_conversations_bot", table_name="conversations")
    op.drop_column("conversations", "expires_at")
    op.drop_column("conversations", "moderation")
    op.drop_column("conversations", "privacy")
    op.drop_column("conversations", "model")
    op.drop_column("conversations", "backstory")
    op.drop_column("conversations", "skillset_id")
    op.drop_column("conversations", "dataset_id")
    op.drop_column("conversations", "contact_id")
    op.drop_constraint(op.f("fk_bots_account_id_dataset_id"), "bots", type_="foreignkey")
    op.drop_constraint(op.f("fk_bots_account_id_skillset_id"), "bots", type_="foreignkey")
    op.drop_column("bots", "alias")
    op.drop_column("bots", "visibility")
    op.drop_column("bots", "moderation")
    op.drop_column("bots", "privacy")
    op.drop_column("bots", "skillset_id")
    op.drop_column("bots", "dataset_id")
    op.drop_index(
        "ix_ratings_message", table_name="ratings", postgresql_where=sa.text("message_id IS NOT NULL")
    )
    op.drop_index(
        "ix_ratings_conversation",
        table_name="ratings",
        postgresql_where=sa.text("conversation_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_ratings_contact", table_name="ratings", postgresql_where=sa.text("contact_id IS NOT NULL")
    )
    op.drop_index("ix_ratings_bot", table_name="ratings", postgresql_where=sa.text("bot_id IS NOT NULL"))
    op.drop_table("ratings")
    op.drop_index("ix_session_tokens_expires", table_name="session_tokens")
    op.drop_index("ix_session_tokens_conversation", table_name="session_tokens")
    op.drop_table("session_tokens")
    op.drop_index("ix_records_dataset", table_name="records")
    op.drop_table("records")
    op.drop_index("ix_abilities_skillset", table_name="abilities")
    op.drop_table("abilities")
    op.drop_table("skillsets")
    op.drop_index("ix_idempotency_keys_created", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_table("datasets")
    op.drop_table("contacts")
    op.execute("ALTER TABLE conversations ALTER COLUMN source SET STATISTICS -1")


def _check(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
