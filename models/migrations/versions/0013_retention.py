"""Retention: rules, legal holds, jobs that a rule has started, and marks on what was anonymised."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
TIME = sa.DateTime(timezone=True)
RULES, HOLDS = "retention_rules", "legal_holds"
CONTENT = ((RULES, "source"), (HOLDS, "reason"))


def upgrade() -> None:
    op.create_table(
        RULES,
        _id(),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        *(sa.Column(name, sa.Uuid(), nullable=True) for name in ("bot_id", "task_id")),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("what", sa.Text(), server_default="conversations", nullable=False),
        *_durations(),
        sa.Column("next_run_at", TIME, nullable=False),
        sa.Column("last_run_at", TIME, nullable=True),
        *(sa.Column(name, TIME, server_default=NOW, nullable=False) for name in ("created_at", "updated_at")),
        *_tenancy(RULES, {"bot": "bots", "task": "tasks"}),
        sa.CheckConstraint("what IN ('conversations', 'messages')", name=op.f("ck_retention_rules_what")),
        sa.CheckConstraint(
            "num_nonnulls(bot_id, task_id, source) <= 1", name=op.f("ck_retention_rules_one_scope")
        ),
        sa.CheckConstraint(
            "num_nonnulls(anonymise_days, delete_days) > 0", name=op.f("ck_retention_rules_does_something")
        ),
        sa.CheckConstraint(
            "(anonymise_days IS NULL) = (anonymise_after IS NULL)"
            " AND (delete_days IS NULL) = (delete_after IS NULL)",
            name=op.f("ck_retention_rules_days_of_durations"),
        ),
        sa.CheckConstraint(
            "anonymise_days > 0 AND delete_days > 0 AND delete_days > anonymise_days",
            name=op.f("ck_retention_rules_delete_is_later"),
        ),
    )
    op.create_index(
        "uq_retention_rules_scope",
        RULES,
        ["account_id", "bot_id", "task_id", "source"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_index("ix_retention_rules_due", RULES, ["next_run_at"])
    op.create_table(
        HOLDS,
        _id(),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        *(
            sa.Column(f"{name}_id", sa.Uuid(), nullable=True)
            for name in ("bot", "task", "contact", "conversation")
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("placed_by", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        *_tenancy(
            HOLDS, {"bot": "bots", "task": "tasks", "contact": "contacts", "conversation": "conversations"}
        ),
        sa.CheckConstraint(
            "num_nonnulls(bot_id, task_id, contact_id, conversation_id) <= 1",
            name=op.f("ck_legal_holds_one_thing"),
        ),
    )
    for table, links in (
        (RULES, ("bot", "task")),
        (HOLDS, ("bot", "task", "contact", "conversation")),
    ):
        for link in links:
            given = sa.text(f"{link}_id IS NOT NULL")
            op.create_index(f"ix_{table}_{link}", table, [f"{link}_id"], postgresql_where=given)
    for table, column in CONTENT:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
    _jobs()
    op.add_column("conversations", sa.Column("anonymised_seq", sa.Integer(), nullable=True))
    op.add_column("messages", sa.Column("anonymised_at", TIME, nullable=True))


def _jobs() -> None:
    op.add_column("jobs", sa.Column("rule_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_jobs_account_id_rule_id"),
        "jobs",
        RULES,
        ["account_id", "rule_id"],
        ["account_id", "id"],
        ondelete="SET NULL (rule_id)",
    )
    op.create_index("ix_jobs_rule", "jobs", ["rule_id"], postgresql_where=sa.text("rule_id IS NOT NULL"))
    op.create_index(
        "uq_jobs_rule",
        "jobs",
        ["rule_id", "kind"],
        unique=True,
        postgresql_where=sa.text("rule_id IS NOT NULL AND state IN ('pending', 'running', 'paused')"),
    )


def _id() -> sa.Column[object]:
    return sa.Column("id", sa.Uuid(), nullable=False)


def _durations() -> list[sa.Column[object]]:
    found: list[sa.Column[object]] = []
    for name in ("anonymise", "delete"):
        found.append(sa.Column(f"{name}_after", sa.Text(), nullable=True))
        found.append(sa.Column(f"{name}_days", sa.Integer(), nullable=True))
    return found


def _tenancy(table: str, links: dict[str, str]) -> list[sa.Constraint]:
    """Keys that keep a row with its account and with what it is about."""
    return [
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f(f"fk_{table}_account_id"), ondelete="CASCADE"
        ),
        *(
            sa.ForeignKeyConstraint(
                ["account_id", f"{link}_id"],
                [f"{target}.account_id", f"{target}.id"],
                name=op.f(f"fk_{table}_account_id_{link}_id"),
                ondelete="CASCADE",
            )
            for link, target in links.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("account_id", "id", name=op.f(f"uq_{table}_account_id_id")),
    ]


def downgrade() -> None:
    op.drop_column("messages", "anonymised_at")
    op.drop_column("conversations", "anonymised_seq")
    op.drop_index("uq_jobs_rule", table_name="jobs")
    op.drop_index("ix_jobs_rule", table_name="jobs")
    op.drop_constraint(op.f("fk_jobs_account_id_rule_id"), "jobs", type_="foreignkey")
    op.drop_column("jobs", "rule_id")
    op.drop_table(HOLDS)
    op.drop_table(RULES)
