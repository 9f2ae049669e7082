"""Waiting runs and the conversations they are to speak in, which others use at the same moment."""

from __future__ import annotations

import threading

from core import waiting
from core.conversations import delete_conversation
from core.firing import fire
from core.runs import cancel_run
from core.talking import complete
from core.tasks import trigger_task
from core.turns import carry_out
from core.waiting import promote
from models import ConversationMode
from tests.factories import a_due_task, a_task, make_due, one, the_run

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
LATEST = "SELECT id FROM runs WHERE task_id = :id ORDER BY id DESC LIMIT 1"


def verb(context, account, do, *arguments, **fields):
    with context.transaction(account) as session:
        return do(session, *arguments, **fields)


def behind_another(context, account):
    """A queued run: its task's run before it, and itself."""
    task = a_due_task(context, account, overlap="queue")
    fire(context)
    first = one(context, LATEST, id=task.id)
    make_due(context, task.id)
    fire(context)
    return first, one(context, LATEST, id=task.id)


def a_session(context, account, leases, **fields):
    """A task of one running conversation, which is there and quiet."""
    task = a_task(context, account, conversation_mode=ConversationMode.ONE.value, **fields)
    run = verb(context, account, trigger_task, task.id)
    assert carry_out(context, leases, run.id, worker="tests") == "succeeded"
    return task, run.conversation_id


def test_a_turn_in_the_conversation_of_a_waiting_run_holds_up_that_run_alone(context, account, leases):
    first, waits = behind_another(context, account)
    before, beside = behind_another(context, account)
    turn = verb(context, account, complete, the_run(context, waits)["conversation_id"], "Hello?")
    for run in (first, before):
        verb(context, account, cancel_run, run)
    assert promote(context) == 1
    assert [the_run(context, run)["state"] for run in (waits, beside)] == ["waiting", "pending"]
    assert carry_out(context, leases, turn.id, worker="tests") == "succeeded"
    assert promote(context) == 1
    assert carry_out(context, leases, waits, worker="tests") == "succeeded"


def meanwhile(monkeypatch, act):
    """Does something once, after a waiting run's place was looked up and before the run takes it."""
    looked_up, done = waiting.promote_of, []

    def promote_of(session, task_ids):
        execute = session.execute

        def acting(statement, *arguments, **options):
            result = execute(statement, *arguments, **options)
            if statement is waiting.NEXT and not done:
                done.append(True)
                act()
            return result

        monkeypatch.setattr(session, "execute", acting)
        return looked_up(session, task_ids)

    for module in ("core.tasks", "core.firing"):
        monkeypatch.setattr(f"{module}.promote_of", promote_of)


def test_a_run_waits_for_a_turn_that_began_in_its_conversation_at_that_moment(
    context, account, leases, monkeypatch
):
    task, conversation = a_session(context, account, leases)
    meanwhile(monkeypatch, lambda: verb(context, account, complete, conversation, "And I?"))
    run = verb(context, account, trigger_task, task.id)
    assert (run.state, run.conversation_id) == ("waiting", None)


def test_a_run_waits_where_its_conversation_is_deleted_at_that_moment(context, account, leases, monkeypatch):
    task, conversation = a_session(context, account, leases)
    meanwhile(monkeypatch, lambda: verb(context, account, delete_conversation, conversation))
    run = verb(context, account, trigger_task, task.id)
    assert run.state == "waiting"
    assert promote(context) == 1
    assert the_run(context, run.id)["conversation_id"] not in {None, conversation}


def test_a_run_that_is_cancelled_while_it_is_told_where_to_speak_stays_cancelled(
    context, account, leases, eventually
):
    task, conversation = a_session(context, account, leases, overlap="queue")
    first = verb(context, account, trigger_task, task.id)
    waits = verb(context, account, trigger_task, task.id)
    verb(context, account, cancel_run, first.id)
    promoted = []
    promoting = threading.Thread(target=lambda: promoted.append(promote(context)))
    with context.transaction(account) as session:
        cancel_run(session, waits.id)
        promoting.start()
        eventually(lambda: one(context, WAITING) == 1)
    promoting.join(10)
    assert promoted
    assert the_run(context, waits.id)["state"] == "cancelled"
    said = "SELECT count(*) FROM messages WHERE conversation_id = :id AND step = 'prompt'"
    assert one(context, said, id=conversation) == 2


def test_those_that_cannot_go_on_do_not_stand_before_those_that_can(context, account, leases, monkeypatch):
    monkeypatch.setattr(waiting, "BATCH", 1)
    pairs = [behind_another(context, account) for _ in range(3)]
    for first, waits in pairs[:2]:
        verb(context, account, complete, the_run(context, waits)["conversation_id"], "Hello?")
        verb(context, account, cancel_run, first)
    verb(context, account, cancel_run, pairs[2][0])
    assert promote(context) == 1
    assert the_run(context, pairs[2][1])["state"] == "pending"
