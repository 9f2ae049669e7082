"""Knowledge: records are found by the stems of their language as well, and synchronisations are jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

LANGUAGES = (
    "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german",
    "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian",
    "portuguese", "romanian", "russian", "serbian", "simple", "spanish", "swedish", "tamil", "turkish", "yiddish",
)  # fmt: skip
LISTED = ", ".join(f"'{one}'" for one in LANGUAGES)
SEARCHED = "left(text, 100000)"
STEMS = " ".join(
    f"WHEN '{one}' THEN to_tsvector('{one}', {SEARCHED})" for one in LANGUAGES if one != "simple"
)
WORDS = (
    f"array_to_tsvector(ARRAY[dataset_id::text]) || to_tsvector('simple', {SEARCHED})"
    f" || CASE language {STEMS} ELSE ''::tsvector END"
)
BEFORE = "'backfill', 'annotate', 'delete', 'import', 'undo', 'export', 'anonymise'"


def upgrade() -> None:
    op.add_column("records", sa.Column("language", sa.Text(), server_default="english", nullable=False))
    op.create_check_constraint(op.f("ck_records_language"), "records", f"language IN ({LISTED})")
    _search(WORDS)
    _kinds(f"{BEFORE}, 'sync'")


def downgrade() -> None:
    op.execute("DELETE FROM jobs WHERE kind = 'sync'")
    _kinds(BEFORE)
    _search(f"to_tsvector('simple', {SEARCHED})")
    op.drop_constraint(op.f("ck_records_language"), "records", type_="check")
    op.drop_column("records", "language")


def _search(words: str) -> None:
    """An expression of a generated column cannot be changed before PostgreSQL 17: the column is made anew."""
    op.drop_index("ix_records_search", table_name="records", postgresql_using="gin")
    op.drop_column("records", "search")
    op.add_column(
        "records",
        sa.Column("search", postgresql.TSVECTOR(), sa.Computed(words, persisted=True), nullable=False),
    )
    op.create_index("ix_records_search", "records", ["search"], unique=False, postgresql_using="gin")
    op.execute("ALTER TABLE records ALTER COLUMN search SET STATISTICS 0")


def _kinds(kinds: str) -> None:
    op.drop_constraint(op.f("ck_jobs_kind"), "jobs", type_="check")
    op.create_check_constraint(op.f("ck_jobs_kind"), "jobs", f"kind IN ({kinds})")
