"""Fire: due tasks become runs, each with its conversation and its prompt, in one transaction.

"Exactly one conversation per occurrence" needs no worker: the run, the conversation, the prompt and the
clock's next instant are committed together or not at all, and UNIQUE (task_id, scheduled_for) is the last
word. Any number of schedulers fire at once; SKIP LOCKED splits the due clocks between them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import RowMapping, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.context import Context, news_after_commit
from core.database import is_transient
from core.deliveries import announce, announce_budget
from core.errors import Unavailable
from core.ledger import insert_unrun
from core.planning import Firing, Spawn, Unrun, due, is_recorded, plan, unrun
from core.prompts import COLUMNS, VALUES, annotations_of, refresh_prompts, vault_of
from core.runs import supersede_runs_of
from core.schedule import Span, parse
from core.usage import count_spawned
from core.waiting import promote_of
from core.work import pause_tasks
from models import Event, Reason, RunState, Trigger, new_ids

log = structlog.get_logger()

Alone = Callable[[Session, RowMapping, timedelta], None]

FIRE_ERRORS = 3

TAKE_DUE = text(
    "SELECT task_id, account_id, next_run_at, rests_from, now() AS now FROM task_clocks"
    " WHERE next_run_at <= now() AND account_id <> ALL(CAST(:besides AS uuid[]))"
    " ORDER BY next_run_at LIMIT :batch FOR UPDATE SKIP LOCKED"
)
# The accounts that alone fill more than half of the next batch.
CROWD = text(
    "SELECT account_id FROM (SELECT account_id FROM task_clocks WHERE next_run_at <= now()"
    " ORDER BY next_run_at LIMIT :batch) AS head GROUP BY account_id HAVING 2 * count(*) > :batch"
)
# Read after the clocks are locked, by a new snapshot: every edit takes the clock's lock first, so this is
# the definition the lock protects. A LIMIT where EXISTS would do: the planner hashes every active run of the
# installation for an EXISTS, and probes the index for this.
DEFINITIONS = text(
    "SELECT t.id, t.account_id, t.state, t.bot_id, t.action, t.schedule, t.timezone, t.overlap, t.catch_up,"
    " t.catch_up_window, t.catch_up_max, t.jitter, t.expires_at, t.paused_until, t.conversation_mode,"
    " a.closed_at IS NOT NULL AS closed, session.id AS session_of,"
    " (SELECT true FROM runs r WHERE r.task_id = t.id AND r.state IN ('pending', 'running')"
    "  AND r.trigger <> 'backfill' LIMIT 1) IS TRUE AS busy,"
    " (SELECT true FROM runs r WHERE r.task_id = t.id AND r.state = 'waiting' LIMIT 1) IS TRUE AS waits,"
    " session.id IS NOT NULL AND (SELECT true FROM runs r WHERE r.conversation_id = session.id"
    "  AND r.state IN ('pending', 'running') LIMIT 1) IS TRUE AS session_busy,"
    " COALESCE(t.max_tokens_per_day, t.max_cost_per_day) IS NOT NULL AND ("
    "  SELECT u.input_tokens + u.output_tokens >= t.max_tokens_per_day OR u.cost >= t.max_cost_per_day"
    "  FROM task_usage_days u WHERE u.task_id = t.id AND u.day = current_date) IS TRUE AS budget_spent,"
    " recorded.since AS recorded_from, recorded.through AS recorded_through"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:dues AS timestamptz[])) AS due (id, at)"
    " JOIN tasks t ON t.id = due.id JOIN accounts a ON a.id = t.account_id"
    " LEFT JOIN LATERAL (SELECT c.id FROM conversations c WHERE t.conversation_mode <> 'new'"
    "  AND c.task_id = t.id AND c.status = 'active' AND c.source = 'task'"
    "  AND (t.conversation_mode = 'one' OR c.created_at > now() - t.session_duration)"
    "  ORDER BY c.id DESC LIMIT 1) AS session ON true"
    " LEFT JOIN LATERAL (SELECT COALESCE(r.covers_from, r.scheduled_for) AS since, r.scheduled_for AS through"
    "  FROM runs r WHERE r.task_id = due.id AND r.scheduled_for >= due.at"
    "  AND r.trigger IN ('schedule', 'catch_up') ORDER BY r.scheduled_for LIMIT 1) AS recorded ON true"
)
# One statement: foreign keys between runs and conversations point both ways and are checked at its end.
# What the task says is read here once more rather than sent back: the clock's lock protects it since.
# `receive` lets the bot speak first: its prompt instructs the bot and is nobody's utterance.
# A backfill's instants are long past: its runs take their place in the queue by when they were made.
INSERT_SPAWNED = text(
    "WITH d AS MATERIALIZED (SELECT d.*, t.account_id, t.bot_id, t.contact_id, t.action, t.name,"  # noqa: S608 (constants)
    "   CASE WHEN d.own_prompt IS NULL THEN t.shield ELSE d.own_shield END AS shield,"
    "   COALESCE(d.own_prompt, t.description, t.name) AS prompt,"
    "   CASE t.action WHEN 'receive' THEN 'instruction' ELSE 'user' END AS type"
    "  FROM unnest(CAST(:run_ids AS uuid[]), CAST(:task_ids AS uuid[]), CAST(:conversation_ids AS uuid[]),"
    "   CAST(:message_ids AS uuid[]), CAST(:triggers AS text[]), CAST(:scheduled AS timestamptz[]),"
    "   CAST(:delays AS interval[]), CAST(:states AS text[]), CAST(:prompts AS text[]),"
    "   CAST(:shields AS jsonb[]), CAST(:backfills AS uuid[]))"
    "   AS d (run_id, task_id, conversation_id, message_id, trigger, scheduled_for, delay, state,"
    "    own_prompt, own_shield, backfill_id)"
    "  JOIN tasks t ON t.id = d.task_id),"
    " c AS (INSERT INTO conversations (id, account_id, bot_id, contact_id, task_id, run_id, source, name,"
    "   meta, next_seq, last_message_at)"
    "  SELECT conversation_id, account_id, bot_id, contact_id, task_id, run_id,"
    "   CASE WHEN backfill_id IS NULL THEN 'task' ELSE 'backfill' END, name,"
    "   CASE WHEN backfill_id IS NULL THEN '{}' ELSE jsonb_build_object('backfillId', backfill_id,"
    "    'scheduledFor', floor(extract(epoch FROM scheduled_for) * 1000)::bigint) END, 2, now() FROM d"
    "  WHERE conversation_id IS NOT NULL),"
    f" m AS (INSERT INTO messages (id, account_id, conversation_id, seq, type, text, run_id, step, {COLUMNS})"
    f"  SELECT message_id, account_id, conversation_id, 1, type, prompt, run_id, 'prompt', {VALUES} FROM d"
    "  WHERE conversation_id IS NOT NULL),"
    f" v AS ({vault_of('d.conversation_id')}),"
    f" n AS ({annotations_of('d.conversation_id', 'd.message_id')})"
    " INSERT INTO runs (id, account_id, task_id, conversation_id, trigger, action, scheduled_for, state,"
    "  backfill_id, run_at)"
    " SELECT run_id, account_id, task_id, conversation_id, trigger, action, scheduled_for, state,"
    "  backfill_id, CASE WHEN backfill_id IS NULL THEN LEAST(now(), COALESCE(scheduled_for, now()))"
    "   ELSE now() END + delay FROM d RETURNING account_id, conversation_id"
)
ADVANCE = text(
    "UPDATE task_clocks c SET next_run_at = d.next, rests_from = d.rests, fire_errors = 0,"
    " last_run_at = CASE WHEN d.ran THEN now() ELSE c.last_run_at END"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:nexts AS timestamptz[]), CAST(:rests AS timestamptz[]),"
    "  CAST(:ran AS bool[])) AS d (id, next, rests, ran) WHERE c.task_id = d.id"
)
WAKE = text(
    "UPDATE tasks SET state = 'active', pause_reason = NULL, paused_until = NULL, consecutive_failures = 0,"
    " updated_at = now() WHERE id = ANY(:ids)"
)
MOVE = text("UPDATE task_clocks SET next_run_at = :next, rests_from = :rests WHERE task_id = :id")
STUMBLE = text(
    "UPDATE task_clocks SET fire_errors = fire_errors + 1 WHERE task_id = :id RETURNING fire_errors"
)


def fire(context: Context, besides: Sequence[uuid.UUID] = ()) -> int:
    """Fires up to a batch of due clocks, the longest due first; answers how many were taken.

    `besides`: accounts whose clocks wait this time. A batch that fails is fired again clock by clock, so
    that one bad row never stops the others.
    """
    settings = context.settings
    take = {"batch": settings.fire_batch, "besides": list(besides)}
    try:
        with context.transaction() as session:
            return _fire_batch(session, take, settings.catch_up_window)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 (a row nobody foresaw must not stop the clock)
        log.error("batch_not_fired", error=type(error).__name__)
        return _fire_one_by_one(context, take)


def fire_besides_the_crowd(context: Context) -> int:
    """Fires for everybody else while one account's backlog fills the batches; answers how many were taken."""
    with context.transaction() as session:
        crowd = list(session.scalars(CROWD, {"batch": context.settings.fire_batch}))
    return fire(context, besides=crowd) if crowd else 0


def _fire_batch(session: Session, take: Mapping[str, Any], window: timedelta) -> int:
    clocks = session.execute(TAKE_DUE, take).mappings().all()
    if clocks:
        firings = [plan(*pair, window) for pair in _with_definitions(session, clocks)]
        _apply(session, firings)
    return len(clocks)


def _with_definitions(session: Session, clocks: Sequence[RowMapping]) -> list[tuple[RowMapping, RowMapping]]:
    rows = session.execute(
        DEFINITIONS, {"ids": [c["task_id"] for c in clocks], "dues": [c["next_run_at"] for c in clocks]}
    ).mappings()
    by_id = {row["id"]: row for row in rows}
    return [(clock, by_id[clock["task_id"]]) for clock in clocks]


def insert_spawned(session: Session, spawns: Sequence[Spawn]) -> list[uuid.UUID]:
    """Stores runs with their conversations and prompts, set-based; answers the runs' ids in order.

    Those that open no conversation get theirs from `promote_of`. The tasks' clocks must be locked: their
    definitions are read by this statement.
    """
    refresh_prompts(session, [spawn.task_id for spawn in spawns])
    run_ids = new_ids(len(spawns))
    conversation_ids = new_ids(len(spawns))
    stored = session.execute(
        INSERT_SPAWNED,
        {
            "run_ids": run_ids,
            "task_ids": [s.task_id for s in spawns],
            "conversation_ids": [
                i if s.opens else None for i, s in zip(conversation_ids, spawns, strict=True)
            ],
            "message_ids": new_ids(len(spawns)),
            "triggers": [s.trigger.value for s in spawns],
            "scheduled": [s.scheduled_for for s in spawns],
            "delays": [s.delay for s in spawns],
            "prompts": [s.prompt and s.prompt.words for s in spawns],
            "shields": [s.prompt and s.prompt.shield and json.dumps(s.prompt.shield) for s in spawns],
            "backfills": [s.backfill_id for s in spawns],
            "states": [(RunState.WAITING if s.waiting else RunState.PENDING).value for s in spawns],
        },
    )
    for account, conversation in stored:
        if conversation is not None:
            news_after_commit(session, account, conversation)
    return run_ids


def _apply(session: Session, firings: Sequence[Firing]) -> None:
    """Writes down what the clocks came to, in the house's order of locks: conversations before runs."""
    spawns = [spawn for f in firings for spawn in f.spawns]
    unrun = [row for f in firings for row in f.unrun]
    woken = [f.task_id for f in firings if f.wakes]
    for firing in firings:
        if firing.cancels:
            supersede_runs_of(session, firing.task_id)
    if spawns:
        insert_spawned(session, spawns)
        promote_of(session, sorted({spawn.task_id for spawn in spawns if not spawn.opens}))
    unrun_ids = insert_unrun(session, unrun) if unrun else []
    if woken:
        session.execute(WAKE, {"ids": woken})
    session.execute(
        ADVANCE,
        {
            "ids": [f.task_id for f in firings],
            "nexts": [f.next_run_at for f in firings],
            "rests": [f.rests_from for f in firings],
            "ran": [bool(f.spawns) for f in firings],
        },
    )
    _announce(session, unrun, unrun_ids)
    count_spawned(session, spawns)


def _announce(session: Session, rows: Sequence[Unrun], ids: Sequence[uuid.UUID]) -> None:
    """Tells whoever wants to know what did not run; that a budget is spent, once a day."""
    spent = [run for row, run in zip(rows, ids, strict=True) if row.reason is Reason.BUDGET]
    paused = {run for row, run in zip(rows, ids, strict=True) if row.reason is Reason.PAUSED}
    announce(session, Event.MISSED, [run for run in ids if run not in paused and run not in set(spent)])
    announce_budget(session, spent)


def _fire_one_by_one(context: Context, take: Mapping[str, Any]) -> int:
    """Fires a batch in savepoints; a clock that fails alone is written down as missed and moves on."""
    window = context.settings.catch_up_window
    with context.transaction() as session:
        clocks = session.execute(TAKE_DUE, take).mappings().all()
        for clock in clocks:
            if not _tried(session, clock, _fire_alone, window) and not _tried(
                session, clock, _give_up, window
            ):
                log.error("clock_stands", task=str(clock["task_id"]))
    return len(clocks)


def _tried(session: Session, clock: RowMapping, do: Alone, window: timedelta) -> bool:
    try:
        with session.begin_nested():
            do(session, clock, window)
    except Exception as error:
        if isinstance(error, DBAPIError) and is_transient(error):
            raise  # A busy database is no fault of the task; its clock still stands.
        log.error("task_not_fired", task=str(clock["task_id"]), error=type(error).__name__)
        return False
    return True


def _fire_alone(session: Session, clock: RowMapping, window: timedelta) -> None:
    pair = _with_definitions(session, [clock])[0]
    _apply(session, [plan(*pair, window)])


def _give_up(session: Session, clock: RowMapping, _window: timedelta) -> None:
    """Writes what is due down as missed; after three times in a row, or with no next instant, pauses."""
    _, task = _with_definitions(session, [clock])[0]
    first, following = clock["next_run_at"], None
    span = Span(first, first, 1)
    try:
        schedule = parse(task["schedule"], task["timezone"])
        span, following = due(schedule, task, first, clock["now"])
    except Exception as error:  # noqa: BLE001 (a schedule that cannot be read has no next instant)
        log.warning("schedule_not_read", task=str(task["id"]), error=type(error).__name__)
    if not is_recorded(clock, task):
        row = unrun(task, Trigger.SCHEDULE, span, RunState.MISSED, Reason.INTERNAL_ERROR)
        announce(session, Event.MISSED, insert_unrun(session, [row]))
    errors = session.execute(STUMBLE, {"id": clock["task_id"]}).scalar_one()
    stops = errors >= FIRE_ERRORS or following is None
    session.execute(
        MOVE, {"next": None if stops else following, "rests": following if stops else None, "id": task["id"]}
    )
    if stops:
        pause_tasks(session, [clock["task_id"]], "internal_error")
