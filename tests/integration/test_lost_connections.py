"""Connections that the database ends while they rest in the pool, and statements that need no transaction."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from core.context import make_context
from core.errors import NotFound
from core.rows import own
from models import Conversation, new_id

END = text("SELECT pg_terminate_backend(:pid, 4000)")  # waits until it has ended
PID = text("SELECT pg_backend_pid()")


@pytest.fixture
def own_context(settings):
    """A context with a pool of its own, so that nobody else's connections end."""
    context = make_context(settings.model_copy(update={"pool_size": 2}), "lost")
    yield context
    context.close()


@pytest.mark.parametrize("begin", ["transaction", "reading"])
def test_a_connection_that_was_ended_a_moment_ago_is_replaced_unnoticed(own_context, context, begin):
    opened = getattr(own_context, begin)
    with opened() as session:
        pid = session.execute(PID).scalar_one()
    with context.transaction() as session:
        session.execute(END, {"pid": pid})
    for _ in range(3):
        with opened() as session:
            assert session.execute(PID).scalar_one() != pid


def test_a_connection_that_has_rested_is_asked_before_it_is_used(own_context, context, monkeypatch):
    monkeypatch.setattr("core.database.RESTED", 0.0)
    # As if nothing had been heard of the end: a server that vanished says nothing.
    monkeypatch.setattr("core.database._says_something", lambda _: False)
    with own_context.transaction() as session:
        pid = session.execute(PID).scalar_one()
    with context.transaction() as session:
        session.execute(END, {"pid": pid})
    with own_context.transaction() as session:
        assert session.execute(PID).scalar_one() != pid


def test_who_reads_leaves_no_transaction_open(own_context, account):
    with own_context.reading(account) as session:
        with pytest.raises(NotFound):
            own(session, Conversation, new_id())
        connection = session.connection().connection.driver_connection
        assert connection.info.transaction_status.name == "IDLE"


def test_a_connection_that_was_read_with_opens_transactions_again(own_context):
    with own_context.reading() as session:
        session.execute(PID)
    with own_context.transaction() as session:
        session.execute(text("CREATE TEMPORARY TABLE mine (id int) ON COMMIT PRESERVE ROWS"))
        connection = session.connection().connection.driver_connection
        assert connection.info.transaction_status.name == "INTRANS"
        session.rollback()
    with own_context.reading() as session:
        assert session.execute(text("SELECT to_regclass('pg_temp.mine') IS NULL")).scalar_one()
