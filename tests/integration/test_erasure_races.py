"""Deleting while something goes on: nothing is made from what was deleted, and nothing of it stays behind."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time

import pytest

from core.annotating import annotate
from core.carrying import carry_on
from core.chat.provider import Finished, FinishReason, TextDelta
from core.conversations import delete_conversation
from core.errors import NotFound, RunFailed
from core.messages import delete_message, update_message
from core.talking import dispatch, send
from core.turn_requests import TurnRequest
from core.turns import carry_out
from tests.deletions import a_deletion
from tests.factories import a_bot, a_contact, a_conversation, execute, one, rows, the_run
from tests.traces import forget_words, traces_of

MARK = "xyloquartz"
MAIL = f"{MARK}@example.com"
PATIENCE = 20.0


class Repeater:
    """A model that repeats what it is shown, stops midway until it may go on, and mentions an address."""

    def __init__(self):
        self.midway, self.go = threading.Event(), threading.Event()
        self.asked = []

    def provider_for(self, model):
        del model
        return self, "repeater", {}

    def stream(self, request, deadline):
        said = " ".join(message.text for message in request.messages)
        self.asked.append(said)
        yield TextDelta(f"You said {said}, and new@{MARK}.example too, ")
        time.sleep(0.05)
        yield TextDelta("and more. ")
        self.midway.set()
        assert self.go.wait(PATIENCE)
        yield TextDelta(f"The end of {said}.")
        yield Finished(FinishReason.stop, 7, 3)

    def close(self):
        pass


@pytest.fixture
def model():
    return Repeater()


@pytest.fixture
def asking(context, model):
    return dataclasses.replace(context, providers=model)


@pytest.fixture(autouse=True)
def _silence(context):
    forget_words(context)


@pytest.fixture(params=[True, False], ids=["private", "plain"])
def talk(request, context, account):
    bot = a_bot(context, account, privacy=request.param)
    return a_conversation(context, account, bot_id=bot.id).id


class Turn(threading.Thread):
    """A dispatched turn in a worker's hands, held by its model midway."""

    def __init__(self, context, account, leases, model, talk, text="And now?"):
        super().__init__()
        with context.transaction(account) as session:
            self.turn, self.channel = dispatch(session, talk, text, TurnRequest())
        self.context, self.leases, self.model = context, leases, model
        self.outcome = None
        self.start()
        assert model.midway.wait(PATIENCE)

    def run(self):
        try:
            self.outcome = carry_out(self.context, self.leases, self.turn.id, worker="tests")
        except RunFailed as failure:
            self.outcome = str(failure)

    def goes_on(self):
        self.model.go.set()
        self.join(PATIENCE)
        return self.outcome


def a_message(context, account, talk, text=f"Write to {MAIL}, {MARK}."):
    with context.transaction(account) as session:
        return send(session, talk, text).message.id


def test_a_reply_made_from_a_deleted_message_is_never_stored_nor_read(
    context, asking, account, leases, model, talk
):
    message = a_message(context, account, talk)
    turn = Turn(asking, account, leases, model, talk)
    assert context.live.wait(account, turn.channel, "0", 1.0)
    with context.transaction(account) as session:
        delete_message(session, talk, message)
    assert context.live.wait(account, turn.channel, "0", 0.01) == []
    assert turn.goes_on() == "discarded"
    assert traces_of(context, MARK) == []
    assert traces_of(context, "[email:") == []
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0
    model.midway.clear()
    execute(context, "UPDATE runs SET run_at = now()")
    assert carry_out(asking, leases, turn.turn.id, worker="tests") == "succeeded"
    assert MARK not in model.asked[-1]
    assert the_run(context, turn.turn.id)["state"] == "succeeded"


def test_a_turn_in_a_deleted_conversation_leaves_nothing(context, asking, account, leases, model, talk):
    a_message(context, account, talk)
    turn = Turn(asking, account, leases, model, talk)
    with context.transaction(account) as session:
        delete_conversation(session, talk)
    assert turn.goes_on() in {"lost", "cancelled"}
    assert traces_of(context, MARK) == []
    assert traces_of(context, "[email:") == []
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0
    assert the_run(context, turn.turn.id)["state"] == "cancelled"


@pytest.mark.parametrize("what", ["messages", "conversations"])
def test_a_reply_made_from_what_is_deleted_in_bulk_is_never_stored(
    context, asking, account, leases, model, talk, what
):
    a_message(context, account, talk)
    turn = Turn(asking, account, leases, model, talk)
    job = a_deletion(context, account, what, all=True)
    assert carry_on(context, job.id) == "completed"
    assert context.live.wait(account, turn.channel, "0", 0.01) == []
    assert turn.goes_on() in ({"discarded"} if what == "messages" else {"lost", "cancelled"})
    assert traces_of(context, MARK) == []
    assert traces_of(context, "[email:") == []
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0


def test_many_replies_and_many_deletions_leave_no_token_without_its_text(
    context, asking, account, leases, model
):
    bot = a_bot(context, account, privacy=True)
    talks = [a_conversation(context, account, bot_id=bot.id).id for _ in range(4)]
    model.go.set()

    def busy(talk):
        for n in range(6):
            message = a_message(context, account, talk, f"a{n}@{MARK}.example and shared@{MARK}.example")
            with context.transaction(account) as session:
                run = dispatch(session, talk, None, TurnRequest())[0].id
            worker = threading.Thread(target=lambda r=run: carry_out(asking, leases, r, worker="tests"))
            worker.start()
            with context.transaction(account) as session:
                delete_message(session, talk, message)
            worker.join(PATIENCE)
            while the_run(context, run)["state"] == "pending":
                execute(
                    context, "UPDATE runs SET run_at = now() WHERE id = :id AND state = 'pending'", id=run
                )
                carry_out(asking, leases, run, worker="tests")

    threads = [threading.Thread(target=busy, args=(talk,)) for talk in talks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    orphans = (
        "SELECT count(*) FROM pii_tokens t WHERE NOT EXISTS (SELECT FROM messages m"
        " WHERE m.conversation_id = t.conversation_id AND strpos(m.text, t.token) > 0)"
    )
    assert one(context, orphans) == 0
    torn = (
        "SELECT count(*) FROM messages m, jsonb_array_elements(m.pii) e WHERE e ->> 'o' = 'tokenise' AND NOT"
        " EXISTS (SELECT FROM pii_tokens t WHERE t.conversation_id = m.conversation_id AND t.token ="
        " substr(m.text, CAST(e ->> 'b' AS int) + 1, CAST(e ->> 'e' AS int) - CAST(e ->> 'b' AS int)))"
    )
    assert one(context, torn) == 0
    for talk in talks:
        with context.transaction(account) as session:
            delete_conversation(session, talk)
    assert traces_of(context, MARK) == []
    assert traces_of(context, "[email:") == []


@pytest.mark.parametrize("act", ["delete", "update"])
def test_an_annotation_under_way_and_a_change_leave_what_was_said_last(context, account, act):
    talk = a_conversation(context, account, privacy=True).id
    contact = a_contact(context, account, name=f"{MARK.title()} Hopper")
    ids = [a_message(context, account, talk, f"{MARK.title()} was here, {n}.") for n in range(20)]
    execute(context, "UPDATE conversations SET contact_id = :contact", contact=contact.id)
    begun = threading.Barrier(3)

    def annotates():
        begun.wait()
        while (first := rows(context, "SELECT message_id FROM annotations LIMIT 1")) != []:
            annotate(context, first[0]["message_id"])

    def changes():
        begun.wait()
        for message in ids:
            with context.transaction(account) as session:
                if act == "delete":
                    delete_message(session, talk, message)
                else:
                    update_message(session, talk, message, text="Nobody was here.")

    threads = [threading.Thread(target=annotates), threading.Thread(target=changes)]
    for thread in threads:
        thread.start()
    begun.wait()
    for thread in threads:
        thread.join(60)
    texts = {row["text"] for row in rows(context, "SELECT text FROM messages")}
    assert texts == (set() if act == "delete" else {"Nobody was here."})
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0
    assert one(context, "SELECT count(*) FROM annotations") == 0
    states = {row["pii_state"] for row in rows(context, "SELECT pii_state FROM messages")}
    assert states <= {"done"}


def test_of_many_who_delete_the_same_one_does_and_the_receipt_counts_it_once(context, account):
    talk = a_conversation(context, account).id
    message = a_message(context, account, talk)
    outcomes = []

    def deletes():
        try:
            with context.transaction(account) as session:
                delete_message(session, talk, message)
            outcomes.append("done")
        except NotFound:
            outcomes.append("gone")

    threads = [threading.Thread(target=deletes) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(outcomes) == ["done", *["gone"] * 5]
    assert one(context, "SELECT messages FROM erasures") == 1


def test_a_change_and_a_deletion_at_once_leave_nothing(context, account, talk):
    for _ in range(8):
        message = a_message(context, account, talk)
        gate = threading.Barrier(3, timeout=PATIENCE)

        def changes(message=message, gate=gate):
            gate.wait()
            with contextlib.suppress(NotFound), context.transaction(account) as session:
                update_message(session, talk, message, text=f"Rather {MAIL}, {MARK}.")

        def deletes(message=message, gate=gate):
            gate.wait()
            with context.transaction(account) as session:
                delete_message(session, talk, message)

        threads = [threading.Thread(target=one) for one in (changes, changes, deletes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert one(context, "SELECT count(*) FROM messages") == 0
    assert one(context, "SELECT sum(messages) FROM erasures") == 8
    assert traces_of(context, MARK) == []
