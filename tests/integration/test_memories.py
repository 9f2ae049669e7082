"""What bots remember: by whom it is found, under which privacy it is kept, and what it goes with."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from core import memories
from core.account_deletion import delete_account
from core.bots import delete_bot
from core.contacts import delete_contact
from core.conversations import delete_conversation
from core.documents_erasures import exported_erasure
from core.drafts import Draft
from core.erasing import Outcome, apply_erasures, read_receipts
from core.erasures import erasures_since
from core.errors import Conflict, NotFound
from core.memories import (
    create_memory,
    delete_memory,
    expire_memories,
    list_memories,
    search_memories,
    update_memory,
)
from core.messages import create_messages, delete_message, update_message
from core.privacy_policies import owner_of, set_policy
from core.purging import purge_conversations
from core.skills.actions import ACTIONS
from core.sweeping import by_ids, sweep
from models import MessageType
from tests.acting import a_turn, a_turn_in, a_turn_with_a_contact, act, at_work, failed, undone
from tests.factories import a_bot, a_contact, a_conversation, a_hold, a_memory, an_account, execute, one, rows
from tests.integration.test_anonymising import done

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
TEA = "Prefers tea without milk."


@pytest.fixture
def turn(context, account):
    return a_turn_with_a_contact(context, account)


def texts(told):
    return [memory["text"] for memory in told["memories"]]


def kept(context):
    return [row["text"] for row in rows(context, "SELECT text FROM memories ORDER BY id")]


def test_what_is_remembered_of_somebody_is_found_in_their_other_conversations(context, account, turn):
    told = act(context, turn, "memory.remember", text=TEA)
    act(context, turn, "memory.remember", text="Lives in Lisbon.")
    (memory, _) = rows(context, "SELECT * FROM memories ORDER BY id")
    assert told == {"id": str(memory["id"]), "text": TEA}
    assert (memory["bot_id"], memory["contact_id"]) == (turn.bot_id, turn.contact_id)
    assert (memory["conversation_id"], memory["run_id"], memory["seq"]) == (
        turn.conversation_id,
        turn.run_id,
        1,
    )
    later = a_turn(context, account, bot=turn.bot_id, contact=turn.contact_id)
    found = act(context, later, "memory.recall", search="Do you know what tea I prefer?")
    assert (found["found"], texts(found)) == (True, [TEA])
    newest = act(context, later, "memory.recall", search="zebra")
    assert (newest["found"], texts(newest)) == (False, ["Lives in Lisbon.", TEA])
    assert texts(act(context, later, "memory.recall", {"most": 1})) == ["Lives in Lisbon."]


def test_nobody_else_finds_it(context, account, turn):
    act(context, turn, "memory.remember", text=TEA)
    stranger = an_account(context, "Grace")
    others = [
        a_turn(context, account, bot=turn.bot_id),  # of nobody in particular
        a_turn(context, account, bot=turn.bot_id, contact=a_contact(context, account).id),
        a_turn(context, account, contact=turn.contact_id),
        a_turn_with_a_contact(context, stranger),
    ]
    memory = one(context, "SELECT id FROM memories")
    for other in others:
        assert texts(act(context, other, "memory.recall", search="tea")) == []
        assert failed(context, other, "memory.forget", id=str(memory)) == "not_found"
    assert kept(context) == [TEA]


def test_without_a_contact_it_is_the_bots_own(context, account):
    turn = a_turn(context, account)
    act(context, turn, "memory.remember", text="Closed on Mondays.")
    again = a_turn(context, account, bot=turn.bot_id)
    assert texts(act(context, again, "memory.recall", search="Mondays")) == ["Closed on Mondays."]


def test_what_people_write_down_of_a_contact_every_bot_recalls(context, account, turn):
    a_memory(context, account, contact_id=turn.contact_id, text="Is a customer since 1999.")
    a_memory(context, account, bot_id=turn.bot_id, text="Closed on Mondays.")
    a_memory(context, account, text="Of nobody.")
    assert texts(act(context, turn, "memory.recall")) == ["Is a customer since 1999."]


def test_it_is_remembered_once_whatever_was_rolled_back_or_said_before(context, turn):
    undone(context, turn, "memory.remember", text=TEA)
    assert kept(context) == []
    first = act(context, turn, "memory.remember", text=TEA)
    assert act(context, turn, "memory.remember", text=TEA) == first
    assert kept(context) == [TEA]


def test_it_is_forgotten_for_good_with_a_receipt(context, turn):
    memory = act(context, turn, "memory.remember", text=TEA)["id"]
    undone(context, turn, "memory.forget", id=memory)
    assert kept(context) == [TEA]
    act(context, turn, "memory.forget", id=memory)
    assert kept(context) == []
    assert (
        one(context, "SELECT count(*) FROM erasures WHERE kind = 'memory' AND target_id = :id", id=memory)
        == 1
    )
    for memory_id in (memory, str(uuid.uuid4()), "nonsense", "\x00", ""):
        assert failed(context, turn, "memory.forget", id=memory_id) == "not_found"


@pytest.mark.parametrize("given", ["", " ", "a\x00b", "\ud800", "x" * 2001, "x" * 1_000_000, ["x"], None])
def test_what_is_no_memory_is_refused(context, turn, given):
    assert failed(context, turn, "memory.remember", text=given) == "invalid"
    assert kept(context) == []


@pytest.mark.parametrize("search", ["' | (", "& ! <-> :*", "\\", "a:b'c", "%_", "💥", "-"])
def test_no_search_breaks_it(context, turn, search):
    act(context, turn, "memory.remember", text="a:b'c and 💥")
    assert texts(act(context, turn, "memory.recall", search=search)) == ["a:b'c and 💥"]


@pytest.mark.parametrize("search", ["a\x00b", "x" * 1_000_000, ["x"]])
def test_what_is_no_search_is_refused(context, turn, search):
    assert failed(context, turn, "memory.recall", search=search) == "invalid"


def test_a_bot_remembers_so_much_of_somebody_and_no_more(context, account, turn, monkeypatch):
    monkeypatch.setattr(memories, "MOST", 2)
    for number in range(2):
        act(context, turn, "memory.remember", text=f"{number}")
    assert failed(context, turn, "memory.remember", text="3") == "conflict"
    with context.transaction(account) as session, pytest.raises(Conflict):
        create_memory(session, bot_id=turn.bot_id, contact_id=turn.contact_id, text="3")
    free = a_memory(context, account, text="elsewhere")
    with context.transaction(account) as session, pytest.raises(Conflict):
        update_memory(session, free.id, bot_id=turn.bot_id, contact_id=turn.contact_id)
    act(context, a_turn(context, account, bot=turn.bot_id), "memory.remember", text="3")
    assert len(kept(context)) == 4


def test_two_turns_that_remember_at_once_do_not_pass_the_limit(context, account, turn, monkeypatch):
    monkeypatch.setattr(memories, "MOST", 1)
    other = a_turn(context, account, bot=turn.bot_id, contact=turn.contact_id)
    with at_work(context, turn) as session:
        ACTIONS["memory.remember"].act(session, turn, {}, {"text": "1"})
        assert failed(context, other, "memory.remember", text="2") == "busy"
    assert failed(context, other, "memory.remember", text="2") == "conflict"


def test_nothing_raw_is_remembered_of_what_is_said_under_privacy(context, account):
    bot = a_bot(context, account, privacy=True).id
    contact = a_contact(context, account, name="Grace Hopper", email="grace@example.com").id
    turn = a_turn(context, account, bot=bot, contact=contact, said="I am at ada@example.com")
    token = one(context, "SELECT token FROM pii_tokens")
    words = f"Grace Hopper is at {token} (grace@example.com, +49 30 901820)."
    told = act(context, turn, "memory.remember", text=words)
    assert kept(context) == ["<PERSON> is at <EMAIL_ADDRESS> (<EMAIL_ADDRESS>, <PHONE_NUMBER>)."]
    assert told["text"] == kept(context)[0]
    assert act(context, turn, "memory.remember", text=words) == told
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1
    assert (
        failed(context, turn, "memory.remember", text="a@b.example " * 160) == "invalid"
    )  # longer when covered


def test_what_people_write_down_under_privacy_is_kept_anonymous_as_well(context, account):
    bot = a_bot(context, account)
    with context.transaction(account) as session:
        set_policy(session, owner_of(session, bot_id=bot.id), {"preset": "annotate"})
    memory = a_memory(context, account, bot_id=bot.id, name="a@example.com", text="b@example.com",
                      description="c@example.com", meta={"at": "d@example.com"})  # fmt: skip
    assert {memory.name, memory.text, memory.description, memory.meta["at"]} == {"<EMAIL_ADDRESS>"}
    with context.transaction(account) as session:
        changed = update_memory(
            session, memory.id, text="Or e@example.com", meta={"$update": {"b": "f@example.com"}}
        )
    assert changed.text == "Or <EMAIL_ADDRESS>"
    assert changed.meta == {"at": "<EMAIL_ADDRESS>", "b": "<EMAIL_ADDRESS>"}


def test_one_that_comes_under_privacy_is_anonymous_from_then_on(context, account):
    bot = a_bot(context, account, privacy=True)
    memory = a_memory(context, account, name="Ada", text="a@example.com", meta={"at": "b@example.com"})
    with context.transaction(account) as session:
        moved = update_memory(session, memory.id, bot_id=bot.id)
    assert (moved.text, moved.meta) == ("<EMAIL_ADDRESS>", {"at": "<EMAIL_ADDRESS>"})


def test_where_privacy_fails_nothing_is_remembered(context, account, monkeypatch):
    turn = a_turn_with_a_contact(context, account, privacy=True)

    def broken(*_args, **_kwargs):
        raise ValueError("geheim4711")

    monkeypatch.setattr("core.privacy.anonymous.detect", broken)
    assert failed(context, turn, "memory.remember", text=TEA) == "privacy"
    assert kept(context) == []


def a_remembered(context, account, **fields):
    """A conversation of four messages; something was remembered after the second, and after the last."""
    turn = a_turn_with_a_contact(context, account, said="one", **fields)
    act(context, turn, "memory.remember", text="of one")
    with context.transaction(account) as session:
        create_messages(
            session, turn.conversation_id, [Draft(MessageType.USER, word) for word in ("two", "three")]
        )
    act(context, turn, "memory.remember", text="of three")
    a_memory(context, account, bot_id=turn.bot_id, contact_id=turn.contact_id, text="of people")
    ids = [row["id"] for row in rows(context, "SELECT id FROM messages ORDER BY seq")]
    return turn, ids


def test_a_deleted_message_takes_with_it_what_was_remembered_of_it(context, account):
    turn, ids = a_remembered(context, account)
    with context.transaction(account) as session:
        delete_message(session, turn.conversation_id, ids[1])
    assert kept(context) == ["of one", "of people"]
    with context.transaction(account) as session:
        update_message(session, turn.conversation_id, ids[0], text="uno")
    assert kept(context) == ["of one", "of people"]
    with context.transaction(account) as session:
        delete_message(session, turn.conversation_id, ids[0])
    assert kept(context) == ["of people"]


def test_messages_that_are_swept_take_it_with_them_too(context, account):
    turn, ids = a_remembered(context, account)
    with context.transaction(account) as session:
        assert sweep(session, by_ids(ids[2:], [turn.conversation_id])).messages == 1
    assert kept(context) == ["of one", "of people"]


@pytest.mark.parametrize(
    "verb", [delete_conversation, lambda session, one_: purge_conversations(session, [one_])]
)
def test_a_deleted_conversation_takes_with_it_what_was_remembered_of_it(context, account, verb):
    turn, _ = a_remembered(context, account)
    with context.transaction(account) as session:
        verb(session, turn.conversation_id)
    assert kept(context) == ["of people"]


def test_a_contact_a_bot_and_an_account_take_all_of_it_with_them(context, account):
    turn, _ = a_remembered(context, account)
    with context.transaction(account) as session:
        delete_contact(session, turn.contact_id)
    assert kept(context) == []
    turn, _ = a_remembered(context, account)
    with context.transaction(account) as session:
        delete_bot(session, turn.bot_id)
    assert kept(context) == []
    a_remembered(context, account)
    delete_account(context, account)
    assert kept(context) == []


def test_a_deletion_that_comes_while_it_is_remembered_takes_it_as_well(context, account, turn, eventually):
    def delete():
        with context.transaction(account) as session:
            delete_conversation(session, turn.conversation_id)

    thread = threading.Thread(target=delete)
    with at_work(context, turn) as session:
        ACTIONS["memory.remember"].act(session, turn, {}, {"text": TEA})
        thread.start()
        eventually(lambda: one(context, WAITING) == 1)
    thread.join(10)
    assert kept(context) == []


def test_a_contact_that_is_going_is_busy_or_gone(context, account, turn):
    with context.engine.begin() as connection:
        connection.execute(text("SELECT 1 FROM contacts WHERE id = :id FOR UPDATE"), {"id": turn.contact_id})
        assert failed(context, turn, "memory.remember", text=TEA) == "busy"
    with context.transaction(account) as session:
        delete_contact(session, turn.contact_id)
    assert failed(context, turn, "memory.remember", text=TEA) == "not_found"


@pytest.mark.parametrize("of", ["contact_id", "bot_id", "conversation_id", None])
def test_what_a_legal_hold_is_on_is_neither_forgotten_nor_changed_nor_over(context, account, turn, of):
    memory = act(context, turn, "memory.remember", text=TEA)["id"]
    execute(context, "UPDATE memories SET expires_at = now() - interval '1 second'")
    a_hold(context, account, **({of: getattr(turn, of)} if of else {}))
    assert expire_memories(context) == 0
    execute(context, "UPDATE memories SET expires_at = NULL")
    assert failed(context, turn, "memory.forget", id=memory) == "conflict"
    with context.transaction(account) as session:
        with pytest.raises(Conflict):
            delete_memory(session, memory)
        with pytest.raises(Conflict):
            update_memory(session, memory, text="else")
        update_memory(session, memory, name="Tea")
    execute(context, "DELETE FROM legal_holds")
    act(context, turn, "memory.forget", id=memory)


def test_a_hold_that_is_being_placed_is_not_waited_for(context, account, turn):
    memory = act(context, turn, "memory.remember", text=TEA)["id"]
    with context.engine.begin() as connection:
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended('legal_holds:' || :account, 0))"),
            {"account": str(account)},
        )
        assert failed(context, turn, "memory.forget", id=memory) == "busy"


def test_what_is_over_is_not_found_any_more_and_goes(context, account):
    soon = datetime.now(UTC) + timedelta(hours=1)
    memory = a_memory(context, account, expires_at=soon, text=TEA)
    stays = a_memory(context, account, text="Tea stays.")
    assert expire_memories(context) == 0
    execute(context, "UPDATE memories SET expires_at = now() WHERE id = :id", id=memory.id)
    with context.transaction(account) as session:
        assert [row.id for row in list_memories(session)] == [stays.id]
        assert [row.id for row in search_memories(session, "tea")] == [stays.id]
        with pytest.raises(NotFound):
            memories.get_memory(session, memory.id)
    assert (expire_memories(context), expire_memories(context)) == (1, 0)
    assert kept(context) == ["Tea stays."]


def test_a_run_may_go_before_what_it_remembered(context, turn):
    act(context, turn, "memory.remember", text=TEA)
    execute(context, "DELETE FROM runs WHERE id = :id", id=turn.run_id)
    assert one(context, "SELECT run_id FROM memories") is None


def test_no_word_of_it_comes_into_the_logs(context, turn, capfd):
    memory = act(context, turn, "memory.remember", text="geheim4711")["id"]
    act(context, turn, "memory.recall", search="geheim4711")
    failed(context, turn, "memory.remember", text="geheim4711 " * 1000)
    act(context, turn, "memory.forget", id=memory)
    assert "geheim4711" not in "".join(capfd.readouterr())


def test_a_turn_of_nobody_remembers_nothing(context, account):
    conversation = a_conversation(context, account, backstory="You are kind.")
    turn = a_turn_in(context, account, conversation.id)
    for name, given in (("remember", {"text": TEA}), ("recall", {}), ("forget", {"id": "x"})):
        assert failed(context, turn, f"memory.{name}", **given) == "nobody"


def test_what_is_made_anonymous_takes_with_it_what_was_remembered_of_it(context, account, monkeypatch):
    monkeypatch.setattr(context.settings, "rate_bulk", None)
    turn, ids = a_remembered(context, account)
    done(context, account, "messages", ids=[str(ids[2])])
    assert kept(context) == ["of one", "of people"]
    done(context, account, all=True)
    assert kept(context) == ["of people"]
    assert (
        one(context, "SELECT contact_id FROM conversations WHERE id = :id", id=turn.conversation_id) is None
    )


def test_receipts_take_again_what_a_backup_has_brought_back(context, account):
    memory = a_memory(context, account, text=TEA)
    turn, ids = a_remembered(context, account)
    backup = rows(
        context, "SELECT id, account_id, bot_id, contact_id, conversation_id, seq, text FROM memories"
    )
    message = rows(context, "SELECT * FROM messages WHERE id = :id", id=ids[2])[0]
    with context.transaction(account) as session:
        delete_memory(session, memory.id)
        delete_message(session, turn.conversation_id, ids[2])
    receipts = list(
        read_receipts(json.dumps(exported_erasure(receipt)) for receipt in erasures_since(context))
    )
    execute(context, "DELETE FROM memories")
    for row in backup:
        execute(
            context,
            "INSERT INTO memories (id, account_id, bot_id, contact_id, conversation_id, seq, text)"
            " VALUES (:id, :account_id, :bot_id, :contact_id, :conversation_id, :seq, :text)",
            **row,
        )
    execute(
        context,
        "INSERT INTO messages (id, account_id, conversation_id, seq, type, text)"
        " VALUES (:id, :account_id, :conversation_id, :seq, :type, :text)",
        **{name: message[name] for name in ("id", "account_id", "conversation_id", "seq", "type", "text")},
    )
    assert apply_erasures(context, receipts)[Outcome.ERASED] == 2
    assert kept(context) == ["of one", "of people"]
