"""The servers the tests themselves stand on."""

import os

import psycopg

from cli.local.servers import Servers
from tests.servers import at_database, clone_database, libpq, redis_url_for


def test_a_database_is_copied_from_a_template_that_is_migrated_once(admin_url, worker_id):
    migrated = []

    def migrate(url):
        migrated.append(url)
        with psycopg.connect(libpq(url)) as connection:
            connection.execute("CREATE TABLE noun (id int)")

    names = [f"clone_{worker_id}_{number}" for number in range(2)]
    urls = [clone_database(admin_url, name, migrate, template=f"mould_{worker_id}") for name in names]
    assert len(migrated) == 1
    for url, name in zip(urls, names, strict=True):
        with psycopg.connect(libpq(url)) as connection:
            told = connection.execute(
                "SELECT current_user, current_database(), tableowner FROM pg_tables WHERE tablename = 'noun'"
            )
            assert told.fetchall() == [("crontalk", name, "crontalk")]


def test_a_migration_that_fails_leaves_no_template_behind(admin_url, worker_id):
    def broken(_url):
        raise ZeroDivisionError

    template = f"broken_{worker_id}"
    for migrate, expected in (
        (broken, ZeroDivisionError),
        (broken, ZeroDivisionError),
        (lambda _: None, None),
    ):
        try:
            clone_database(admin_url, f"clone_{template}", migrate, template=template)
        except ZeroDivisionError as error:
            assert type(error) is expected  # noqa: PT017 - the last one must not raise
        else:
            assert expected is None


def test_each_worker_has_valkey_numbers_of_its_own():
    servers = Servers("d", "a", "unix:///tmp/x/valkey.sock?db=0")
    assert redis_url_for(servers, "master").endswith("?db=0")
    assert redis_url_for(servers, "gw3").endswith("?db=6")


def test_another_database_of_the_same_server_has_the_same_address():
    url = "postgresql+psycopg://postgres@/postgres?host=/tmp/x/pg&port=5432"
    assert at_database(url, user="u", database="d") == "postgresql+psycopg://u@/d?host=/tmp/x/pg&port=5432"


def test_the_developers_environment_does_not_reach_the_tests():
    assert not {"DATABASE_URL", "REDIS_URL"} & set(os.environ)
    assert not [name for name in os.environ if name.startswith(("CRONTALK_", "PG"))]
