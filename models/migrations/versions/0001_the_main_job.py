"""The main job: accounts, bots, tasks, runs, conversations, messages, usage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Columns that can hold user content: the planner must keep no samples of deleted text.
CONTENT = {
    "accounts": ("name",),
    "api_tokens": ("name",),
    "bots": ("backstory", "description", "meta", "name"),
    "conversations": ("description", "meta", "name"),
    "messages": ("description", "meta", "name", "text"),
    "runs": ("summary",),
    "tasks": ("description", "meta", "name"),
}


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("settings", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.TEXT()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_on", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_api_tokens_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_api_tokens_token_sha256")),
    )
    op.create_index(op.f("ix_api_tokens_account_id"), "api_tokens", ["account_id"], unique=False)
    op.create_table(
        "bots",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("backstory", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_bots_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bots")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_bots_account_id_id")),
    )
    op.create_index(
        "uq_bots_default", "bots", ["account_id"], unique=True, postgresql_where=sa.text("is_default")
    )
    op.create_table(
        "login_links",
        sa.Column("code_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_login_links_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("code_sha256", name=op.f("pk_login_links")),
    )
    op.create_index(op.f("ix_login_links_account_id"), "login_links", ["account_id"], unique=False)
    op.create_table(
        "usage_days",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("runs", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("model_calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_usage_days_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", "day", name=op.f("pk_usage_days")),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), server_default="complete", nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("schedule", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("max_time_ms", sa.Integer(), nullable=True),
        sa.Column("max_iterations", sa.Integer(), nullable=True),
        sa.Column("max_tokens", sa.Integer(), nullable=True),
        sa.Column("consecutive_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("action IN ('complete', 'receive', 'send')", name=op.f("ck_tasks_action")),
        sa.CheckConstraint(
            "state <> 'deleted' OR (name IS NULL AND description IS NULL AND schedule IS NULL AND bot_id IS NULL AND meta = '{}')",
            name=op.f("ck_tasks_tombstone_is_blank"),
        ),
        sa.CheckConstraint("state IN ('active', 'paused', 'deleted')", name=op.f("ck_tasks_state")),
        sa.CheckConstraint("consecutive_failures >= 0", name=op.f("ck_tasks_consecutive_failures")),
        sa.CheckConstraint(
            "max_time_ms BETWEEN 0 AND 86400000 AND max_iterations BETWEEN 0 AND 100000 AND max_tokens >= 0",
            name=op.f("ck_tasks_limits"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "bot_id"],
            ["bots.account_id", "bots.id"],
            name=op.f("fk_tasks_account_id_bot_id"),
            ondelete="SET NULL (bot_id)",
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_tasks_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_tasks_account_id_id")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("scheduled_for", sa.DateTime(timezone=True), nullable=True),
        sa.Column("covers_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("covers_count", sa.Integer(), nullable=True),
        sa.Column("queue", sa.Text(), server_default="chat", nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("hinted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hints", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("delivery_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("model_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_runs_running_has_lease")
        ),
        sa.CheckConstraint(
            "(state IN ('pending', 'running')) = (finished_at IS NULL)",
            name=op.f("ck_runs_final_has_finished_at"),
        ),
        sa.CheckConstraint("action IN ('complete', 'receive', 'send')", name=op.f("ck_runs_action")),
        sa.CheckConstraint(
            "state <> 'failed' OR error_class IS NOT NULL", name=op.f("ck_runs_failed_has_class")
        ),
        sa.CheckConstraint(
            "state <> 'succeeded' OR error_class IS NULL", name=op.f("ck_runs_succeeded_has_no_class")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'running', 'succeeded', 'failed', 'cancelled', 'skipped', 'missed')",
            name=op.f("ck_runs_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('skipped', 'missed') OR reason IS NOT NULL", name=op.f("ck_runs_unrun_has_reason")
        ),
        sa.CheckConstraint(
            "trigger IN ('schedule', 'catch_up', 'manual', 'api')", name=op.f("ck_runs_trigger")
        ),
        sa.CheckConstraint("(covers_from IS NULL) = (covers_count IS NULL)", name=op.f("ck_runs_span")),
        sa.CheckConstraint(
            "attempt >= 0 AND crashes BETWEEN 0 AND 3 AND model_calls >= 0", name=op.f("ck_runs_counters")
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "task_id"],
            ["tasks.account_id", "tasks.id"],
            name=op.f("fk_runs_account_id_task_id"),
            ondelete="SET NULL (task_id)",
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_runs_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_runs_account_id_id")),
    )
    op.create_index(
        "ix_runs_active",
        "runs",
        ["task_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'running')"),
    )
    op.create_index("ix_runs_conversation", "runs", ["conversation_id", "id"], unique=False)
    op.create_index(
        "ix_runs_lease", "runs", ["lease_until"], unique=False, postgresql_where=sa.text("state = 'running'")
    )
    op.create_index(
        "ix_runs_pending",
        "runs",
        ["queue", "account_id", "run_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index("ix_runs_task", "runs", ["task_id", "id"], unique=False)
    op.create_index(
        "uq_runs_active_turn",
        "runs",
        ["conversation_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('pending', 'running')"),
    )
    op.create_index(
        "uq_runs_occurrence",
        "runs",
        ["task_id", "scheduled_for"],
        unique=True,
        postgresql_where=sa.text("trigger IN ('schedule', 'catch_up')"),
    )
    op.create_table(
        "task_clocks",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fire_errors", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "task_id"],
            ["tasks.account_id", "tasks.id"],
            name=op.f("fk_task_clocks_account_id_task_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_task_clocks")),
    )
    op.create_index("ix_task_clocks_account", "task_clocks", ["account_id", "task_id"], unique=False)
    op.create_index(
        "ix_task_clocks_due",
        "task_clocks",
        ["next_run_at"],
        unique=False,
        postgresql_where=sa.text("next_run_at IS NOT NULL"),
    )
    op.create_table(
        "conversations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=True),
        sa.Column("task_id", sa.Uuid(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("next_seq", sa.Integer(), server_default="1", nullable=False),
        sa.Column("purge_epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_message_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('active', 'archived')", name=op.f("ck_conversations_status")),
        sa.ForeignKeyConstraint(
            ["account_id", "bot_id"],
            ["bots.account_id", "bots.id"],
            name=op.f("fk_conversations_account_id_bot_id"),
            ondelete="SET NULL (bot_id)",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "run_id"],
            ["runs.account_id", "runs.id"],
            name=op.f("fk_conversations_account_id_run_id"),
            ondelete="SET NULL (run_id)",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "task_id"],
            ["tasks.account_id", "tasks.id"],
            name=op.f("fk_conversations_account_id_task_id"),
            ondelete="SET NULL (task_id)",
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_conversations_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_conversations_account_id_id")),
    )
    op.create_index(
        "ix_conversations_run",
        "conversations",
        ["run_id"],
        unique=False,
        postgresql_where=sa.text("run_id IS NOT NULL"),
    )
    op.create_index(
        "ix_conversations_task",
        "conversations",
        ["task_id", "id"],
        unique=False,
        postgresql_where=sa.text("task_id IS NOT NULL"),
    )
    op.create_table(
        "run_steps",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("delivery_id", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "run_id"],
            ["runs.account_id", "runs.id"],
            name=op.f("fk_run_steps_account_id_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "step", name=op.f("pk_run_steps")),
    )
    op.create_index("ix_run_steps_account", "run_steps", ["account_id", "run_id"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "type IN ('user', 'bot', 'reasoning', 'context', 'instruction', 'backstory', 'activity', 'checkpoint')",
            name=op.f("ck_messages_type"),
        ),
        sa.CheckConstraint("octet_length(text) <= 262144", name=op.f("ck_messages_text_size")),
        sa.ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            name=op.f("fk_messages_account_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "run_id"],
            ["runs.account_id", "runs.id"],
            name=op.f("fk_messages_account_id_run_id"),
            ondelete="SET NULL (run_id)",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("conversation_id", "seq", name=op.f("uq_messages_conversation_id_seq")),
    )
    op.create_index(
        "uq_messages_run_step",
        "messages",
        ["run_id", "step"],
        unique=True,
        postgresql_where=sa.text("run_id IS NOT NULL"),
    )
    op.create_foreign_key(
        "fk_runs_conversation",
        "runs",
        "conversations",
        ["account_id", "conversation_id"],
        ["account_id", "id"],
        ondelete="SET NULL (conversation_id)",
    )
    for table, columns in CONTENT.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
    # Every firing updates an indexed column of this table, so it is vacuumed early and often.
    op.execute(
        "ALTER TABLE task_clocks SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01,"
        " autovacuum_vacuum_cost_delay = 0)"
    )


def downgrade() -> None:
    op.drop_constraint("fk_runs_conversation", "runs", type_="foreignkey")
    op.drop_index(
        "uq_messages_run_step", table_name="messages", postgresql_where=sa.text("run_id IS NOT NULL")
    )
    op.drop_table("messages")
    op.drop_index("ix_run_steps_account", table_name="run_steps")
    op.drop_table("run_steps")
    op.drop_index(
        "ix_conversations_task", table_name="conversations", postgresql_where=sa.text("task_id IS NOT NULL")
    )
    op.drop_index(
        "ix_conversations_run", table_name="conversations", postgresql_where=sa.text("run_id IS NOT NULL")
    )
    op.drop_table("conversations")
    op.drop_index(
        "ix_task_clocks_due", table_name="task_clocks", postgresql_where=sa.text("next_run_at IS NOT NULL")
    )
    op.drop_index("ix_task_clocks_account", table_name="task_clocks")
    op.drop_table("task_clocks")
    op.drop_index(
        "uq_runs_occurrence",
        table_name="runs",
        postgresql_where=sa.text("trigger IN ('schedule', 'catch_up')"),
    )
    op.drop_index(
        "uq_runs_active_turn", table_name="runs", postgresql_where=sa.text("state IN ('pending', 'running')")
    )
    op.drop_index("ix_runs_task", table_name="runs")
    op.drop_index("ix_runs_pending", table_name="runs", postgresql_where=sa.text("state = 'pending'"))
    op.drop_index("ix_runs_lease", table_name="runs", postgresql_where=sa.text("state = 'running'"))
    op.drop_index("ix_runs_conversation", table_name="runs")
    op.drop_index(
        "ix_runs_active", table_name="runs", postgresql_where=sa.text("state IN ('pending', 'running')")
    )
    op.drop_table("runs")
    op.drop_table("tasks")
    op.drop_table("usage_days")
    op.drop_index(op.f("ix_login_links_account_id"), table_name="login_links")
    op.drop_table("login_links")
    op.drop_index("uq_bots_default", table_name="bots", postgresql_where=sa.text("is_default"))
    op.drop_table("bots")
    op.drop_index(op.f("ix_api_tokens_account_id"), table_name="api_tokens")
    op.drop_table("api_tokens")
    op.drop_table("accounts")
