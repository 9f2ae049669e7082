"""All that moves a clock, at once: each instant that was due has one row, whoever came first."""

from __future__ import annotations

import random
import threading
from datetime import timedelta

import pytest

from core.conversations import delete_conversation
from core.errors import Conflict, InvalidInput, NotFound, Unavailable
from core.firing import fire
from core.invariants import ALWAYS, EVERYTHING, violations
from core.rows import database_now
from core.runs import cancel_run
from core.talking import complete
from core.tasks import cancel_task, pause_task, resume_task, trigger_task, update_task
from core.turns import carry_out
from core.waiting import promote
from tests.factories import a_task, execute, one, rows

MINUTE = timedelta(minutes=1)
AGES = timedelta(days=400_000)
ROUNDS = 12
HANDS = 4
# Time is moved by putting every row back, in two steps: between them no two rows of the ledger can meet.
PUT_BACK = (
    (
        "UPDATE task_clocks SET next_run_at = next_run_at - CAST(:by AS interval),"
        " rests_from = rests_from - CAST(:by AS interval)"
    ),
    "UPDATE tasks SET paused_until = paused_until - CAST(:by AS interval)",
    (
        "UPDATE runs SET scheduled_for = scheduled_for - CAST(:by AS interval),"
        " covers_from = covers_from - CAST(:by AS interval)"
    ),
)
LEDGER = (
    "SELECT COALESCE(covers_from, scheduled_for) AS first, scheduled_for AS last,"
    " COALESCE(covers_count, 1) AS n FROM runs WHERE trigger IN ('schedule', 'catch_up') AND task_id = :id"
    " ORDER BY scheduled_for"
)
EDITS = {
    "timezone": ["UTC", "Europe/Berlin"],
    "overlap": ["skip", "queue", "allow", "cancel_previous"],
    "catch_up": ["latest", "all", "none"],
    "catch_up_window": [None, 2 * MINUTE],
    "conversation_mode": ["new", "one"],
    "jitter": [None, timedelta(milliseconds=5)],
}


def put_back(context, by):
    for step in (AGES, by - AGES):
        for statement in PUT_BACK:
            execute(context, statement, by=step)


class Hand(threading.Thread):
    """Somebody who does one thing after another, like everybody else."""

    def __init__(self, context, account, leases, tasks, seed):
        super().__init__()
        self.context, self.account, self.leases, self.tasks = context, account, leases, tasks
        self.random, self.broke = random.Random(seed), []
        self.acts = [self.fire, self.promote, self.work, self.edit, self.pause, self.resume, self.trigger,
                     self.cancel, self.speak, self.forget]  # fmt: skip

    def run(self):
        for _ in range(6):
            act = self.random.choice(self.acts)
            try:
                act(self.random.choice(self.tasks))
            except (Conflict, NotFound, InvalidInput, Unavailable):  # the last: come back, nothing was stored
                pass
            except Exception as error:  # noqa: BLE001 (told by the test)
                self.broke.append((act.__name__, repr(error)))

    def verb(self, do, *arguments, **fields):
        with self.context.transaction(self.account) as session:
            return do(session, *arguments, **fields)

    def fire(self, _task):
        fire(self.context)

    def promote(self, _task):
        promote(self.context)

    def some(self, column, where):
        found = rows(self.context, f"SELECT {column} AS id FROM runs WHERE {where}")
        return [row["id"] for row in self.random.sample(found, min(2, len(found)))]

    def work(self, task):
        for run in self.some("id", "state = 'pending'"):
            carry_out(self.context, self.leases, run, worker="tests")

    def cancel(self, task):
        for run in self.some("id", "state IN ('waiting', 'pending')"):
            self.verb(cancel_run, run)
        self.verb(cancel_task, task)

    def speak(self, _task):
        for conversation in self.some("conversation_id", "conversation_id IS NOT NULL"):
            self.verb(complete, conversation, "And I?")

    def forget(self, _task):
        for conversation in self.some("conversation_id", "conversation_id IS NOT NULL"):
            self.verb(delete_conversation, conversation)

    def trigger(self, task):
        self.verb(trigger_task, task)

    def edit(self, task):
        name = self.random.choice(list(EDITS))
        self.verb(update_task, task, **{name: self.random.choice(EDITS[name])})

    def pause(self, task):
        span = self.random.choice([None, MINUTE / 2, 3 * MINUTE])

        def pause_for(session):
            return pause_task(session, task, until=database_now(session) + span if span else None)

        self.verb(pause_for)

    def resume(self, task):
        self.verb(resume_task, task)


@pytest.mark.parametrize("seed", range(3))
def test_each_instant_is_accounted_for_once_whoever_moves_the_clock(context, account, leases, seed):
    dice = random.Random(seed)
    tasks = [a_task(context, account, schedule="* * * * *").id for _ in range(2)]
    begun = one(context, "SELECT min(next_run_at) FROM task_clocks")
    broke = []
    for _ in range(ROUNDS):
        by = dice.randrange(8) * MINUTE
        put_back(context, by)
        begun -= by
        hands = [Hand(context, account, leases, tasks, dice.random()) for _ in range(HANDS)]
        for hand in hands:
            hand.start()
        for hand in hands:
            hand.join(30)
            broke += hand.broke
    assert broke == []
    with context.transaction() as session:
        assert violations(session, since=EVERYTHING, attempts=5, invariants=ALWAYS) == []
    for task in tasks:
        with context.transaction(account) as session:
            resume_task(session, task)
    while fire(context):
        pass
    for task in tasks:
        following = one(context, "SELECT next_run_at FROM task_clocks WHERE task_id = :id", id=task)
        expected = begun
        for row in rows(context, LEDGER, id=task):
            assert row["first"] == expected, (row, expected)
            assert row["last"] - row["first"] == (row["n"] - 1) * MINUTE
            expected = row["last"] + MINUTE
        assert expected == following
