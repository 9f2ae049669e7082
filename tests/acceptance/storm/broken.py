"""The program, broken on purpose, one change at a time: each must turn the harness red.

A test applies a change in its own process. A storm runs every process of ours through this
module (`STORM_SABOTAGE=<name> python -m tests.acceptance.storm.broken worker …`), which breaks it and then
starts the command. Where a constraint and the code guard the same thing, both go, else the other one holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

import core.context
import core.firing
import core.messages
import core.settlement
import core.turns
import core.work
from core.context import Context
from core.database import translated
from models import Run
from tests.acceptance.storm.broken_whole import WHOLE
from tests.acceptance.storm.sabotage import Put, Sabotage, changed
from tests.factories import execute


def _no_epoch(put: Put) -> None:
    """Whoever comes last settles, as long as the run is being worked on by anybody."""
    for name in ("LOCK_RUN", "FAIL", "RETRY"):
        statement = getattr(core.settlement, name)
        put(core.settlement, name, changed(statement, "epoch = :epoch", "CAST(:epoch AS int) IS NOT NULL"))


def _no_guard(put: Put) -> None:
    """Nor need it be worked on at all."""
    guard = "SELECT 1 FROM runs WHERE id = :id AND CAST(:epoch AS int) IS NOT NULL FOR UPDATE"
    put(core.settlement, "LOCK_RUN", text(guard))


def _forgetful_firing(put: Put) -> None:
    known, unknown = "recorded.since AS recorded_from", "CAST(NULL AS timestamptz) AS recorded_from"
    put(core.firing, "DEFINITIONS", changed(core.firing.DEFINITIONS, known, unknown))


def _begin_regardless(put: Put) -> None:
    """The index is all there is: a turn begins without asking whether one is under way."""
    put("core.talking.BEGIN", insert(Run))


def _order_without_lock(put: Put) -> None:
    """A place is read, not taken."""
    statement = changed(core.messages.NEXT_PLACE, "next_seq = next_seq + :count, ", "")
    put(core.messages, "NEXT_PLACE", changed(statement, "next_seq - :count AS seq", "next_seq AS seq"))


@contextmanager
def _hinting_transaction(context: Context, account: Any = None) -> Iterator[Session]:
    with translated(), Session(context.engine, expire_on_commit=False) as session:
        session.info.update(account=account, settings=context.settings)
        with session.begin():
            yield session
            if session.info.get("hints"):
                context.publisher.publish(session.info["hints"])


def _hint_first(put: Put) -> None:
    put(core.context.Context, "transaction", _hinting_transaction)


def _conversation_later(put: Put) -> None:
    """The scheduler stores the run alone; the worker opens the conversation when it claims it."""
    bare = text(
        "INSERT INTO runs (id, account_id, task_id, trigger, action, scheduled_for)"
        " SELECT d.run_id, t.account_id, t.id, d.trigger, t.action, d.scheduled_for FROM"
        " unnest(CAST(:run_ids AS uuid[]), CAST(:task_ids AS uuid[]), CAST(:conversation_ids AS uuid[]),"
        " CAST(:message_ids AS uuid[]), CAST(:triggers AS text[]), CAST(:scheduled AS timestamptz[]))"
        " AS d (run_id, task_id, conversation_id, message_id, trigger, scheduled_for)"
        " JOIN tasks t ON t.id = d.task_id"
    )
    opening = text(
        "WITH c AS (INSERT INTO conversations (id, account_id, bot_id, task_id, run_id, source, name,"
        " next_seq) SELECT gen_random_uuid(), t.account_id, t.bot_id, t.id, r.id, 'task', t.name, 1"
        " FROM runs r JOIN tasks t ON t.id = r.task_id WHERE r.id = :id RETURNING id, run_id)"
        " UPDATE runs SET conversation_id = c.id FROM c WHERE runs.id = c.run_id"
    )
    claim = core.turns.claim

    def claim_and_open(session: Session, run_id: Any, **values: Any) -> Any:
        claimed = claim(session, run_id, **values)
        if claimed and claimed.conversation_id is None:
            session.execute(opening, {"id": run_id})
            row = session.execute(text("SELECT conversation_id FROM runs WHERE id = :id"), {"id": run_id})
            return replace(claimed, conversation_id=row.scalar_one())
        return claimed

    put(core.firing, "INSERT_SPAWNED", bare)
    put(core.turns, "claim", claim_and_open)


def _reap_by_nullable(put: Put) -> None:
    """By the last hint: a run that was never hinted has none."""
    by_hint = changed(core.work.REAP, "lease_until < clock_timestamp()", "hinted_at < clock_timestamp()")
    put(core.work, "REAP", by_hint)


def _reaper_moves_run_at(put: Put) -> None:
    moved = changed(core.work.REAP, "hinted_at = NULL,", "hinted_at = NULL, run_at = clock_timestamp(),")
    put(core.work, "REAP", moved)


class _Anything(int):
    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


def _no_purge_epoch(put: Put) -> None:
    load = core.turns.load

    def forgetful(*arguments: Any) -> Any:
        turn = load(*arguments)
        return turn and replace(turn, purge_epoch=_Anything(turn.purge_epoch))

    put(core.turns, "load", forgetful)


SABOTAGES = (
    Sabotage("no_epoch", _no_epoch, "a_worker_settles_what_another_has"),
    Sabotage("no_guard", _no_guard, "a_cancelled_run_is_answered"),
    Sabotage(
        "no_occurrence_index", _forgetful_firing, "an_instant_is_due_twice", "DROP INDEX uq_runs_occurrence"
    ),
    Sabotage(
        "no_active_turn_index",
        _begin_regardless,
        "two_turns_are_asked_for",
        "DROP INDEX uq_runs_active_turn",
    ),
    Sabotage("no_run_step_index", _no_guard, "two_workers_settle", "DROP INDEX uq_messages_run_step"),
    Sabotage(
        "no_order_index",
        _order_without_lock,
        "two_messages_are_sent",
        "ALTER TABLE messages DROP CONSTRAINT uq_messages_conversation_id_seq",
    ),
    Sabotage("hint_before_commit", _hint_first, "a_worker_is_quicker_than_the_commit"),
    Sabotage("worker_opens_conversation", _conversation_later, "a_task_fires_while_no_worker_lives"),
    Sabotage("reap_by_nullable", _reap_by_nullable, "a_worker_dies_that_was_never_hinted"),
    Sabotage("reaper_moves_run_at", _reaper_moves_run_at, "a_worker_dies_before_a_backlog"),
    Sabotage("no_purge_epoch", _no_purge_epoch, "a_message_is_deleted_during_the_call"),
)
BY_NAME = {sabotage.name: sabotage for sabotage in (*SABOTAGES, *WHOLE)}


def change_database(context: Context, name: str) -> None:
    if BY_NAME[name].ddl:
        execute(context, BY_NAME[name].ddl)


def main() -> None:
    from cli.main import main as crontalk

    BY_NAME[os.environ["STORM_SABOTAGE"]].patch(setattr)
    crontalk()


if __name__ == "__main__":
    main()
