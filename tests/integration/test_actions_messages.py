"""Bots that speak in other conversations: where they may, under the privacy there, and not for ever."""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import replace

import pytest

from core.conversations import delete_conversation
from core.errors import InvalidInput
from core.privacy_policies import owner_of, set_policy
from core.settlement import LOCK_CONVERSATION
from core.skills.actions import ACTIONS
from tests.acting import a_turn, a_turn_in, a_turn_with_a_contact, act, at_work, failed, undone
from tests.factories import a_bot, a_contact, a_conversation, an_account, execute, one, rows
from tests.told import Box
from tests.told import with_settings as settled

SAY = {"text": "The parcel is there."}


@pytest.fixture
def turn(context, account):
    return a_turn_with_a_contact(context, account)


@pytest.fixture
def other(context, account, turn):
    """Another conversation with the same contact."""
    return a_conversation(context, account, contact_id=turn.contact_id).id


def said_in(context, conversation):
    return rows(context, "SELECT * FROM messages WHERE conversation_id = :id ORDER BY seq", id=conversation)


def test_a_bot_says_something_in_another_conversation_with_the_same_person(context, turn, other):
    told = act(context, turn, "message.send", **SAY, conversationId=str(other))
    (message,) = said_in(context, other)
    assert told == {"conversationId": str(other), "id": str(message["id"])}
    assert (message["type"], message["text"], message["run_id"]) == ("bot", "The parcel is there.", None)
    assert one(context, "SELECT count(*) FROM runs") == 1  # nobody answers


def test_without_an_id_it_is_the_newest_other_conversation(context, account, turn, other):
    newest = a_conversation(context, account, contact_id=turn.contact_id).id
    assert act(context, turn, "message.send", **SAY)["conversationId"] == str(newest)
    assert said_in(context, other) == []


def test_it_happens_once_whatever_was_rolled_back_before(context, turn, other):
    undone(context, turn, "message.send", {"answer": True}, **SAY)
    assert said_in(context, other) == []
    act(context, turn, "message.send", {"answer": True}, **SAY)
    assert [message["type"] for message in said_in(context, other)] == ["user"]
    assert one(context, "SELECT count(*) FROM runs WHERE conversation_id = :id", id=other) == 1


def test_it_stays_within_its_scope_and_never_speaks_where_it_is(context, account, turn, other):
    stranger = an_account(context, "Grace")
    same_bot = a_conversation(context, account, bot_id=turn.bot_id).id
    unrelated = a_conversation(context, account, contact_id=a_contact(context, account).id).id
    foreign = a_conversation(context, stranger).id
    wrong = [turn.conversation_id, foreign, uuid.uuid4(), "nonsense", "\x00", ""]
    for place in (*wrong, same_bot, unrelated):
        assert failed(context, turn, "message.send", **SAY, conversationId=str(place)) == "not_found"
    for scope in ("bot", "account"):
        for place in wrong:
            given = {**SAY, "conversationId": str(place)}
            assert failed(context, turn, "message.send", {"scope": scope}, **given) == "not_found"
        act(context, turn, "message.send", {"scope": scope}, **SAY, conversationId=str(same_bot))
    assert (
        failed(context, turn, "message.send", {"scope": "bot"}, **SAY, conversationId=str(other))
        == "not_found"
    )
    for place in (foreign, unrelated, other):
        assert said_in(context, place) == []
    assert failed(context, replace(turn, contact_id=None), "message.send", **SAY) == "no_contact"


def test_a_document_may_name_the_one_conversation_it_is_for(context, account, turn, other):
    fixed = a_conversation(context, account).id
    act(context, turn, "message.send", {"conversation": str(fixed)}, **SAY, conversationId=str(other))
    assert (len(said_in(context, fixed)), said_in(context, other)) == (1, [])
    foreign = a_conversation(context, an_account(context, "Grace")).id
    assert failed(context, turn, "message.send", {"conversation": str(foreign)}, **SAY) == "not_found"
    with pytest.raises(InvalidInput):
        ACTIONS["message.send"].checked({"type": "message.send", "conversation": "my friend"})


@pytest.mark.parametrize("given", ["", "  ", "a\x00b", "\ud800", "x" * 1_000_000, ["x"], None])
def test_what_is_no_message_is_refused(context, turn, other, given):
    assert failed(context, turn, "message.send", text=given) == "invalid"
    assert said_in(context, other) == []


def test_two_conversations_do_not_ask_each_other_for_ever(context, account, turn, other):
    asks, hops = {"answer": True}, []
    here = turn
    for _ in range(3):
        told = act(context, here, "message.send", asks, **SAY)
        run = uuid.UUID(told["runId"])
        hops.append(one(context, "SELECT params ->> 'hops' FROM runs WHERE id = :id", id=run))
        execute(context, "UPDATE runs SET state = 'succeeded', lease_until = NULL, finished_at = now()"
                " WHERE id = :id", id=here.run_id)  # fmt: skip
        here = replace(turn, conversation_id=uuid.UUID(told["conversationId"]), run_id=run)
    assert hops == ["1", "2", "3"]
    assert failed(context, here, "message.send", asks, **SAY) == "too_far"
    act(context, here, "message.send", **SAY)  # saying something asks nobody


def test_one_turn_asks_so_often_and_no_more(context, account, turn):
    places = [a_conversation(context, account, contact_id=turn.contact_id).id for _ in range(6)]
    asks = [{**SAY, "conversationId": str(place)} for place in places]
    for given in asks[:5]:
        act(context, turn, "message.send", {"answer": True}, **given)
    assert failed(context, turn, "message.send", {"answer": True}, **asks[5]) == "too_far"
    act(context, turn, "message.send", **asks[5])
    assert one(context, "SELECT count(*) FROM runs WHERE params ->> 'hops' = '1'") == 5


def test_a_turn_that_is_under_way_there_is_a_conflict_and_nothing_is_said(context, account, turn, other):
    a_turn_in(context, account, other)
    before = len(said_in(context, other))
    assert failed(context, turn, "message.send", {"answer": True}, **SAY) == "conflict"
    assert len(said_in(context, other)) == before


def test_nobody_is_told_of_a_turn_that_was_not_stored(context, account, turn, other):
    box = Box()
    heard = settled(context)
    heard = replace(heard, publisher=box)
    a_turn_in(context, account, other)
    with at_work(heard, turn) as session, pytest.raises(Exception, match="under way"):
        ACTIONS["message.send"].act(session, turn, {"answer": True}, SAY)
    assert box.hints == []
    execute(context, "DELETE FROM runs WHERE conversation_id = :id", id=other)
    act(heard, turn, "message.send", {"answer": True}, **SAY)
    assert len(box.hints) == 1


def test_what_is_said_under_privacy_leaves_anonymous_and_the_privacy_there_applies(context, account):
    contact = a_contact(context, account).id
    bot = a_bot(context, account, privacy=True).id
    plain = a_conversation(context, account, contact_id=contact).id
    turn = a_turn(context, account, bot=bot, contact=contact, said="Mail ada@example.com")
    token = one(context, "SELECT token FROM pii_tokens")
    act(
        context,
        turn,
        "message.send",
        text=f"She is {token}, or 【{token[1:-1].upper()}】",
        conversationId=str(plain),
    )
    assert said_in(context, plain)[0]["text"] == "She is <EMAIL_ADDRESS>, or <EMAIL_ADDRESS>"
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1
    with context.transaction(account) as session:
        set_policy(session, owner_of(session, conversation_id=plain), {"preset": "strict"})
    open_turn = a_turn(context, account, contact=contact)
    act(context, open_turn, "message.send", text="Or bob@example.com", conversationId=str(plain))
    assert said_in(context, plain)[1]["text"] == "Or <EMAIL_ADDRESS>"


def test_a_turns_own_tokens_mean_nothing_elsewhere_and_come_back_to_it(context, account):
    """What was minted for the model of one turn is not offered to another conversation."""
    contact = a_contact(context, account).id
    bot = a_bot(context, account, privacy=True).id
    there = a_conversation(context, account, bot_id=bot, contact_id=contact).id
    turn = a_turn(context, account, bot=bot, contact=contact)
    offered = {"[email:abcde]": b"sealed"}
    with at_work(context, turn) as session:
        session.info.update(offered_tokens=offered, shown_tokens=frozenset(offered), minted_tokens={})
        words = {"text": "Mail [email:abcde] or ada@example.com", "conversationId": str(there)}
        ACTIONS["message.send"].act(session, turn, {}, words)
        assert session.info["offered_tokens"] is offered
        assert session.info["minted_tokens"] == {}
    assert said_in(context, there)[0]["text"] == "Mail <EMAIL_ADDRESS> or <EMAIL_ADDRESS>"
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0


def test_a_conversation_that_somebody_holds_or_deletes_is_busy_or_gone(context, account, turn, other):
    with context.transaction(account) as session:
        session.execute(LOCK_CONVERSATION, {"id": other})
        assert failed(context, turn, "message.send", **SAY) == "busy"
    with context.transaction(account) as session:
        delete_conversation(session, other)
    assert failed(context, turn, "message.send", **SAY, conversationId=str(other)) == "not_found"


def test_two_turns_that_speak_to_each_other_at_once_do_not_hang(context, account, turn, other):
    back = a_turn_in(context, account, other, bot_id=turn.bot_id, contact_id=turn.contact_id)
    barrier, codes = threading.Barrier(2), []

    def speak(acting, to):
        with at_work(context, acting) as session:
            barrier.wait(10)
            try:
                ACTIONS["message.send"].act(session, acting, {}, {**SAY, "conversationId": str(to)})
            except Exception as error:  # noqa: BLE001 (what it was is judged below)
                codes.append(getattr(error, "code", type(error).__name__))
            barrier.wait(10)

    pair = ((turn, other), (back, turn.conversation_id))
    threads = [threading.Thread(target=speak, args=one_of) for one_of in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert codes == ["busy", "busy"]


def test_no_word_of_it_comes_into_the_logs(context, turn, other, capfd):
    act(context, turn, "message.send", text="geheim4711")
    failed(context, turn, "message.send", text="geheim4711", conversationId="geheim4711")
    assert "geheim4711" not in json.dumps(capfd.readouterr())
