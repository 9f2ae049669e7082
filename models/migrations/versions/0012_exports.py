"""Parts of contents that are still being put together: what an export has written so far."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

BEFORE = "'pending', 'stored'"
COMPLETE = "num_nulls(size, sha256, stored_at) = 0"


def upgrade() -> None:
    op.add_column("blobs", sa.Column("number", sa.Integer(), nullable=True))
    _checks(f"{BEFORE}, 'part'", f"state = 'pending' OR {COMPLETE}")
    op.create_check_constraint(
        op.f("ck_blobs_part_has_number"), "blobs", "(state = 'part') = (number IS NOT NULL)"
    )
    op.create_index(
        "uq_blobs_part",
        "blobs",
        ["file_id", "number"],
        unique=True,
        postgresql_where=sa.text("state = 'part'"),
    )


def downgrade() -> None:
    op.execute("DELETE FROM blobs WHERE state = 'part'")
    op.drop_index("uq_blobs_part", table_name="blobs", postgresql_where=sa.text("state = 'part'"))
    op.drop_constraint(op.f("ck_blobs_part_has_number"), "blobs", type_="check")
    _checks(BEFORE, f"state <> 'stored' OR {COMPLETE}")
    op.drop_column("blobs", "number")


def _checks(states: str, complete: str) -> None:
    for name, rule in (("state", f"state IN ({states})"), ("stored_is_complete", complete)):
        op.drop_constraint(op.f(f"ck_blobs_{name}"), "blobs", type_="check")
        op.create_check_constraint(op.f(f"ck_blobs_{name}"), "blobs", rule)
