"""Conversations whose time has come go for good, whatever is under way in them."""

from __future__ import annotations

import threading

from core.context import Context
from core.errors import Unavailable
from core.expiring import expire_conversations
from core.talking import send
from core.turns import carry_out
from scheduler.loop import run
from tests.factories import a_conversation, a_pending_turn, execute, one, rows, the_run

PAST = "UPDATE conversations SET expires_at = now() - interval '1 second' WHERE id = :id"


def test_what_has_expired_goes_with_its_messages_and_the_rest_stays(context, account):
    going, staying, endless = (a_conversation(context, account) for _ in range(3))
    with context.transaction(account) as session:
        for conversation in (going, staying):
            send(session, conversation.id, "Hello")
    execute(context, PAST, id=going.id)
    execute(
        context,
        "UPDATE conversations SET expires_at = now() + interval '1 hour' WHERE id = :id",
        id=staying.id,
    )
    assert expire_conversations(context) == 1
    assert expire_conversations(context) == 0
    left = {row["id"] for row in rows(context, "SELECT id FROM conversations")}
    assert left == {staying.id, endless.id}
    assert [row["conversation_id"] for row in rows(context, "SELECT * FROM messages")] == [staying.id]


def test_a_turn_under_way_is_cancelled_and_a_summary_forgotten(context, account, leases):
    done = a_pending_turn(context, account)
    carry_out(context, leases, done.id, worker="w", delivery="d")
    assert the_run(context, done.id)["summary"]
    pending = a_pending_turn(context, account)
    execute(context, "UPDATE conversations SET expires_at = now()")
    assert expire_conversations(context) == 2
    assert the_run(context, pending.id)["state"] == "cancelled"
    assert the_run(context, done.id)["summary"] is None


def test_one_in_somebodys_hands_goes_the_next_time(context, account):
    conversation = a_conversation(context, account)
    execute(context, PAST, id=conversation.id)
    with context.transaction() as session:
        from sqlalchemy import text

        session.execute(
            text("SELECT 1 FROM conversations WHERE id = :id FOR UPDATE"), {"id": conversation.id}
        )
        assert expire_conversations(context) == 0
    assert expire_conversations(context) == 1


def test_a_long_one_goes_slice_by_slice(context, account, monkeypatch):
    monkeypatch.setattr("core.expiring.SLICE", 2)
    monkeypatch.setattr("core.conversations.SLICE", 2)
    conversation = a_conversation(context, account)
    with context.transaction(account) as session:
        for n in range(5):
            send(session, conversation.id, str(n))
    execute(context, PAST, id=conversation.id)
    left = []
    for expected in (0, 0, 1):
        assert expire_conversations(context) == expected
        left.append(one(context, "SELECT count(*) FROM messages"))
        left.append(one(context, "SELECT sum(messages) FROM erasures WHERE completed_at IS NULL"))
    assert left == [3, 2, 1, 4, 0, None]
    assert one(context, "SELECT messages FROM erasures WHERE target_id = :id", id=conversation.id) == 5


def test_one_that_cannot_go_keeps_neither_the_others_nor_the_clocks(context, account, monkeypatch):
    first, second = (a_conversation(context, account) for _ in range(2))
    for conversation in (first, second):
        execute(context, PAST, id=conversation.id)
    import core.expiring

    delete = core.expiring.delete_conversation
    for error in (ValueError("x"), Unavailable("x")):

        def stumbling(session, conversation_id, error=error):
            if conversation_id == first.id:
                raise error
            return delete(session, conversation_id)

        monkeypatch.setattr(core.expiring, "delete_conversation", stumbling)
        expire_conversations(context)
    assert [row["id"] for row in rows(context, "SELECT id FROM conversations")] == [first.id]


def test_the_scheduler_expires_them(context: Context, account, eventually):
    execute(context, PAST, id=a_conversation(context, account).id)
    stop = threading.Event()
    scheduler = threading.Thread(target=run, args=(context, stop))
    scheduler.start()
    try:
        eventually(lambda: one(context, "SELECT count(*) FROM conversations") == 0)
    finally:
        stop.set()
        scheduler.join(10)


def test_schedulers_share_the_work(context, account):
    for _ in range(20):
        a_conversation(context, account)
    execute(context, "UPDATE conversations SET expires_at = now()")
    expired = []
    threads = [
        threading.Thread(target=lambda: expired.append(expire_conversations(context))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(expired) == 20
