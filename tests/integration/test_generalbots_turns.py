"""What is said while a turn is under way: one follow-up answers all of it, whatever happens meanwhile."""

from __future__ import annotations

import threading
from contextlib import suppress
from itertools import pairwise

import pytest

from core import talking
from core.chat import offline
from core.conversations import delete_conversation
from core.conversing import Reach, say, start
from core.errors import Conflict, NotFound, RunFailed
from core.following import follow_up_all
from core.invariants import violations
from core.messages import delete_message
from core.runs import cancel_run
from core.turns import carry_out
from core.work import reap
from tests.factories import (
    a_bot,
    a_conversation,
    a_pending_turn,
    abandon,
    execute,
    one,
    rows,
    the_run,
)

ALL = Reach()


def said(context, account, conversation, words="And this?"):
    with context.transaction(account) as session:
        return say(session, ALL, conversation, words)


def claimed(context, account, words="Hello?"):
    """A conversation whose turn is with a worker that does not say anything."""
    conversation = a_conversation(context, account)
    first = said(context, account, conversation.id, words)
    execute(
        context,
        "UPDATE runs SET state = 'running', epoch = epoch + 1, attempt = attempt + 1,"
        " lease_until = now() + interval '1 hour' WHERE id = :id",
        id=first.run_id,
    )
    return conversation.id, first.run_id


def worked(context, leases, run):
    return carry_out(context, leases, run, worker="tests")


def talk(context, conversation):
    found = rows(
        context,
        "SELECT type, text FROM messages WHERE conversation_id = :id ORDER BY seq",
        id=conversation,
    )
    return [row["type"] for row in found]


def states(context, conversation):
    return [
        row["state"]
        for row in rows(
            context, "SELECT state FROM runs WHERE conversation_id = :id ORDER BY id", id=conversation
        )
    ]


def test_a_message_begins_a_turn_and_is_its_prompt(context, account, leases):
    conversation = a_conversation(context, account)
    found = said(context, account, conversation.id)
    assert (found.begins, the_run(context, found.run_id)["state"]) == (True, "pending")
    assert (found.message.run_id, found.message.step) == (found.run_id, "prompt")
    assert worked(context, leases, found.run_id) == "succeeded"
    assert talk(context, conversation.id) == ["user", "bot"]


def test_a_turn_that_nobody_has_claimed_answers_what_is_said_meanwhile(context, account, leases):
    conversation = a_conversation(context, account)
    runs = {said(context, account, conversation.id, f"Number {n}").run_id for n in range(3)}
    assert states(context, conversation.id) == ["pending"]
    assert worked(context, leases, runs.pop()) == "succeeded"
    assert runs == set()
    assert talk(context, conversation.id) == ["user", "user", "user", "bot"]


def test_what_is_said_while_a_turn_is_under_way_waits_for_one_follow_up(context, account, leases):
    conversation, first = claimed(context, account)
    later = [said(context, account, conversation, f"Number {n}") for n in range(3)]
    assert len({one.run_id for one in later}) == 1
    assert not any(one.begins for one in later)
    assert states(context, conversation) == ["running", "waiting"]
    with context.transaction(account) as session, pytest.raises(Conflict):
        talking.complete(session, conversation, "The first dialect refuses.")
    assert follow_up_all(context) == 0
    execute(context, "UPDATE runs SET lease_until = now() - interval '1 s' WHERE id = :id", id=first)
    assert reap(context) == 1
    assert follow_up_all(context) == 0, "the turn before it is tried again"


class Slow:
    """A model that says nothing before it is told to; `asked` once it was asked."""

    def __init__(self, context, monkeypatch, fails=False):
        self.asked, self.go_on = threading.Event(), threading.Event()
        stream = offline.OfflineProvider.stream

        def slowly(provider, request, deadline):
            if not self.asked.is_set():
                self.asked.set()
                assert self.go_on.wait(20)
                if fails:
                    raise ValueError("a fault of a model")
            yield from stream(provider, request, deadline)

        monkeypatch.setattr(offline.OfflineProvider, "stream", slowly)


def in_a_thread(act):
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_a_settlement_lets_the_follow_up_go_on_at_once(context, account, leases, monkeypatch):
    conversation = a_conversation(context, account).id
    model = Slow(context, monkeypatch)
    first = said(context, account, conversation).run_id
    worker = in_a_thread(lambda: worked(context, leases, first))
    assert model.asked.wait(20)
    second, third = (said(context, account, conversation, words) for words in ("And?", "Then?"))
    model.go_on.set()
    worker.join(20)
    assert second.run_id == third.run_id
    run = the_run(context, second.run_id)
    assert (run["state"], run["hints"], run["deadline_at"] is not None) == ("pending", 1, True)
    assert worked(context, leases, second.run_id) == "succeeded"
    assert talk(context, conversation) == ["user", "user", "user", "bot", "bot"]
    assert follow_up_all(context) == 0


def test_a_failure_lets_the_follow_up_go_on_too(context, account, leases, monkeypatch):
    bot = a_bot(context, account, model="offline/empty=1")
    conversation = a_conversation(context, account, bot_id=bot.id).id
    model = Slow(context, monkeypatch)
    first = said(context, account, conversation).run_id
    execute(context, "UPDATE runs SET attempt = 90 WHERE id = :id", id=first)
    ended = []

    def work():
        with pytest.raises(RunFailed):
            worked(context, leases, first)
        ended.append(True)

    worker = in_a_thread(work)
    assert model.asked.wait(20)
    second = said(context, account, conversation, "And?").run_id
    model.go_on.set()
    worker.join(20)
    assert ended == [True]
    assert the_run(context, second)["state"] == "pending"


@pytest.mark.parametrize("ending", ["cancelled", "poison"])
def test_a_sweep_follows_up_on_turns_that_ended_otherwise(ending, context, account, leases):
    conversation, first = claimed(context, account)
    second = said(context, account, conversation).run_id
    if ending == "cancelled":
        with context.transaction(account) as session:
            cancel_run(session, first)
    else:
        execute(context, "UPDATE runs SET crashes = 2 WHERE id = :id", id=first)
        abandon(context, first)
        reap(context)
        assert the_run(context, first)["error_class"] == "poison"
    assert follow_up_all(context) == 1
    assert worked(context, leases, second) == "succeeded"


def test_a_later_attempt_that_has_read_all_leaves_nothing_to_follow_up(context, account, leases):
    conversation, first = claimed(context, account)
    second = said(context, account, conversation).run_id
    execute(context, "UPDATE runs SET lease_until = now() - interval '1 s' WHERE id = :id", id=first)
    reap(context)
    assert said(context, account, conversation, "Still?").run_id == first, "it is to be claimed again"
    assert worked(context, leases, first) == "succeeded"
    run = the_run(context, second)
    assert (run["state"], run["reason"]) == ("cancelled", "answered")
    assert talk(context, conversation) == ["user", "user", "user", "bot"]


def test_a_task_that_only_sends_answers_nobody(context, account, leases):
    conversation, first = claimed(context, account)
    execute(
        context,
        "UPDATE runs SET state = 'pending', lease_until = NULL, action = 'send' WHERE id = :id",
        id=first,
    )
    assert said(context, account, conversation).run_id != first
    assert states(context, conversation) == ["pending", "waiting"]


def test_a_deleted_conversation_takes_its_follow_up_along(context, account):
    conversation, _ = claimed(context, account)
    second = said(context, account, conversation).run_id
    with context.transaction(account) as session:
        delete_conversation(session, conversation)
    assert the_run(context, second)["state"] == "cancelled"
    assert follow_up_all(context) == 0
    with pytest.raises(NotFound):
        said(context, account, conversation)


def test_a_deletion_inside_discards_the_answer_which_then_answers_what_came_meanwhile(
    context, account, leases, monkeypatch
):
    conversation = a_conversation(context, account).id
    model = Slow(context, monkeypatch)
    first = said(context, account, conversation)
    outcomes = []
    worker = in_a_thread(lambda: outcomes.append(worked(context, leases, first.run_id)))
    assert model.asked.wait(20)
    second = said(context, account, conversation, "And?").run_id
    with context.transaction(account) as session:
        delete_message(session, conversation, first.message.id)
    model.go_on.set()
    worker.join(20)
    assert outcomes == ["discarded"]
    assert worked(context, leases, first.run_id) == "succeeded"
    assert the_run(context, second)["reason"] == "answered"
    assert talk(context, conversation) == ["user", "bot"]


def test_many_who_speak_at_once_are_all_stored_and_all_answered(context, account, leases, monkeypatch):
    """Say against say, claim and settlement, on many threads; then all that is left is done."""
    conversation = a_conversation(context, account).id
    gate, found, stop, calls = threading.Barrier(8), [], threading.Event(), []
    stream = offline.OfflineProvider.stream

    def noted(provider, request, deadline):
        calls.append({message.text for message in request.messages if " says " in message.text})
        yield from stream(provider, request, deadline)

    monkeypatch.setattr(offline.OfflineProvider, "stream", noted)
    monkeypatch.setattr(offline, "compose", lambda *_: "Noted.")

    def speak(name):
        gate.wait()
        found.extend(said(context, account, conversation, f"{name} says {n}").run_id for n in range(6))

    def work():
        while not stop.is_set():
            for row in rows(context, "SELECT id FROM runs WHERE state = 'pending'"):
                worked(context, leases, row["id"])

    hands = [in_a_thread(work) for _ in range(2)]
    people = [in_a_thread(lambda name=f"p{n}": speak(name)) for n in range(8)]
    for person in people:
        person.join(60)
    stop.set()
    for hand in hands:
        hand.join(60)
    while left := rows(context, "SELECT id FROM runs WHERE state = 'pending'"):
        worked(context, leases, left[0]["id"])
    assert follow_up_all(context) == 0, "every settlement has let the next one go on"
    assert set(states(context, conversation)) == {"succeeded"}
    assert len(found) == one(context, "SELECT count(*) FROM messages WHERE type = 'user'") == 48
    assert len(calls[-1]) == 48, "nothing was said that the last turn has not read"
    assert all(before < after for before, after in pairwise(calls)), "no turn had nothing new to read"
    assert {run for run in found if run} == {row["id"] for row in rows(context, "SELECT id FROM runs")}, (
        "each run was asked for by somebody, and each message has its run"
    )


def test_what_is_said_while_turns_are_cancelled_breaks_no_promise(context, account, leases):
    conversation = a_conversation(context, account).id
    stop = threading.Event()

    def cancel():
        while not stop.is_set():
            for row in rows(context, "SELECT id FROM runs WHERE state IN ('pending', 'running')"):
                with suppress(Conflict), context.transaction(account) as session:
                    cancel_run(session, row["id"])
            follow_up_all(context)

    def work():
        while not stop.is_set():
            for row in rows(context, "SELECT id FROM runs WHERE state = 'pending'"):
                worked(context, leases, row["id"])

    others = [in_a_thread(cancel), in_a_thread(work)]
    for n in range(40):
        said(context, account, conversation, f"Number {n}")
    stop.set()
    for other in others:
        other.join(60)
    follow_up_all(context)
    while left := rows(context, "SELECT id FROM runs WHERE state = 'pending'"):
        worked(context, leases, left[0]["id"])
    assert "waiting" not in states(context, conversation)
    assert one(context, "SELECT count(*) FROM messages WHERE type = 'user'") == 40
    with context.transaction() as session:
        assert violations(session) == []


def test_a_task_waiting_and_a_follow_up_do_not_meet(context, account, leases):
    turn = a_pending_turn(context, account)
    assert worked(context, leases, turn.id) == "succeeded"
    with context.transaction(account) as session:
        begun = start(session, ALL, text="Hello?")
    assert begun.said.begins
    assert worked(context, leases, begun.said.run_id) == "succeeded"
