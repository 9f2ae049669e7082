"""Settlement: what came of an attempt is written in one short transaction, fenced by epoch and purge_epoch.

A worker that lost its lease matches no row and writes nothing. The order of locks is the house's: clock,
conversation, run, step, task.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import Context, news_after_commit
from core.deliveries import announce, announce_budget
from core.errors import InvalidInput, PrivacyFailed, RunFailed, Unavailable
from core.following import follow_up
from core.keys import KeyUnusable
from core.messages import append
from core.outcomes import Answer, Failure
from core.privacy.policy import Direction
from core.settings import Settings
from core.suggestions import with_suggestions
from core.usage import count_usage
from core.work import Claim, Lease, LeaseLost, pause_tasks, postpone
from models import MAX_TEXT_BYTES, ErrorClass, Event, MessageType, PiiState

log = structlog.get_logger()

Wrote = TypeVar("Wrote")

SUMMARY = 200
# How often a class is worth another attempt; those absent are final at once.
ATTEMPTS_OF = {
    ErrorClass.EMPTY_OUTPUT: 2,
    ErrorClass.INTERNAL_ERROR: 3,
    ErrorClass.PROVIDER_ERROR: 100,
    ErrorClass.QUOTA: 100,
    ErrorClass.TIMEOUT: 2,
}

LOCK_CONVERSATION = text("SELECT purge_epoch FROM conversations WHERE id = :id FOR UPDATE")
# With the quick replies that the bot is configured with, or asked to give.
LOCK_TALK = text(
    "SELECT c.purge_epoch, (SELECT b.meta -> 'suggestions' FROM bots b WHERE b.id = c.bot_id) AS suggestions"
    " FROM conversations c WHERE c.id = :id FOR UPDATE OF c"
)
LOCK_RUN = text("SELECT 1 FROM runs WHERE id = :id AND epoch = :epoch AND state = 'running' FOR UPDATE")
SUCCEED = text(
    "UPDATE runs SET state = 'succeeded', lease_until = NULL, finished_at = now(), request = NULL,"
    " summary = :summary, end_reason = :end,"
    " input_tokens = input_tokens + :input, output_tokens = output_tokens + :output, cost = cost + :cost"
    " WHERE id = :id"
)
FAIL = text(
    "UPDATE runs SET state = 'failed', lease_until = NULL, finished_at = now(), request = NULL,"
    " error_class = :class,"
    " error_code = :code, input_tokens = input_tokens + :input, output_tokens = output_tokens + :output,"
    " cost = cost + :cost"
    " WHERE id = :id AND epoch = :epoch AND state = 'running' RETURNING id"
)
RETRY = text(
    "UPDATE runs SET state = 'pending', lease_until = NULL, hinted_at = NULL, error_class = :class,"
    " error_code = :code, run_at = now() + CAST(:delay AS interval),"
    " input_tokens = input_tokens + :input, output_tokens = output_tokens + :output, cost = cost + :cost"
    " WHERE id = :id AND epoch = :epoch AND state = 'running' RETURNING id"
)
# The answer was made from text deleted meanwhile: discarded, and asked again with what is left.
DISCARD = text(
    "UPDATE runs SET state = 'pending', lease_until = NULL, hinted_at = NULL,"
    " input_tokens = input_tokens + :input, output_tokens = output_tokens + :output, cost = cost + :cost"
    " WHERE id = :id"
)
CLOSE_STEPS = text(
    "UPDATE run_steps SET finished_at = now(), outcome = :outcome, error_code = :code,"
    " input_tokens = CASE WHEN step LIKE 'model.%' THEN CAST(:input AS int) END,"
    " output_tokens = CASE WHEN step LIKE 'model.%' THEN CAST(:output AS int) END,"
    " finish_reason = CASE WHEN step LIKE 'model.%' THEN CAST(:reason AS text) END"
    " WHERE run_id = :id AND finished_at IS NULL"
)
# The calls whose answers were noted before the turn's last one; the attempt goes on.
CLOSE_MODEL_STEPS = text(
    "UPDATE run_steps SET finished_at = now(), outcome = 'succeeded', input_tokens = :input,"
    " output_tokens = :output, finish_reason = :reason"
    " WHERE run_id = :id AND finished_at IS NULL AND step LIKE 'model.%'"
)
SPEND = text(
    "UPDATE runs SET input_tokens = input_tokens + :input, output_tokens = output_tokens + :output,"
    " cost = cost + :cost WHERE id = :id"
)
# A backfill looks back: how its runs end says nothing of the task as it is now.
LIVE = " AND NOT EXISTS (SELECT FROM runs WHERE id = :run AND trigger = 'backfill')"
COUNT_SUCCESS = text(
    f"UPDATE tasks SET consecutive_failures = 0 WHERE id = :id AND consecutive_failures > 0{LIVE}"  # noqa: S608
)
COUNT_FAILURE = text(
    f"UPDATE tasks SET consecutive_failures = consecutive_failures + 1 WHERE id = :id{LIVE}"  # noqa: S608
    " RETURNING consecutive_failures >= max_consecutive_failures"
)
# Before the run, as whoever deletes or edits the task does: two orders of locking are one deadlock.
LOCK_CLOCK = text("SELECT 1 FROM task_clocks WHERE task_id = :id FOR UPDATE")
COUNT_TASK_USAGE = text(
    "INSERT INTO task_usage_days AS u (task_id, account_id, day, runs, input_tokens, output_tokens, cost)"
    " VALUES (:task, :account, current_date, :runs, :input, :output, :cost)"
    " ON CONFLICT (task_id, day) DO UPDATE SET runs = u.runs + excluded.runs,"
    " input_tokens = u.input_tokens + excluded.input_tokens,"
    " output_tokens = u.output_tokens + excluded.output_tokens, cost = u.cost + excluded.cost"
)


def store(session: Session, claimed: Claim, seen: int, answer: Answer) -> str:
    """The settlement of a success. `seen`: the purge_epoch of the conversation the model was shown.

    A run that never had a conversation stores no message: its answer is told and nothing else.
    """
    purge_epoch: int | None = seen
    suggestions: Any = None
    if claimed.conversation_id is not None:
        row = session.execute(LOCK_TALK, {"id": claimed.conversation_id}).one_or_none()
        purge_epoch, suggestions = row or (None, None)
    guard = {"id": claimed.id, "epoch": claimed.epoch}
    if purge_epoch is None or session.execute(LOCK_RUN, guard).one_or_none() is None:
        raise LeaseLost("The run went on without us.")
    if purge_epoch != seen:
        return discard(session, claimed, answer)
    replies = claimed.conversation_id is not None and bool(answer.text)
    said = ""
    if replies:
        _keep_reasoning(session, claimed, answer)
        words, meta = with_suggestions(answer.text, suggestions)
        if answer.records:
            meta = {**(meta or {}), "records": [dict(record) for record in answer.records]}
        written = append(
            session,
            claimed.conversation_id,  # type: ignore[arg-type]
            MessageType.CHECKPOINT if claimed.compacts else MessageType.BOT,
            words,
            run_id=claimed.id,
            step="reply",
            account_id=claimed.account_id,
            meta=meta,
            author=Direction.OUTBOUND,
        )
        # What nobody may see yet is summed up once it was annotated.
        said = "" if written.message.pii_state == PiiState.BLOCKED else written.message.text
    summary = " ".join(said.split())[:SUMMARY] if replies else None
    values = {"id": claimed.id, "summary": summary or None, "end": answer.end, **_tokens(answer)}
    session.execute(SUCCEED, values)
    _close_steps(session, claimed, "succeeded", None, answer)
    if claimed.task_id:
        session.execute(COUNT_SUCCESS, {"id": claimed.task_id, "run": claimed.id})
    count(session, claimed, answer, runs=1, messages=int(replies))
    if claimed.task_id:
        announce(session, Event.SUCCESS, [claimed.id])
    if claimed.conversation_id is not None:
        news_after_commit(session, claimed.account_id, claimed.conversation_id)
    follow_up(session, claimed.conversation_id)
    return "succeeded"


def _keep_reasoning(session: Session, claimed: Claim, answer: Answer) -> None:
    """What the model thought before it answered: for people, and for no model again."""
    thought = answer.reasoning.encode()[:MAX_TEXT_BYTES].decode(errors="ignore")
    if claimed.conversation_id is None or not thought.strip() or claimed.compacts:
        return
    append(
        session,
        claimed.conversation_id,
        MessageType.REASONING,
        thought,
        run_id=claimed.id,
        step="reasoning",
        account_id=claimed.account_id,
        author=Direction.OUTBOUND,
    )


def lock(session: Session, claimed: Claim) -> None:
    """Takes the run's conversation and the run.

    Raises:
        LeaseLost: the run went on without us.

    """
    session.execute(LOCK_CONVERSATION, {"id": claimed.conversation_id})
    if session.execute(LOCK_RUN, {"id": claimed.id, "epoch": claimed.epoch}).one_or_none() is None:
        raise LeaseLost("The run went on without us.")


def discard(session: Session, claimed: Claim, answer: Answer) -> str:
    """Puts a run back whose answer was made from text deleted meanwhile; the run must be locked."""
    session.execute(DISCARD, {"id": claimed.id, **_tokens(answer)})
    _close_steps(session, claimed, "discarded", None, answer)
    count(session, claimed, answer, runs=0)
    return "discarded"


def put_off(context: Context, claimed: Claim, lease: Lease, wait: timedelta) -> str:
    """Puts a run off without counting an attempt, or ends it where its deadline would pass meanwhile."""
    wait *= 1 + random.random() / 4
    if wait.total_seconds() >= claimed.deadline.remaining():
        failure = Failure(ErrorClass.PROVIDER_ERROR, "circuit_open", final=True)
        return settle_failure(context, claimed, lease, failure, None)

    def write(session: Session) -> str:
        postpone(session, claimed, wait, "postponed")
        return "postponed"

    return patiently(context, lease, write)


def settle_failure(context: Context, claimed: Claim, lease: Lease, failure: Failure, seen: int | None) -> str:
    """Moves the run to its next attempt, or ends it; then what the model had said so far is kept.

    `seen`: the purge_epoch of the conversation the model was shown, None when it was shown none.

    Raises:
        RunFailed: it ended.

    """
    delay = _delay(context.settings, claimed, failure)
    log.info(
        "attempt_failed",
        error_class=failure.error_class,
        code=failure.code,
        attempt=claimed.attempt,
        retry=delay is not None,
    )
    outcome = patiently(
        context, lease, lambda session: _write_failure(session, claimed, failure, delay, seen)
    )
    if outcome == "failed":
        raise RunFailed(failure.error_class)
    return outcome


def _delay(settings: Settings, claimed: Claim, failure: Failure) -> timedelta | None:
    """How long until the next attempt; None when there is none. The task's own retry policy comes first.

    Full jitter over an exponential back-off; Retry-After is honoured, but one beyond the cap or beyond the
    run's deadline ends the run now rather than after a useless wait.
    """
    if claimed.attempt >= _attempts(settings, claimed, failure):
        return None
    base = claimed.retry_delay or settings.retry_base
    ceiling: timedelta = min(max(settings.retry_cap, base), base * 2 ** min(claimed.attempt - 1, 16))
    delay = ceiling * random.random()
    if failure.retry_after is not None:
        delay += failure.retry_after
    left = claimed.deadline.remaining()
    if delay > max(settings.retry_cap, ceiling) or delay.total_seconds() >= left:
        return None
    return delay


def _attempts(settings: Settings, claimed: Claim, failure: Failure) -> int:
    """How often a run is attempted that fails like this."""
    if claimed.retry_on is None:
        worth = 1 if failure.final else ATTEMPTS_OF.get(failure.error_class, 1)
        return min(claimed.max_attempts or settings.attempts, worth)
    chosen = failure.error_class in claimed.retry_on and not failure.pauses
    return (claimed.max_attempts or settings.attempts) if chosen else 1


def _write_failure(
    session: Session, claimed: Claim, failure: Failure, delay: timedelta | None, seen: int | None
) -> str:
    values = {
        "id": claimed.id,
        "epoch": claimed.epoch,
        "class": failure.error_class.value,
        "code": failure.code,
        **_tokens(failure.answer),
    }
    if delay is not None:
        row = session.execute(RETRY, {**values, "delay": delay}).one_or_none()
    else:
        if claimed.task_id:
            session.execute(LOCK_CLOCK, {"id": claimed.task_id})
        purge_epoch = session.execute(LOCK_CONVERSATION, {"id": claimed.conversation_id}).scalar_one_or_none()
        row = session.execute(FAIL, values).one_or_none()
    if row is None:
        raise LeaseLost("The run went on without us.")
    _close_steps(session, claimed, failure.error_class, failure.code, failure.answer)
    count(session, claimed, failure.answer, runs=int(delay is None))
    if delay is not None:
        return "retried"
    if claimed.conversation_id is not None:
        news_after_commit(session, claimed.account_id, claimed.conversation_id)
    if purge_epoch is not None and purge_epoch == seen:
        _keep(session, claimed, failure)
    if claimed.task_id:
        counted = {"id": claimed.task_id, "run": claimed.id}
        tired = session.execute(COUNT_FAILURE, counted).scalar_one_or_none()
        if failure.pauses or tired:
            reason = failure.error_class.value if failure.pauses else "failures"
            pause_tasks(session, [claimed.task_id], reason)
    announce(session, Event.FAILURE, [claimed.id])
    if failure.error_class is ErrorClass.BUDGET:
        announce_budget(session, [claimed.id])
    follow_up(session, claimed.conversation_id)
    return "failed"


def _keep(session: Session, claimed: Claim, failure: Failure) -> None:
    """Stores what a failed run had of an answer, marked, and hidden from the model, which would copy it."""
    said = failure.answer.text.encode()[:MAX_TEXT_BYTES].decode(errors="ignore")
    if claimed.conversation_id is None or not said.strip():
        return
    with suppress(PrivacyFailed, InvalidInput, KeyUnusable):  # the run ends all the same
        append(
            session,
            claimed.conversation_id,
            MessageType.BOT,
            said,
            run_id=claimed.id,
            step="partial",
            account_id=claimed.account_id,
            meta={"incomplete": True, "hidden": True, "errorClass": failure.error_class.value},
            author=Direction.OUTBOUND,
        )


def patiently(
    context: Context,
    lease: Lease,
    write: Callable[[Session], Wrote],
    *,
    alone: bool = False,
    account: uuid.UUID | None = None,
) -> Wrote:
    """Writes as soon as the database can, for as long as the lease is ours: the answer is paid for.

    `alone`: in one statement, which needs no transaction around it. `account`: whose verbs are called.

    Safe to repeat after an unknown outcome: the epoch guards it and every effect has a natural key.
    """
    while True:
        lease.check()
        try:
            with context.reading(account) if alone else context.transaction(account) as session:
                return write(session)
        except Unavailable:
            time.sleep(0.5)


def _close_steps(session: Session, claimed: Claim, outcome: str, code: str | None, answer: Answer) -> None:
    session.execute(
        CLOSE_STEPS,
        {"id": claimed.id, "outcome": outcome, "code": code, "reason": answer.finish, **_tokens(answer)},
    )


def close_model_steps(session: Session, claimed: Claim, answer: Answer) -> bool:
    """Ends the step of a model call whose answer is written down before the turn's last one; False: it has
    ended before, and what it has used is counted.
    """
    values = {"id": claimed.id, "reason": answer.finish, **_tokens(answer)}
    closed = session.execute(
        CLOSE_MODEL_STEPS, {key: values[key] for key in ("id", "reason", "input", "output")}
    )
    if not closed.rowcount:  # type: ignore[attr-defined]
        return False
    session.execute(SPEND, {"id": claimed.id, **_tokens(answer)})
    return True


def count(session: Session, claimed: Claim, answer: Answer, *, runs: int, messages: int = 0) -> None:
    """Adds what an attempt used to the counters of its account and its task."""
    values = {"account": claimed.account_id, "runs": runs, **_tokens(answer)}
    count_usage(session, **values, messages=messages)
    if claimed.task_id and any((runs, *_tokens(answer).values())):
        session.execute(COUNT_TASK_USAGE, {"task": claimed.task_id, **values})


def _tokens(answer: Answer) -> dict[str, Any]:
    return {"input": answer.input_tokens, "output": answer.output_tokens, "cost": answer.cost}
