"""Random histories of all run verbs on real PostgreSQL, compared after every step with a model in memory.

Workers are threads that really carry runs out, stopped in mid-call by a scripted model and told later what
that call comes to, so a run may be cancelled, reaped, given back or taken over in between. Longer runs:
RUN_MACHINE_EXAMPLES=5000 RUN_MACHINE_STEPS=60 pytest -n 0 --timeout 0 tests/integration/test_run_machine.py
"""

from __future__ import annotations

import os
import threading
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from core.breaker import Breaker
from core.conversations import delete_conversation
from core.errors import Conflict, NotFound
from core.firing import fire
from core.runs import cancel_run
from core.talking import complete, receive, send
from core.tasks import cancel_task, create_task, delete_task, pause_task, resume_task, trigger_task
from core.work import SUSPECT, Leases, hint, reap, unclaimed
from tests.factories import a_bot, a_task, an_account, execute, rows
from tests.run_model import OUTCOMES, Bot, Conversation, Held, Run, Task, World
from tests.run_rows import look
from tests.stopped_calls import PATIENCE, Call, Model, said, script_of

WORKERS = 2
LONG = timedelta(hours=1)
WORKER = st.integers(0, WORKERS - 1)
DUE = st.sampled_from(["on time", "on time", "late", "after an outage", "again"])
OUTCOME = st.sampled_from(["good"] * 8 + list(OUTCOMES))
SPEAKING = [(send, "Beside it."), (receive, None), (complete, None), (complete, "So?")]


class Box:
    """A broker that keeps what it was told, and never more than the test takes out."""

    def __init__(self):
        self.hints = []

    def publish(self, hints):
        self.hints.extend(hints)
        return True

    def waiting(self, queue):
        return 0

    def close(self):
        pass

    def empty(self):
        taken, self.hints = self.hints, []
        return [hint.run_id for hint in taken]


@dataclass(eq=False)
class Holding(Held):
    """What the model knows of a run in mid-call, and the thread that is."""

    call: Call = field(kw_only=True)
    leases: Leases = field(kw_only=True)


class RunMachine(RuleBasedStateMachine):
    """The rules: everything that may happen to a run, in any order."""

    def __init__(self, context, provider, leases):
        super().__init__()
        self.context, self.provider, self.box = context, provider, context.publisher
        self.account = an_account(context)
        self.leases = leases
        self.world = World()
        self.calls_before = provider.calls
        self.answers = 0
        self.box.empty()
        for action in ("complete", "receive", "send"):
            self.a_new_task(action)

    def teardown(self):
        for held in self.world.held:
            held.call.script.put(said("too late"))
            held.call.join(PATIENCE)
        execute(self.context, "DELETE FROM accounts")

    @rule(data=st.data())
    def something_happens(self, data):
        """One rule, because hypothesis leaves rules out at random: few histories would reach a settlement."""
        do = data.draw(st.sampled_from(self.possible()), label="then")
        do(self, data.draw)

    def possible(self):
        """What may happen now, the likelier the more often; first what brings things forward."""
        world, likely = self.world, []
        if any(run.expired for run in world.runs):
            likely += [RunMachine.reap] * 3
        if any(not run.due for run in world.runs):
            likely += [RunMachine.wait_out_the_back_off] * 2
        if self.waiting():
            likely += [RunMachine.wake] * 4 + [RunMachine.crash] * 2
        if world.held:
            likely += [RunMachine.settle] * 3 + [RunMachine.freeze] * 3 + [RunMachine.beat_or_stop] * 2
        if any(run.active for run in world.runs):
            likely += [RunMachine.cancel_active]
        if world.conversations:
            likely += [RunMachine.speak] * 3 + [RunMachine.take_away] * 2
        if world.runs:
            likely += [RunMachine.wake_in_vain, RunMachine.cancel, RunMachine.reap]
        return [*likely, *[RunMachine.fire] * 2, *[RunMachine.trigger] * 2, RunMachine.hint, RunMachine.edit]

    # Owners and schedulers.

    def trigger(self, draw):
        task = one_of(draw, self.world.tasks)
        refused = self.world.busy(task=task) or task.bot.gone
        if self.accepted(task, trigger_task, refused=refused):
            run = self.world.spawn(task, "manual")
            run.hinted = True
            self.adopt([run])

    def edit(self, draw):
        task = one_of(draw, self.world.tasks)
        verb = draw(st.sampled_from([resume_task, pause_task, cancel_task, delete_task, create_task]))
        if verb is create_task:
            self.a_new_task(task.action)
        elif self.accepted(task, verb):
            {
                pause_task: task.pause,
                resume_task: task.resume,
                cancel_task: lambda: self.world.cancel_of(task),
                delete_task: lambda: self.world.delete_task(task),
            }[verb]()

    def fire(self, draw):
        for _ in range(draw(st.integers(1, 3))):
            task, how = one_of(draw, self.world.tasks), draw(DUE)
            if task.state == "active" and task.due is None and self.set_clock(task, how):
                task.due = how
        schedulers = draw(st.integers(1, 2))
        taken = together(*[lambda: fire(self.context)] * schedulers)
        assert sum(taken) == sum(task.due is not None for task in self.world.tasks)
        self.adopt(self.world.fire())

    def reap(self, _):
        expired = [run for run in self.world.runs if run.expired]
        assert reap(self.context) == len(expired)
        for run in expired:
            run.reap()

    def hint(self, _):
        waiting = [run for run in self.waiting() if run.crashes < SUSPECT]
        self.box.empty()
        assert hint(self.context, "chat") == sum(not run.hinted for run in waiting)
        assert set(self.box.empty()) == {run.id for run in waiting if not run.hinted}
        polled = unclaimed(self.context, "chat", timedelta(0), 100)
        assert {run_id for run_id, _ in polled} == {run.id for run in waiting}
        for run in waiting:
            run.hinted = True

    def wait_out_the_back_off(self, _):
        execute(self.context, "UPDATE runs SET run_at = now() WHERE state = 'pending' AND run_at > now()")
        for run in self.world.runs:
            run.due = run.due or run.state == "pending"

    # Workers.

    def wake(self, draw):
        """A hint, or two for the same run at once: one claim."""
        run, worker = one_of(draw, self.waiting()), draw(WORKER)
        calls = [Call(self.context, self.leases[worker], run.id) for _ in range(draw(st.integers(1, 2)))]
        told = [(call.next(), call) for call in calls]
        ((word, call),) = [pair for pair in told if pair[0] != "ignored"]
        assert run.claim()
        self.begin(run, worker, word, call)

    def crash(self, draw):
        """A worker that dies with a run in its hands, and the scheduler that finds out."""
        self.wake(draw)
        if self.world.held:
            self.freeze(draw)
        self.reap(draw)

    def wake_in_vain(self, draw):
        """A hint that is late, early or forged."""
        others = [run.id for run in self.world.runs if run not in self.waiting()]
        run_id = one_of(draw, [*others, uuid.UUID(int=0)])
        assert Call(self.context, self.leases[0], run_id).next() == "ignored"

    def settle(self, draw):
        held, outcome = one_of(draw, self.world.held), draw(OUTCOME)
        self.answers += 1
        words = f"Answer {self.answers}."
        expected = held.settle(outcome, words)
        assert held.call.come_to(*script_of(outcome, words)) == expected
        held.call.join(PATIENCE)
        self.world.held.remove(held)

    def freeze(self, draw):
        """A worker stops past its lease; when it goes on, its own clock may or may not have told it."""
        held = one_of(draw, self.world.held)
        execute(
            self.context,
            "UPDATE runs SET lease_until = now() - interval '1 second'"
            " WHERE id = :id AND epoch = :epoch AND state = 'running'",
            id=held.run.id,
            epoch=held.epoch,
        )
        held.run.expired = held.run.expired or held.valid
        if draw(st.booleans()):
            held.leases._held[(held.run.id, held.epoch)].trusted_until = 0.0
            held.trusted = False

    def beat_or_stop(self, draw):
        worker, stops = draw(WORKER), draw(st.booleans())
        leases = self.leases[worker]
        held = [one for one in self.world.held if one.leases is leases]
        if stops:
            assert leases.release_all() == len(held)
            leases.close()
            self.leases[worker] = Leases(self.context)  # what is given back is given back for good
        else:
            leases.beat()
        for one in held:
            one.release() if stops else one.beat()

    def cancel_active(self, draw):
        run = one_of(draw, [run for run in self.world.runs if run.active])
        self.verb(cancel_run, run.id)
        run.cancel()

    def cancel(self, draw):
        run = one_of(draw, self.world.runs)
        refused = not run.active and run.state != "cancelled"
        if self.verb(cancel_run, run.id, raises=Conflict if refused else None):
            run.cancel()

    # Conversations.

    def speak(self, draw):
        conversation = one_of(draw, self.world.conversations)
        verb, said = draw(st.sampled_from(SPEAKING))
        refused = verb is not send and self.world.busy(conversation=conversation)
        arguments = (conversation.id, said) if said else (conversation.id,)
        made = self.verb(verb, *arguments, raises=Conflict if refused else None)
        if made and said:
            conversation.say()
        if made and verb is not send:
            run = Run(verb.__name__, conversation=conversation, trigger="api", id=made.id, hinted=True)
            self.world.runs.append(run)

    def take_away(self, draw):
        """Text of a conversation, the conversation itself, or the bot; rather where a model is at work."""
        at_work = [held.run.conversation for held in self.world.held if held.run.conversation]
        conversation = one_of(draw, at_work or self.world.conversations)
        what = draw(st.sampled_from(["text", "text", "conversation", "bot"]))
        if what == "conversation":
            self.verb(delete_conversation, conversation.id)
            self.world.delete_conversation(conversation)
        elif what == "bot":
            execute(self.context, "DELETE FROM bots WHERE id = :id", id=conversation.bot.id)
            conversation.bot.gone = True
        else:
            purge = "UPDATE conversations SET purge_epoch = purge_epoch + 1 WHERE id = :id"
            execute(self.context, purge, id=conversation.id)
            conversation.purge_epoch += 1

    # What always holds.

    @invariant()
    def the_rows_are_what_the_model_says(self):
        found = look(self.context, self.account)
        for name in ("tasks", "conversations", "runs"):
            known = {thing.pop("id"): thing for thing in found[name]}
            assert known == {str(thing.id): thing.seen() for thing in getattr(self.world, name)}
        assert found["used"] == [self.world.used()]
        assert found["broken"] == []

    @invariant()
    def nobody_calls_a_model_uncounted_or_with_a_transaction_open(self):
        assert self.provider.calls - self.calls_before == self.world.used()["calls"]
        assert self.context.engine.pool.checkedout() == 0

    # How the rules do it.

    def a_new_task(self, action):
        bot = Bot(a_bot(self.context, self.account, name=f"bot {len(self.world.tasks)}").id)
        made = a_task(self.context, self.account, bot_id=bot.id, action=action, schedule="@every 1h")
        self.world.tasks.append(Task(made.id, bot, action))

    def waiting(self):
        return [run for run in self.world.runs if run.state == "pending" and run.due]

    def verb(self, verb, *arguments, raises=None):
        """Calls a tenant's verb in a transaction of its own; None when it was refused, as it had to be."""
        if raises:
            with pytest.raises(raises), self.context.transaction(self.account) as session:
                verb(session, *arguments)
            return None
        with self.context.transaction(self.account) as session:
            return verb(session, *arguments) or True

    def accepted(self, task, verb, *, refused=False):
        raises = NotFound if task.state == "deleted" else Conflict if refused else None
        return self.verb(verb, task.id, raises=raises) is not None

    def set_clock(self, task, how):
        """Puts the task's clock at an instant that has come; with `again`, at one that has its row.

        What the ledger holds becomes a day older before that: a clock never goes back behind its rows.
        """
        late = {"on time": 0, "late": 70, "after an outage": 90}.get(how)
        if late is not None:
            execute(
                self.context,
                "UPDATE runs SET scheduled_for = scheduled_for - interval '1 day',"
                " covers_from = covers_from - interval '1 day' WHERE task_id = :id",
                id=task.id,
            )
            at = f"date_trunc('milliseconds', now()) - interval '{late} minutes'"
        else:
            at = "(SELECT max(scheduled_for) FROM runs WHERE task_id = :id)"
        set_to = f"UPDATE task_clocks SET next_run_at = {at} WHERE task_id = :id AND {at} IS NOT NULL"
        with self.context.transaction() as session:
            return session.execute(text(set_to), {"id": task.id}).rowcount

    def adopt(self, expected):
        """Finds the rows that a verb made for the model's new runs, and their conversations."""
        found = rows(
            self.context,
            "SELECT id, task_id, state, reason, trigger, conversation_id FROM runs"
            " WHERE account_id = :account AND NOT id = ANY(:known)",
            account=self.account,
            known=[run.id for run in self.world.runs],
        )
        by_key = {(row["task_id"], row["state"], row["reason"], row["trigger"]): row for row in found}
        wanted = {(run.task.id, run.state, run.reason, run.trigger): run for run in expected}
        assert by_key.keys() == wanted.keys()
        assert len(found) == len(expected)
        for key, run in wanted.items():
            run.id = by_key[key]["id"]
            if run.active:
                opened = Conversation(by_key[key]["conversation_id"], run.task.bot)
                opened.say()
                run.conversation = opened
                self.world.conversations.append(opened)
            self.world.runs.append(run)

    def begin(self, run, worker, word, call):
        """What a claimed run does at once: it calls the model, unless there is nothing to call it for."""
        if run.action == "send":
            assert word == "succeeded"
            run.succeed(None)
        elif run.conversation.bot.gone:
            assert word == run.fail("no_bot", "no_bot", 1)
        else:
            assert word == "in mid-call"
            run.call()
            seen = (run, run.epoch, run.conversation.purge_epoch)
            self.world.held.append(Holding(*seen, call=call, leases=self.leases[worker]))


def one_of(draw, things):
    return things[draw(st.integers(0, len(things) - 1))]


def together(*doings):
    """Does all at the same time and answers what each came to."""
    if len(doings) == 1:
        return [doings[0]()]
    done = []
    threads = [threading.Thread(target=lambda do=do: done.append(do())) for do in doings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(done) == len(doings)
    return done


@pytest.fixture
def what_it_needs(context, monkeypatch):
    """Nothing happens by itself: leases and back-offs last for hours and end when a rule says so."""
    monkeypatch.setattr("core.settlement.random", SimpleNamespace(random=lambda: 0.5))
    provider = Model()
    monkeypatch.setattr(
        type(context.providers), "provider_for", lambda _self, _model: (provider, "scripted", {})
    )
    slow = {
        "lease": LONG,
        "rehint_after": LONG,
        "retry_base": timedelta(minutes=10),
        "retry_cap": timedelta(days=1),
        "run_time": timedelta(days=30),
        "turn_time": timedelta(days=30),
        "model_time": LONG,
        "catch_up_window": timedelta(minutes=20),
        "attempts": 3,
    }
    patient = Breaker(threshold=1_000_000)  # it has tests of its own, and remembers from run to run
    slowed = replace(
        context, settings=context.settings.model_copy(update=slow), publisher=Box(), breaker=patient
    )
    leases = [Leases(slowed) for _ in range(WORKERS)]
    yield slowed, provider, leases
    for held in leases:
        held.close()


def test_every_history_of_the_run_verbs_agrees_with_the_model(what_it_needs):
    longer = "RUN_MACHINE_EXAMPLES" in os.environ
    run_state_machine_as_test(
        lambda: RunMachine(*what_it_needs),
        settings=settings(
            max_examples=int(os.environ.get("RUN_MACHINE_EXAMPLES", "80")),
            stateful_step_count=int(os.environ.get("RUN_MACHINE_STEPS", "30")),
            derandomize=not longer,
            database=None,
            deadline=None,
            print_blob=longer,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
