"""What the database itself refuses and forgets, for every table there is and every one to come."""

from __future__ import annotations

import pytest
from sqlalchemy import ForeignKeyConstraint, create_engine, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError

from core.database import violated
from models import Base
from tests.knowledge import TABLES as FILE_ROWS
from tests.servers import at_database

TABLES = Base.metadata.tables
CONTENT = [
    (table.name, column.name, isinstance(column.type, JSONB))
    for table in TABLES.values()
    for column in table.columns
    if column.info.get("content")
]


def link_name(link: ForeignKeyConstraint) -> str:
    return str(link.name or f"fk_{link.table.name}_{'_'.join(link.column_keys)}")


LINKS = sorted(
    (
        constraint
        for table in TABLES.values()
        for constraint in table.foreign_key_constraints
        if len(constraint.columns) == 2
    ),
    key=link_name,
)
NULLABLE = [link for link in LINKS if link.ondelete.startswith("SET NULL")]


def column_of(link: ForeignKeyConstraint) -> str:
    return next(name for name in link.column_keys if name != "account_id")


def primary_key(link: ForeignKeyConstraint) -> str:
    return ", ".join(column.name for column in link.table.primary_key)


@pytest.fixture(scope="module", autouse=True)
def files_too(two_accounts):
    with two_accounts.engine.begin() as connection:
        for account in connection.execute(text("SELECT id FROM accounts")).scalars().all():
            for statement in FILE_ROWS:
                connection.execute(text(statement), {"account": account})


# A message is pointed at by its id alone, which spares each an index; the verb compares accounts.
BY_ID_ALONE = {"messages"}


def test_a_tenants_row_points_at_a_tenants_row_only_together_with_the_account():
    for table in TABLES.values():
        for constraint in table.foreign_key_constraints:
            target = constraint.referred_table
            if "account_id" in target.columns and target.name not in BY_ID_ALONE:
                assert set(constraint.column_keys) >= {"account_id"}, link_name(constraint)
                assert {e.column.name for e in constraint.elements} == {
                    "account_id",
                    *target.primary_key.columns.keys(),
                }


def test_every_link_that_may_be_empty_keeps_its_account_when_it_is_emptied():
    for link in LINKS:
        assert link.ondelete in {"CASCADE", f"SET NULL ({column_of(link)})"}, link_name(link)


@pytest.mark.parametrize("link", LINKS, ids=link_name)
def test_a_child_of_another_accounts_parent_cannot_be_stored(two_accounts, link):
    child, parent, column = link.table.name, link.referred_table.name, column_of(link)
    with two_accounts.engine.connect() as connection:
        mine, other = connection.execute(text("SELECT id FROM accounts ORDER BY id")).scalars()
        # The other's own rows of this table go first, so that no UNIQUE speaks before the foreign key.
        connection.execute(text(f"DELETE FROM {child} WHERE account_id = :other"), {"other": other})
        with pytest.raises(IntegrityError) as refused:
            connection.execute(
                text(
                    f"UPDATE {child} SET {column} ="
                    f" (SELECT id FROM {parent} WHERE account_id = :other LIMIT 1)"
                    f" WHERE ({primary_key(link)}) = (SELECT {primary_key(link)} FROM {child}"
                    "  WHERE account_id = :mine LIMIT 1)"
                ),
                {"other": other, "mine": mine},
            )
        assert violated(refused.value) == link_name(link)
        connection.rollback()


@pytest.mark.parametrize("link", NULLABLE, ids=link_name)
def test_a_parents_end_empties_the_link_and_leaves_the_account(two_accounts, link):
    child, parent, column = link.table.name, link.referred_table.name, column_of(link)
    key = primary_key(link)
    with two_accounts.engine.connect() as connection:
        row = connection.execute(
            text(
                f"SELECT {key} AS id, {column} AS link, account_id FROM {child}"
                f" WHERE {column} IS NOT NULL LIMIT 1"
            )
        ).one()
        connection.execute(text(f"DELETE FROM {parent} WHERE id = :id"), {"id": row.link})
        left = connection.execute(
            text(f"SELECT {column} AS link, account_id FROM {child} WHERE {key} = :id"), {"id": row.id}
        ).one()
        assert (left.link, left.account_id) == (None, row.account_id)
        connection.rollback()


def test_columns_of_user_content_are_named_as_such():
    assert {("messages", "text"), ("messages", "meta"), ("tasks", "description"), ("bots", "backstory"),
            ("runs", "summary"), ("conversations", "name")} <= {(t, c) for t, c, _ in CONTENT}  # fmt: skip


@pytest.fixture(scope="module")
def analysed(two_accounts, server_url):
    """The superuser's connection to a database analysed while every content column held a word."""
    with two_accounts.engine.begin() as connection:
        for table, column, is_json in CONTENT:
            if TABLES[table].columns[column].computed is not None:
                continue  # it follows the column it is made of
            value = '{"word": "canary"}' if is_json else "canary"
            connection.execute(text(f"UPDATE {table} SET {column} = :value"), {"value": value})
    database = two_accounts.engine.url.database
    admin = create_engine(at_database(server_url, user="postgres", database=database))
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
        yield connection
    admin.dispose()


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, c, _ in CONTENT])
def test_the_planner_samples_no_column_of_user_content(analysed, table, column):
    place = {"table": table, "column": column}
    target = (
        "SELECT attstattarget FROM pg_attribute"
        " WHERE attrelid = CAST(:table AS regclass) AND attname = :column"
    )
    assert analysed.execute(text(target), place).scalar_one() == 0
    samples = (
        "SELECT count(*) FROM pg_statistic s JOIN pg_attribute a"
        " ON a.attrelid = s.starelid AND a.attnum = s.staattnum"
        " WHERE s.starelid = CAST(:table AS regclass) AND a.attname = :column"
    )
    assert analysed.execute(text(samples), place).scalar_one() == 0


def test_no_statistics_of_tables_and_indexes_hold_a_word_of_it(analysed):
    assert (
        analysed.execute(
            text("SELECT count(*) FROM pg_statistic s WHERE s::text LIKE '%canary%'")
        ).scalar_one()
        == 0
    )
    sampled = "SELECT count(*) FROM pg_statistic WHERE starelid = CAST('messages' AS regclass)"
    assert analysed.execute(text(sampled)).scalar_one() > 0  # the others are sampled: the test would see it


def test_an_index_over_user_content_takes_no_samples_either(analysed):
    expressions = (
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = CAST('public' AS regnamespace) AND i.indkey[a.attnum - 1] = 0"
        " AND a.attstattarget IS DISTINCT FROM 0"
    )
    assert list(analysed.execute(text(expressions)).scalars()) == []
