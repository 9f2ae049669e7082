"""Bots that schedule: within their scope, their limits, and without waiting for anybody's lock."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text

from core.errors import InvalidInput
from core.firing import fire
from core.skills.actions import ACTIONS
from core.skills.skill import SkillFailed
from core.tasks import delete_task, update_task
from tests.acting import a_turn, a_turn_with_a_contact, act, at_work, failed, undone
from tests.factories import (
    a_contact,
    a_hold,
    a_task,
    an_account,
    execute,
    make_due,
    one,
    rows,
)

TOMORROW = {"description": "Ask how it went.", "schedule": "2999-01-01T10:00", "timezone": "Europe/Berlin"}
DAILY = {"name": "Water", "description": "Remind me to drink.", "schedule": "daily"}


@pytest.fixture
def turn(context, account):
    return a_turn_with_a_contact(context, account)


def test_a_bot_schedules_for_itself_and_whom_it_speaks_with(context, account, turn):
    told = act(context, turn, "task.create", **TOMORROW)
    (task,) = rows(context, "SELECT * FROM tasks")
    assert (task["bot_id"], task["contact_id"], task["account_id"]) == (turn.bot_id, turn.contact_id, account)
    assert (task["description"], task["schedule"]) == ("Ask how it went.", "2999-01-01T10:00")
    assert told == {
        "id": str(task["id"]),
        "schedule": "2999-01-01T10:00",
        "timezone": "Europe/Berlin",
        "state": "active",
        "nextRunAt": "2999-01-01T09:00:00Z",
    }
    make_due(context, task["id"])
    fire(context)
    assert one(context, "SELECT count(*) FROM runs WHERE task_id = :id", id=task["id"]) == 1


def test_a_zone_of_the_document_stands_for_one_that_is_not_told(context, turn):
    told = act(
        context, turn, "task.create", {"timezone": "Asia/Tokyo"}, description="x", schedule="2999-01-01T10:00"
    )
    assert told["nextRunAt"] == "2999-01-01T01:00:00Z"


def test_what_is_rolled_back_has_not_happened_and_happens_once_the_next_time(context, turn):
    undone(context, turn, "task.create", **TOMORROW)
    assert one(context, "SELECT count(*) FROM tasks") == 0
    act(context, turn, "task.create", **TOMORROW)
    assert one(context, "SELECT count(*) FROM task_clocks") == 1


def test_a_failure_leaves_nothing_and_the_transaction_goes_on(context, turn):
    create = ACTIONS["task.create"].act
    with at_work(context, turn) as session:
        create(session, turn, {"most": 1}, TOMORROW)
        with pytest.raises(SkillFailed, match="scheduled tasks already"):
            create(session, turn, {"most": 1}, DAILY)
        session.execute(text("UPDATE conversations SET name = 'went on'"))
    assert one(context, "SELECT name FROM conversations") == "went on"
    assert one(context, "SELECT count(*) FROM tasks") == 1


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"schedule": "* * * * *"}, "invalid"),  # every minute
        ({"schedule": "@every 1s"}, "invalid"),
        ({"schedule": "*/5 * * * * *"}, "invalid"),  # of seconds
        ({"schedule": "never"}, "invalid"),
        ({"schedule": ""}, "invalid"),
        ({"schedule": "0 0 31 2 *"}, "invalid"),  # a day that no month has
        ({"schedule": "2001-01-01"}, "invalid"),
        ({"schedule": ["daily"]}, "invalid"),
        ({"schedule": "daily" * 100_000}, "invalid"),
        ({"timezone": "Middle-earth/Shire"}, "invalid"),
        ({"description": "a\x00b"}, "invalid"),
        ({"description": "x" * 1_000_000}, "invalid"),
        ({"description": "\ud800"}, "invalid"),
        ({"description": " "}, "invalid"),
        ({"name": {"a": 1}}, "invalid"),
    ],
)
def test_what_a_hostile_model_gives_is_refused_in_a_sentence_that_does_not_repeat_it(
    context, turn, given, code, capfd
):
    assert failed(context, turn, "task.create", **{**TOMORROW, **given}) == code
    assert one(context, "SELECT count(*) FROM tasks") == 0
    told = "".join(capfd.readouterr())
    assert "Shire" not in told
    assert "xxxx" not in told


def test_the_least_interval_is_the_documents(context, turn):
    assert failed(context, turn, "task.create", **{**DAILY, "schedule": "@every 10m"}) == "invalid"
    act(context, turn, "task.create", {"least_interval": "10m"}, **{**DAILY, "schedule": "@every 10m"})
    assert failed(context, turn, "task.create", {"least_interval": "48h"}, **DAILY) == "invalid"


def test_a_bot_has_so_many_scheduled_tasks_with_a_contact_and_no_more(context, account, turn):
    for _ in range(2):
        act(context, turn, "task.create", {"most": 2}, **DAILY)
    assert failed(context, turn, "task.create", {"most": 2}, **DAILY) == "limit"
    other = a_turn(context, account, bot=turn.bot_id, contact=a_contact(context, account).id)
    act(context, other, "task.create", {"most": 2}, **DAILY)
    assert failed(context, other, "task.create", {"most": 3, "scope": "bot"}, **DAILY) == "limit"


def test_a_task_that_has_had_its_only_run_makes_room(context, turn):
    told = act(context, turn, "task.create", {"most": 1}, **TOMORROW)
    execute(context, "UPDATE task_clocks SET next_run_at = NULL")
    second = act(context, turn, "task.create", {"most": 1}, **TOMORROW)
    act(context, turn, "task.update", {"most": 1}, id=second["id"], paused=True)
    assert failed(context, turn, "task.create", {"most": 1}, **TOMORROW) == "limit"
    for change in ({"schedule": "daily"}, {"paused": True}):
        assert failed(context, turn, "task.update", {"most": 1}, id=told["id"], **change) == "limit"


def test_what_is_scheduled_already_is_changed_however_many_there_are(context, account, turn):
    mine = {"bot_id": turn.bot_id, "contact_id": turn.contact_id, "schedule": "daily"}
    tasks = [a_task(context, account, **mine) for _ in range(3)]
    act(context, turn, "task.update", {"most": 1}, id=str(tasks[0].id), schedule="weekly")
    assert failed(context, turn, "task.create", {"most": 3}, **DAILY) == "limit"


def test_two_turns_of_a_bot_that_schedule_at_once_do_not_pass_its_limit(context, account, turn):
    other = a_turn(context, account, bot=turn.bot_id, contact=turn.contact_id)
    with at_work(context, turn) as session:
        ACTIONS["task.create"].act(session, turn, {"most": 1}, DAILY)
        assert failed(context, other, "task.create", {"most": 1}, **DAILY) == "busy"
    assert failed(context, other, "task.create", {"most": 1}, **DAILY) == "limit"


def test_what_runs_by_itself_schedules_only_where_it_may_and_never_soon(context, account, turn):
    task = a_task(context, account, bot_id=turn.bot_id, contact_id=turn.contact_id)
    alone = replace(turn, task_id=task.id)
    assert failed(context, alone, "task.create", **TOMORROW) == "refused"
    may = {"in_tasks": True}
    soon = one(context, "SELECT to_char(now() + interval '5 minutes', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
    assert failed(context, alone, "task.create", may, **{**TOMORROW, "schedule": soon}) == "invalid"
    act(context, alone, "task.create", may, **TOMORROW)
    assert failed(context, alone, "task.update", id=str(task.id), schedule=soon) == "invalid"
    act(context, turn, "task.create", **{**TOMORROW, "schedule": soon})  # somebody has asked for it


def test_a_turn_that_another_turn_has_asked_for_runs_by_itself_too(context, turn):
    execute(context, "UPDATE runs SET params = '{\"hops\": 1}' WHERE id = :id", id=turn.run_id)
    assert failed(context, turn, "task.create", **TOMORROW) == "refused"


def test_a_task_is_changed_paused_and_resumed(context, turn):
    task = act(context, turn, "task.create", **DAILY)["id"]
    told = act(context, turn, "task.update", id=task, name="Tea", schedule="09:30", timezone="Europe/Berlin")
    assert (told["name"], told["schedule"]) == ("Tea", "09:30")
    assert one(context, "SELECT description FROM tasks") == DAILY["description"]
    assert "nextRunAt" not in act(context, turn, "task.update", id=task, paused=True)
    assert act(context, turn, "task.update", id=task, paused=False)["nextRunAt"]
    assert failed(context, turn, "task.update", id=task, schedule="* * * * *") == "invalid"


def test_a_bot_reaches_its_own_tasks_with_the_contact_and_no_others(context, account, turn):
    stranger = an_account(context, "Grace")
    other = a_turn_with_a_contact(context, account)
    mine = a_task(context, account, bot_id=turn.bot_id, contact_id=turn.contact_id)
    unreachable = [
        a_task(context, account, bot_id=turn.bot_id),
        a_task(context, account, bot_id=turn.bot_id, contact_id=other.contact_id),
        a_task(context, account, bot_id=other.bot_id, contact_id=turn.contact_id),
        a_task(context, stranger),
    ]
    assert [one["id"] for one in act(context, turn, "task.list")["tasks"]] == [str(mine.id)]
    ids = [*(str(one.id) for one in unreachable), str(uuid.uuid4()), "nonsense", "", "\x00"]
    for task_id in ids:
        assert failed(context, turn, "task.update", id=task_id, name="Mine") == "not_found"
        assert failed(context, turn, "task.delete", id=task_id) == "not_found"
    assert failed(context, turn, "task.update", {"scope": "account"}, id=ids[3], name="x") == "not_found"
    assert one(context, "SELECT count(*) FROM tasks WHERE name = 'Mine'") == 0
    assert len(act(context, turn, "task.list", {"scope": "bot"})["tasks"]) == 3
    assert len(act(context, turn, "task.list", {"scope": "account"})["tasks"]) == 4
    act(context, turn, "task.update", {"scope": "account"}, id=ids[2], name="Mine")


def test_without_a_contact_or_a_bot_there_is_less_to_reach(context, account):
    nobody = a_turn(context, account)
    act(context, nobody, "task.create", **DAILY)
    assert len(act(context, nobody, "task.list")["tasks"]) == 1
    assert failed(context, nobody, "task.list", {"scope": "contact"}) == "no_contact"
    assert failed(context, replace(nobody, bot_id=None), "task.create", **DAILY) == "no_bot"


def test_a_task_is_deleted_with_a_receipt_but_not_by_itself_and_not_under_a_hold(context, account, turn):
    task = act(context, turn, "task.create", **DAILY)["id"]
    assert failed(context, replace(turn, task_id=uuid.UUID(task)), "task.delete", id=task) == "refused"
    a_hold(context, account, task_id=task)
    assert failed(context, turn, "task.delete", id=task) == "conflict"
    execute(context, "DELETE FROM legal_holds")
    act(context, turn, "task.delete", id=task)
    assert one(context, "SELECT state FROM tasks") == "deleted"
    assert one(context, "SELECT count(*) FROM erasures WHERE kind = 'task' AND target_id = :id", id=task) == 1
    assert act(context, turn, "task.list")["tasks"] == []


def test_nothing_that_was_said_under_privacy_comes_into_a_task(context, account):
    turn = a_turn_with_a_contact(context, account, privacy=True, said="I am at ada@example.com")
    token = one(context, "SELECT token FROM pii_tokens")
    words = f"Write to {token}, {token.upper()} or grace@example.com."
    act(context, turn, "task.create", **{**DAILY, "description": words})
    assert one(context, "SELECT description FROM tasks") == (
        "Write to <EMAIL_ADDRESS>, <EMAIL_ADDRESS> or <EMAIL_ADDRESS>."
    )
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1


@pytest.mark.parametrize("what", ["task.update", "task.delete"])
def test_a_clock_that_somebody_holds_is_busy_and_not_waited_for(context, account, turn, what):
    task = act(context, turn, "task.create", **DAILY)["id"]
    with context.transaction(account) as session:
        update_task(session, task, name="Mine")
        more = {"name": "Yours"} if what == "task.update" else {}
        assert failed(context, turn, what, id=task, **more) == "busy"
    assert one(context, "SELECT name FROM tasks") == "Mine"


def test_a_bot_or_a_contact_that_is_going_is_busy_or_gone(context, turn):
    with context.engine.begin() as connection:
        connection.execute(text("SELECT 1 FROM contacts WHERE id = :id FOR UPDATE"), {"id": turn.contact_id})
        assert failed(context, turn, "task.create", **DAILY) == "busy"
    execute(context, "DELETE FROM contacts WHERE id = :id", id=turn.contact_id)
    assert failed(context, turn, "task.create", **DAILY) == "not_found"


def test_turns_that_edit_while_tasks_fire_and_go_never_hang(context, account, turn):
    """Whoever fires, edits or deletes takes the clock first; a turn has its conversation first."""
    tasks = [act(context, turn, "task.create", **{**DAILY, "name": f"{n}"})["id"] for n in range(6)]
    conversation = str(turn.conversation_id)
    execute(
        context, "UPDATE conversations SET task_id = :task WHERE id = :id", task=tasks[0], id=conversation
    )
    execute(context, "UPDATE tasks SET conversation_mode = 'one', overlap = 'queue'")
    codes = set()

    def edits():
        for task in tasks * 5:
            with noting(codes):
                act(context, turn, "task.update", {"most": 50}, id=task, name="Edited")

    def fires():
        for task in tasks * 5:
            make_due(context, task)
            fire(context)

    def deletes():
        for task in tasks[3:]:
            with context.transaction(account) as session:
                delete_task(session, task)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(job) for job in (edits, fires, deletes)]:
            done.result(60)
    assert codes <= {"busy", "not_found"}
    assert one(context, "SELECT count(*) FROM tasks WHERE state = 'deleted'") == 3


@contextmanager
def noting(codes):
    try:
        yield
    except SkillFailed as failure:
        codes.add(failure.code)


@pytest.mark.parametrize(
    "document",
    [
        {"scope": "everybody"},
        {"scope": 1},
        {"most": 0},
        {"most": True},
        {"least_interval": "soon"},
        {"least_interval": 15},
        {"timezone": "x"},
        {"in_tasks": "yes"},
        {"unknown": 1},
    ],
)
def test_a_document_that_cannot_work_is_refused_when_it_is_saved(document):
    with pytest.raises(InvalidInput):
        ACTIONS["task.create"].checked({"type": "task.create", **document})


def test_every_action_says_what_it_takes_and_takes_nothing_else():
    for name, action in ACTIONS.items():
        assert action.description.endswith("."), name
        assert action.parameters["additionalProperties"] is False, name
        assert set(action.parameters["required"]) <= action.parameters["properties"].keys(), name
        assert action.checked({"type": name}) == {"type": name}
