"""Memories: what bots are to remember from one conversation to the next; receipts of those deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
TIME = sa.DateTime(timezone=True)
TABLE = "memories"
CONTENT = ("name", "description", "text", "meta", "search")
KINDS = "'message', 'conversation', 'contact', 'task', 'account', 'messages', 'conversations'"
LINKS = {"bot": "bots", "contact": "contacts", "conversation": "conversations"}


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        *(sa.Column(f"{link}_id", sa.Uuid(), nullable=True) for link in LINKS),
        sa.Column("seq", sa.Integer(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("meta", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed("to_tsvector('simple', text)", persisted=True),
            nullable=False,
        ),
        sa.Column("expires_at", TIME, nullable=True),
        *(sa.Column(name, TIME, server_default=NOW, nullable=False) for name in ("created_at", "updated_at")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f(f"fk_{TABLE}_account_id"), ondelete="CASCADE"
        ),
        *(
            sa.ForeignKeyConstraint(
                ["account_id", f"{link}_id"],
                [f"{target}.account_id", f"{target}.id"],
                name=op.f(f"fk_{TABLE}_account_id_{link}_id"),
                ondelete="CASCADE",
            )
            for link, target in LINKS.items()
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "run_id"],
            ["runs.account_id", "runs.id"],
            name=op.f(f"fk_{TABLE}_account_id_run_id"),
            ondelete="SET NULL (run_id)",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{TABLE}")),
        sa.UniqueConstraint("account_id", "id", name=op.f(f"uq_{TABLE}_account_id_id")),
        sa.CheckConstraint("char_length(text) <= 2000", name=op.f(f"ck_{TABLE}_text_size")),
        sa.CheckConstraint(
            "(conversation_id IS NULL) = (seq IS NULL)", name=op.f(f"ck_{TABLE}_derived_up_to")
        ),
    )
    for name, columns in (
        ("contact", ["contact_id", "bot_id", "id"]),
        ("bot", ["bot_id", "id"]),
        ("conversation", ["conversation_id", "seq"]),
        ("run", ["run_id"]),
        ("expires", ["expires_at"]),
    ):
        given = sa.text(f"{columns[0]} IS NOT NULL")
        op.create_index(f"ix_{TABLE}_{name}", TABLE, columns, postgresql_where=given)
    op.create_index(f"ix_{TABLE}_search", TABLE, ["search"], postgresql_using="gin")
    for column in CONTENT:
        op.execute(f"ALTER TABLE {TABLE} ALTER COLUMN {column} SET STATISTICS 0")
    _kinds(f"{KINDS}, 'memory'")


def downgrade() -> None:
    op.execute("DELETE FROM erasures WHERE kind = 'memory'")
    _kinds(KINDS)
    op.drop_table(TABLE)


def _kinds(kinds: str) -> None:
    op.drop_constraint(op.f("ck_erasures_kind"), "erasures", type_="check")
    op.create_check_constraint(op.f("ck_erasures_kind"), "erasures", f"kind IN ({kinds})")
