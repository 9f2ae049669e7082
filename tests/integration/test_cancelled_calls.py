"""A model that says nothing holds nobody: a run cancelled in mid-call frees its worker within seconds."""

from __future__ import annotations

import dataclasses
import threading
import time
from datetime import timedelta

import pytest

from core.chat.providers import Providers
from core.database import make_engine
from core.runs import cancel_run
from core.tasks import cancel_task, delete_task
from core.turns import carry_out
from core.work import Leases
from tests.factories import a_bot, a_pending_run, execute, one, rows, the_run
from tests.model_server import ModelServer

SOON = 4.0  # seconds: a look, a slice, and what a busy machine adds
SILENT = ["hang", "hang-body", "hang-after-finish", "drip-headers:0.3", "drip-body:0.3", "offline/latency=60"]


@pytest.fixture(scope="module")
def server():
    with ModelServer() as server:
        yield server


@pytest.fixture
def asking(context, server):
    """The context of a worker whose models are the server's."""
    providers = Providers(server.base_url)
    yield dataclasses.replace(context, providers=providers)
    providers.close()


class Worker:
    """A thread that carries a run out; `outcome` once it is free again."""

    def __init__(self, context, leases, run):
        self.outcome, self.context = None, context
        self.thread = threading.Thread(target=lambda: self._work(leases, run))
        self.thread.start()

    def _work(self, leases, run):
        self.outcome = carry_out(self.context, leases, run.id, worker="tests")

    def is_free_within(self, seconds):
        began = time.monotonic()
        self.thread.join(60)
        return time.monotonic() - began < seconds


def a_run_on(context, account, model):
    return a_pending_run(context, account, bot_id=a_bot(context, account, model=model).id)


@pytest.fixture
def in_mid_call(asking, account, leases, eventually):
    """Starts a worker on a run of this model, and comes back when the model has been asked."""

    def start(model, leases=leases):
        run = a_run_on(asking, account, model)
        worker = Worker(asking, leases, run)
        eventually(lambda: one(asking, "SELECT model_calls FROM runs WHERE id = :id", id=run.id) == 1)
        return run, worker

    return start


@pytest.fixture(autouse=True)
def _no_call_stays_behind(server):
    """No thread but the server's outlives a test: nothing goes on in the background."""
    before = set(threading.enumerate())
    yield
    left = {thread for thread in set(threading.enumerate()) - before if thread not in server._threads}
    assert not {thread.name for thread in left if thread.name != "heartbeat"}


def cancelled(context, account, run_id):
    with context.transaction(account) as session:
        cancel_run(session, run_id)


@pytest.mark.parametrize("model", SILENT)
def test_a_run_cancelled_while_its_model_is_silent_frees_the_worker_and_stores_nothing(
    context, account, in_mid_call, server, model
):
    before = len(server.calls)
    run, worker = in_mid_call(model)
    cancelled(context, account, run.id)
    assert worker.is_free_within(SOON)
    assert worker.outcome == "lost"
    ended = the_run(context, run.id)
    assert (ended["state"], ended["error_class"], ended["model_calls"]) == ("cancelled", "cancelled", 1)
    assert rows(context, "SELECT step, outcome FROM run_steps ORDER BY step") == [
        {"step": "attempt.1", "outcome": "cancelled"},
        {"step": "model.1", "outcome": "cancelled"},
    ]
    assert one(context, "SELECT count(*) FROM messages WHERE step = 'reply'") == 0
    assert len(server.calls) <= before + 1
    assert server.wait_until(lambda calls: all(call["ended"] for call in calls))


def test_a_task_that_is_deleted_ends_its_silent_call(context, account, in_mid_call):
    run, worker = in_mid_call("hang")
    with context.transaction(account) as session:
        delete_task(session, run.task_id)
    assert worker.is_free_within(SOON)
    assert (worker.outcome, the_run(context, run.id)["state"]) == ("lost", "cancelled")


def test_cancelling_a_task_ends_its_silent_call(context, account, in_mid_call):
    run, worker = in_mid_call("hang-body")
    with context.transaction(account) as session:
        cancel_task(session, run.task_id)
    assert worker.is_free_within(SOON)
    assert (worker.outcome, the_run(context, run.id)["state"]) == ("lost", "cancelled")


def test_a_run_that_somebody_else_has_ends_its_silent_call(context, in_mid_call):
    run, worker = in_mid_call("hang")
    execute(context, "UPDATE runs SET epoch = epoch + 1 WHERE id = :id", id=run.id)
    assert worker.is_free_within(SOON)
    assert (worker.outcome, the_run(context, run.id)["state"]) == ("lost", "running")


def test_a_worker_that_gives_its_runs_back_ends_their_silent_calls(context, in_mid_call):
    own = Leases(context)
    run, worker = in_mid_call("hang", own)
    assert own.release_all() == 1
    assert worker.is_free_within(SOON)
    own.close()
    assert (worker.outcome, the_run(context, run.id)["state"]) == ("lost", "pending")


def test_a_worker_that_cannot_renew_its_lease_ends_its_silent_call(context, in_mid_call, monkeypatch):
    settings = context.settings.model_copy(update={"lease": timedelta(seconds=2)})
    own = Leases(dataclasses.replace(context, settings=settings))
    away = make_engine("postgresql://nobody@127.0.0.1:1/nothing", pool_size=1, name="away")
    monkeypatch.setattr(own, "_engine", away)
    _, worker = in_mid_call("hang", own)
    assert worker.is_free_within(2 + SOON)
    own.close()
    assert worker.outcome == "lost"


def test_no_call_begins_after_its_task_was_deleted(asking, account, leases, server, monkeypatch):
    run = a_run_on(asking, account, "hang")
    before = len(server.calls)
    really = type(asking.providers).provider_for

    def deleted_on_the_way(providers, model):
        with asking.transaction(account) as session:
            delete_task(session, run.task_id)
        return really(providers, model)

    monkeypatch.setattr(type(asking.providers), "provider_for", deleted_on_the_way)
    assert carry_out(asking, leases, run.id, worker="tests") == "lost"
    assert carry_out(asking, leases, run.id, worker="tests") == "ignored"
    assert len(server.calls) == before
    assert the_run(asking, run.id)["model_calls"] == 0


def test_a_look_finds_what_changed_hands_and_nothing_else(context, account, in_mid_call):
    own = Leases(context)
    own._stop.set()  # Only the looks of this test.
    own._thread.join()
    gone, worker = in_mid_call("hang", own)
    kept, other = in_mid_call("hang", own)
    cancelled(context, account, gone.id)
    own.look()
    held = {run_id: lease.lost for (run_id, _), lease in own._held.items()}
    assert held == {gone.id: True, kept.id: False}
    cancelled(context, account, kept.id)
    own.look()
    assert worker.is_free_within(SOON)
    assert other.is_free_within(SOON)
    own.close()
