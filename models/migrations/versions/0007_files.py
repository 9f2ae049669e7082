"""Files, attachments and their content; records are found by their words."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CONTENT = {
    "files": ("name", "description", "alias", "blueprint_id", "meta"),
    "attachments": ("meta",),
    "blobs": ("name", "type"),
    "records": ("search",),
    "skillsets": ("blueprint_id",),
}
# Whatever deletes a blob's row, a cascade included, leaves a note of the bytes outside. Somebody may still be
# writing those of a pending one, so it is looked after for longer than a writing may take.
KEEP_LEFTOVERS = """
CREATE FUNCTION keep_blob_leftovers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO blob_leftovers (id, account_id, until)
  SELECT id, account_id, CASE state WHEN 'pending' THEN now() + interval '2 hours' ELSE now() END FROM gone
  ON CONFLICT (id) DO NOTHING;
  RETURN NULL;
END $$
"""
ON_DELETE = """
CREATE TRIGGER blobs_keep_leftovers AFTER DELETE ON blobs REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION keep_blob_leftovers()
"""


def upgrade() -> None:
    _files()
    _attachments()
    _blobs()
    _tickets_and_leftovers()
    _dataset_files()
    op.add_column("skillsets", sa.Column("blueprint_id", sa.Text(), nullable=True))
    op.add_column("records", sa.Column("file_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_records_account_id_file_id"),
        "records",
        "files",
        ["account_id", "file_id"],
        ["account_id", "id"],
        ondelete="SET NULL (file_id)",
    )
    op.create_index(
        "ix_records_file",
        "records",
        ["file_id", "dataset_id"],
        unique=False,
        postgresql_where=sa.text("file_id IS NOT NULL"),
    )
    op.add_column(
        "records",
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed("to_tsvector('simple', left(text, 100000))", persisted=True),
            nullable=False,
        ),
    )
    op.create_index("ix_records_search", "records", ["search"], unique=False, postgresql_using="gin")
    op.execute(KEEP_LEFTOVERS)
    op.execute(ON_DELETE)
    for table, columns in CONTENT.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")


def downgrade() -> None:
    op.drop_index("ix_records_search", table_name="records", postgresql_using="gin")
    op.drop_column("records", "search")
    op.drop_index("ix_records_file", table_name="records", postgresql_where=sa.text("file_id IS NOT NULL"))
    op.drop_constraint(op.f("fk_records_account_id_file_id"), "records", type_="foreignkey")
    op.drop_column("records", "file_id")
    op.drop_column("skillsets", "blueprint_id")
    for table in ("dataset_files", "blob_leftovers", "blob_tickets", "blobs", "attachments", "files"):
        op.drop_table(table)
    op.execute("DROP FUNCTION keep_blob_leftovers()")


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("alias", sa.Text(), nullable=True),
        sa.Column("blueprint_id", sa.Text(), nullable=True),
        sa.Column("visibility", sa.Text(), server_default="private", nullable=False),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "visibility IN ('private', 'protected', 'public')", name=op.f("ck_files_visibility")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_files_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_files_account_id_id")),
    )


def _attachments() -> None:
    op.create_table(
        "attachments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "conversation_id"],
            ["conversations.account_id", "conversations.id"],
            name=op.f("fk_attachments_account_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_attachments_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_attachments_account_id_id")),
    )
    op.create_index("ix_attachments_conversation", "attachments", ["conversation_id", "id"], unique=False)
    op.create_index(
        "ix_attachments_message",
        "attachments",
        ["message_id"],
        unique=False,
        postgresql_where=sa.text("message_id IS NOT NULL"),
    )


def _blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("attachment_id", sa.Uuid(), nullable=True),
        sa.Column("file_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'stored')", name=op.f("ck_blobs_state")),
        sa.CheckConstraint("num_nonnulls(attachment_id, file_id) > 0", name=op.f("ck_blobs_is_of_something")),
        sa.CheckConstraint("size >= 0", name=op.f("ck_blobs_size")),
        sa.CheckConstraint(
            "state <> 'stored' OR num_nulls(size, sha256, stored_at) = 0",
            name=op.f("ck_blobs_stored_is_complete"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "attachment_id"],
            ["attachments.account_id", "attachments.id"],
            name=op.f("fk_blobs_account_id_attachment_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "file_id"],
            ["files.account_id", "files.id"],
            name=op.f("fk_blobs_account_id_file_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blobs")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_blobs_account_id_id")),
    )
    for name, column, unique, where in (
        ("uq_blobs_attachment", "attachment_id", True, "attachment_id IS NOT NULL"),
        ("ix_blobs_file", "file_id", False, "file_id IS NOT NULL"),
        ("uq_blobs_file_stored", "file_id", True, "file_id IS NOT NULL AND state = 'stored'"),
        ("ix_blobs_pending", "created_at", False, "state = 'pending'"),
    ):
        op.create_index(name, "blobs", [column], unique=unique, postgresql_where=sa.text(where))


def _tickets_and_leftovers() -> None:
    op.create_table(
        "blob_tickets",
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("blob_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('upload', 'download')", name=op.f("ck_blob_tickets_kind")),
        sa.ForeignKeyConstraint(
            ["account_id", "blob_id"],
            ["blobs.account_id", "blobs.id"],
            name=op.f("fk_blob_tickets_account_id_blob_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_blob_tickets")),
    )
    op.create_index("ix_blob_tickets_blob", "blob_tickets", ["blob_id"], unique=False)
    op.create_index("ix_blob_tickets_expires", "blob_tickets", ["expires_at"], unique=False)
    op.create_table(
        "blob_leftovers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blob_leftovers")),
    )
    op.create_index("ix_blob_leftovers_due", "blob_leftovers", ["due_at"], unique=False)


def _dataset_files() -> None:
    op.create_table(
        "dataset_files",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("synced_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "dataset_id"],
            ["datasets.account_id", "datasets.id"],
            name=op.f("fk_dataset_files_account_id_dataset_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "file_id"],
            ["files.account_id", "files.id"],
            name=op.f("fk_dataset_files_account_id_file_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("dataset_id", "file_id", name=op.f("pk_dataset_files")),
    )
    op.create_index("ix_dataset_files_file", "dataset_files", ["file_id"], unique=False)
