"""Single moments of a storm, each brought about on purpose on a real database; empty when all went well.

A storm meets these moments by chance. Here they are the detectors of the sabotage list: each comes about in
milliseconds, and is answered as a storm is, by the promises and by what came out.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError

from core.chat.provider import Finished, FinishReason, TextDelta
from core.context import Context
from core.errors import Conflict, RunFailed
from core.firing import fire
from core.publisher import Hint
from core.talking import complete, send
from core.tasks import trigger_task
from core.turns import carry_out
from core.work import Leases, claim, reap, unclaimed
from tests.acceptance.storm.verdict import broken_promises
from tests.factories import (
    a_conversation,
    a_due_task,
    a_pending_run,
    a_pending_turn,
    a_task,
    an_account,
    execute,
    make_due,
    one,
    rows,
    the_run,
)

MINUTE = timedelta(minutes=1)


class Speaker:
    """A model that says what it is told to, after something has happened."""

    def __init__(self, says: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.says, self.meanwhile = says, meanwhile

    def provider_for(self, _model: str | None) -> tuple[Any, str, dict[str, Any]]:
        return self, "scripted", {}

    def stream(self, _request: object, _deadline: object) -> Iterator[Any]:
        self.meanwhile()
        yield TextDelta(self.says)
        yield Finished(FinishReason.stop, 1, 1)

    def close(self) -> None: ...


def work(context: Context, run: uuid.UUID, says: str, meanwhile: Callable[[], object] = lambda: None) -> str:
    """A worker of its own carries a run out; whatever stops it leaves the rows as they are."""
    leases = Leases(context)
    try:
        return carry_out(
            replace(context, providers=Speaker(says, meanwhile)),  # type: ignore[arg-type]
            leases,
            run,
            worker="tests",
        )
    except (RunFailed, IntegrityError) as error:
        return type(error).__name__
    finally:
        leases.close()


def lose_the_lease(context: Context) -> None:
    execute(context, "UPDATE runs SET lease_until = now() - interval '1 minute' WHERE state = 'running'")
    reap(context)


def take_over(context: Context, run: uuid.UUID) -> None:
    lose_the_lease(context)
    with context.transaction() as session:
        claim(session, run, lease=MINUTE, run_time=MINUTE, worker="other", delivery=None)


def a_worker_settles_what_another_has(context: Context) -> list[str]:
    """Reaped and claimed by somebody else during the call: the first may write nothing."""
    run = a_pending_run(context, an_account(context)).id
    outcome = work(context, run, "first", lambda: take_over(context, run))
    found = [] if outcome == "lost" else [f"a worker without its lease has {outcome}"]
    if the_run(context, run)["state"] != "running":
        found.append("it has ended somebody else's attempt")
    return found + broken_promises(context)


def two_workers_settle(context: Context) -> list[str]:
    """The second finishes during the call of the first: one reply."""
    run = a_pending_run(context, an_account(context)).id

    def second() -> None:
        lose_the_lease(context)
        work(context, run, "second")

    work(context, run, "first", second)
    return broken_promises(context)


def an_instant_is_due_twice(context: Context) -> list[str]:
    """The clock is set back to an instant that has fired, as a restored backup or an edit may do."""
    task = a_due_task(context, an_account(context))
    at = one(context, "SELECT next_run_at FROM task_clocks")
    fire(context)
    execute(context, "UPDATE task_clocks SET next_run_at = :at WHERE task_id = :id", at=at, id=task.id)
    fire(context)
    return broken_promises(context)


def two_turns_are_asked_for(context: Context) -> list[str]:
    account = an_account(context)
    conversation = a_conversation(context, account)
    found = ["two turns were let into one conversation"]
    with suppress(Conflict):
        for _ in range(2):
            with context.transaction(account) as session:
                complete(session, conversation.id, "Hello?")
        return found + broken_promises(context)
    return broken_promises(context)


def two_messages_are_sent(context: Context) -> list[str]:
    account = an_account(context)
    conversation = a_conversation(context, account)
    with suppress(IntegrityError):
        for word in ("one", "two"):
            with context.transaction(account) as session:
                send(session, conversation.id, word)
    return broken_promises(context)


class Eager:
    """A broker whose worker is there before the hint has left: it looks for the row at once."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.missed: list[str] = []

    def publish(self, hints: list[Hint]) -> bool:
        for hint in hints:
            if not rows(self.context, "SELECT 1 AS found FROM runs WHERE id = :id", id=hint.run_id):
                self.missed.append("a hint came before its row")
        return True

    def waiting(self, _queue: str) -> int:
        return 0

    def close(self) -> None: ...


def a_worker_is_quicker_than_the_commit(context: Context) -> list[str]:
    account = an_account(context)
    task = a_task(context, account)
    broker = Eager(context)
    with replace(context, publisher=broker).transaction(account) as session:  # type: ignore[arg-type]
        trigger_task(session, task.id)
    return broker.missed


def a_task_fires_while_no_worker_lives(context: Context) -> list[str]:
    """The conversation and the prompt are there at once, whoever comes later."""
    a_due_task(context, an_account(context))
    fire(context)
    found = [] if one(context, "SELECT count(*) FROM messages") == 1 else ["the prompt is missing"]
    return found + broken_promises(context)


def a_worker_dies_that_was_never_hinted(context: Context) -> list[str]:
    """As the poll worker does: it takes rows without a hint."""
    a_due_task(context, an_account(context))
    fire(context)
    run = one(context, "SELECT id FROM runs")
    with context.transaction() as session:
        claim(session, run, lease=MINUTE, run_time=MINUTE, worker="poll", delivery=None)
    lose_the_lease(context)
    return broken_promises(context)


def a_worker_dies_before_a_backlog(context: Context) -> list[str]:
    """What is taken up again is older than what waits, and goes first."""
    account = an_account(context)
    first = a_pending_turn(context, account).id
    with context.transaction() as session:
        claim(session, first, lease=MINUTE, run_time=MINUTE, worker="tests", delivery=None)
    for _ in range(3):
        a_pending_turn(context, account)
    lose_the_lease(context)
    ((next_one, _account),) = unclaimed(context, "chat", timedelta(0), 1)
    return [] if next_one == first else ["recovered work waits behind the backlog"]


def a_message_is_deleted_during_the_call(context: Context) -> list[str]:
    """What the model makes of a text that is deleted meanwhile is not stored."""
    run = a_pending_turn(context, an_account(context), "my secret").id

    def delete() -> None:
        execute(context, "UPDATE conversations SET purge_epoch = purge_epoch + 1")
        execute(context, "DELETE FROM messages WHERE type = 'user'")

    work(context, run, "You said: my secret", delete)
    kept = one(context, "SELECT count(*) FROM messages WHERE text LIKE '%secret%'")
    return ["a deleted text has come back in a reply"] if kept else []


def a_cancelled_run_is_answered(context: Context) -> list[str]:
    """Cancelled during the call: nothing of it is stored."""
    run = a_pending_run(context, an_account(context)).id
    cancel = "UPDATE runs SET state = 'cancelled', epoch = epoch + 1, lease_until = NULL, finished_at = now()"
    work(context, run, "too late", lambda: execute(context, cancel))
    found = [] if the_run(context, run)["state"] == "cancelled" else ["a cancelled run went on"]
    replies = one(context, "SELECT count(*) FROM messages WHERE step = 'reply'")
    return found + (["a cancelled run has a reply"] if replies else [])


def a_schedule_that_is_late_fires(context: Context) -> list[str]:
    """Every instant of an outage is accounted for, once."""
    task = a_due_task(context, an_account(context), schedule="@every 1m")
    make_due(context, task.id, timedelta(minutes=5, seconds=1))
    fire(context)
    covered = one(context, "SELECT sum(COALESCE(covers_count, 1)) FROM runs")
    return ([] if covered == 6 else [f"{covered} instants of 6 are accounted for"]) + broken_promises(context)


SCENARIOS: tuple[Callable[[Context], list[str]], ...] = (
    a_worker_settles_what_another_has,
    two_workers_settle,
    an_instant_is_due_twice,
    two_turns_are_asked_for,
    two_messages_are_sent,
    a_worker_is_quicker_than_the_commit,
    a_task_fires_while_no_worker_lives,
    a_worker_dies_that_was_never_hinted,
    a_worker_dies_before_a_backlog,
    a_message_is_deleted_during_the_call,
    a_cancelled_run_is_answered,
    a_schedule_that_is_late_fires,
)
