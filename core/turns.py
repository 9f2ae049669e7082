"""A turn: claim a run, ask the model with no transaction open, settle what came of it (core/settlement.py).

A run succeeds only with a stored, non-empty bot message and an accepted finish reason (action `send`: with
the stored message); otherwise it fails with a class. Model calls are at-least-once: a crash between the
call and the settlement pays twice and stores once.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.breaker import Breaker, Key
from core.budgets import Budget, Limit, narrowest
from core.chat.history import StoredMessage, estimate_input, fit, to_chat_messages
from core.chat.provider import (
    ContextTooLong,
    Deadline,
    FinishReason,
    ModelError,
    ModelMisconfigured,
    ModelQuota,
    ModelRefused,
    ModelRequest,
    ModelTimeout,
    ModelUnavailable,
    Provider,
    TextDelta,
)
from core.chat.providers import OFFLINE
from core.context import Context
from core.errors import Unavailable
from core.policies import failed_assertion
from core.prices import FREE
from core.settings import Settings
from core.settlement import Answer, Failure, Postponed, patiently, put_off, settle_failure, store
from core.usage import a_slot
from core.work import Claim, Lease, LeaseLost, Leases, claim
from models import MAX_TEXT_BYTES, Action, ErrorClass

log = structlog.get_logger()

# A budget that leaves more than this caps no answer: servers refuse to be asked for more than they can give.
ANSWER = 32_768

BEGIN_CALL = text(
    "WITH counted AS (UPDATE runs SET model_calls = model_calls + 1, model = :model WHERE id = :id"
    "  AND epoch = :epoch AND state = 'running' RETURNING id, account_id, epoch, model_calls),"
    " used AS (INSERT INTO usage_days AS u (account_id, day, slot, model_calls)"
    "  SELECT account_id, current_date, :slot, 1 FROM counted"
    "  ON CONFLICT (account_id, day, slot) DO UPDATE SET model_calls = u.model_calls + 1)"
    " INSERT INTO run_steps (run_id, step, account_id, epoch, model)"
    " SELECT id, 'model.' || model_calls, account_id, epoch, :model FROM counted RETURNING step"
)
CONVERSATION = text(
    "SELECT c.purge_epoch, c.bot_id, b.backstory, b.model, t.max_tokens, t.max_iterations, t.max_cost,"
    " t.max_tokens_per_day, t.max_cost_per_day, COALESCE(t.assertions, '{}') AS assertions,"
    " COALESCE(u.input_tokens + u.output_tokens, 0) AS tokens_today, COALESCE(u.cost, 0) AS cost_today"
    " FROM conversations c LEFT JOIN bots b ON b.id = c.bot_id"
    " LEFT JOIN runs r ON r.id = :run LEFT JOIN tasks t ON t.id = r.task_id"
    " LEFT JOIN task_usage_days u ON u.task_id = t.id AND u.day = current_date WHERE c.id = :id"
)
# The newest messages up to a size in bytes, so that a long history is never read whole.
HISTORY = text(
    "SELECT type, text, meta FROM (SELECT seq, type, text, meta,"
    "  sum(octet_length(text)) OVER (ORDER BY seq DESC) - octet_length(text) AS newer"
    "  FROM (SELECT * FROM messages WHERE conversation_id = :id ORDER BY seq DESC LIMIT 2000) AS latest"
    " ) AS sized WHERE newer < :bytes ORDER BY seq"
)


@dataclass(frozen=True)
class _Turn:
    """What a claimed run needs to know, read in the transaction of the claim."""

    purge_epoch: int
    has_bot: bool
    backstory: str
    model: str | None
    history: tuple[StoredMessage, ...]
    calls_left: int | None
    budget: Budget
    assertions: Mapping[str, Any]


def carry_out(
    context: Context,
    leases: Leases,
    run_id: uuid.UUID,
    *,
    worker: str,
    delivery: str | None = None,
    alone: bool = False,
) -> str:
    """Carries out a run if it is there for the taking; answers in one word what came of it.

    `alone`: nothing else runs in this process, so that a run that has ended two workers may be tried once
    more. The words: `ignored` (nothing to claim), `succeeded`, `retried`, `postponed`, `discarded`, `lost`.

    Raises:
        RunFailed: the run ended in failure; the message is the error class.
        Unavailable: the database is away; the lease will run out and the run be claimed again.

    """
    since = time.monotonic()
    settings = context.settings
    with context.transaction() as session:
        claimed = claim(
            session,
            run_id,
            lease=settings.lease,
            run_time=settings.run_time,
            worker=worker,
            delivery=delivery,
            alone=alone,
        )
        turn = _load(session, settings, claimed) if claimed else None
    if claimed is None:
        return "ignored"
    with structlog.contextvars.bound_contextvars(run=str(run_id)), leases.hold(claimed, since) as lease:
        try:
            return _attempt(context, claimed, turn, lease)
        except LeaseLost:
            log.info("lease_lost", epoch=claimed.epoch)
            return "lost"


def _attempt(context: Context, claimed: Claim, turn: _Turn | None, lease: Lease) -> str:
    """Failures become values here, so that no traceback of a failed run leads to what was said."""
    if turn is None:
        raise LeaseLost("The conversation is gone.")
    setback: Failure | Postponed
    try:
        answer, seen = _ask(context, claimed, turn, lease), turn.purge_epoch
        return patiently(context, lease, lambda session: store(session, claimed, seen, answer))
    except (Failure, Postponed) as error:
        setback = error
    except (LeaseLost, Unavailable):
        raise
    except Exception as error:  # noqa: BLE001 (a bug in one run must not take the others along)
        log.error("turn_broke", error=type(error).__name__)
        setback = Failure(ErrorClass.INTERNAL_ERROR, type(error).__name__)
    if isinstance(setback, Postponed):
        return put_off(context, claimed, lease, setback.wait)
    return settle_failure(context, claimed, lease, setback, turn.purge_epoch)


def _load(session: Session, settings: Settings, claimed: Claim) -> _Turn | None:
    """The conversation as the model will see it; None when it is gone."""
    values = {"id": claimed.conversation_id, "run": claimed.id}
    row = session.execute(CONVERSATION, values).mappings().one_or_none()
    if row is None:
        return None
    size = {"id": claimed.conversation_id, "bytes": settings.history_tokens * 4}
    history = (
        ()
        if claimed.action == Action.SEND
        else tuple(
            StoredMessage(type=m.type, text=m.text, meta=m.meta) for m in session.execute(HISTORY, size)
        )
    )
    return _Turn(
        purge_epoch=row["purge_epoch"],
        has_bot=row["bot_id"] is not None,
        backstory=row["backstory"] or "",
        model=row["model"],
        history=history,
        calls_left=row["max_iterations"] and max(row["max_iterations"] - claimed.model_calls, 0),
        budget=Budget(
            tokens=_left(row["max_tokens"], claimed.tokens),
            tokens_today=_left(row["max_tokens_per_day"], row["tokens_today"]),
            cost=_left(row["max_cost"], claimed.cost),
            cost_today=_left(row["max_cost_per_day"], row["cost_today"]),
        ),
        assertions=row["assertions"],
    )


def _left(most: int | None, used: int) -> int | None:
    return None if most is None else most - used


def _ask(context: Context, claimed: Claim, turn: _Turn, lease: Lease) -> Answer:
    """One answer of the model, judged.

    Raises:
        Failure: whatever is not an answer.
        LeaseLost: the run went to somebody else meanwhile.

    """
    if claimed.action == Action.SEND:
        return Answer("")
    if not turn.has_bot:
        raise Failure(ErrorClass.NO_BOT, "no_bot", final=True)
    try:
        return _call(context, claimed, turn, lease, context.settings.history_tokens)
    except ContextTooLong:
        # Half the history once; a model that still refuses will refuse the next attempt too.
        smaller = context.settings.history_tokens // 2
        try:
            return _call(context, claimed, turn, lease, smaller)
        except ModelError as error:
            raise _failure_of(error) from error
    except ModelError as error:
        raise _failure_of(error) from error


def _call(context: Context, claimed: Claim, turn: _Turn, lease: Lease, budget: int) -> Answer:
    provider, model, options = context.providers.provider_for(turn.model)
    messages, _ = fit(turn.backstory, to_chat_messages(turn.history), budget)
    if turn.calls_left == 0:
        raise Failure(ErrorClass.LIMIT, "iterations", final=True)
    price = FREE if model == OFFLINE else context.settings.prices.get(model)
    limit = narrowest(turn.budget, price, estimate_input(turn.backstory, messages))
    if limit is not None and limit.room <= 0:
        raise Failure(limit.error_class, limit.code, final=True)
    if limit is not None and limit.room > ANSWER:
        limit = None
    claimed.deadline.check()
    circuit = (claimed.account_id, model)
    wait = context.breaker.admit(circuit)
    if wait is not None:
        raise Postponed(wait)
    request = ModelRequest(
        model=model,
        options=options,
        system=turn.backstory,
        messages=messages,
        max_output_tokens=None if limit is None else limit.room,
    )
    with _watched(context.breaker, circuit, claimed.deadline):
        patiently(context, lease, lambda session: _begin_call(session, claimed, model))
        answer = _read(provider, request, claimed.deadline.or_sooner(context.settings.model_time), lease)
    if price is not None:
        answer = replace(answer, cost=price.cost(answer.input_tokens, answer.output_tokens))
    return _judged(answer, limit, turn.assertions)


@contextmanager
def _watched(breaker: Breaker, circuit: Key, deadline: Deadline) -> Iterator[None]:
    """Tells the breaker how the call inside went. The run's own deadline says nothing about the model."""
    told = False
    try:
        yield
        breaker.succeeded(circuit)
        told = True
    except (ModelUnavailable, ModelTimeout) as error:
        if isinstance(error, ModelUnavailable) or deadline.remaining() > 0:
            told = True
            if breaker.failed(circuit):
                log.warning("circuit_opened", model=circuit[1], account=str(circuit[0]))
        raise
    except (ModelRefused, ContextTooLong, ModelMisconfigured):
        breaker.succeeded(circuit)
        told = True
        raise
    finally:
        if not told:
            breaker.gave_up(circuit)


def _begin_call(session: Session, claimed: Claim, model: str) -> str:
    """Counts the call before it is made, so that a crash in it is counted too; answers its step.

    Raises:
        LeaseLost: the run was cancelled or given back; a call would be paid for nothing.

    """
    values = {"id": claimed.id, "epoch": claimed.epoch, "model": model, "slot": a_slot()}
    step: str | None = session.execute(BEGIN_CALL, values).scalar_one_or_none()
    if step is None:
        raise LeaseLost("The run went on without us.")
    return step


def _read(provider: Provider, request: ModelRequest, deadline: Deadline, lease: Lease) -> Answer:
    parts: list[str] = []
    events: Any = provider.stream(request, deadline.while_wanted(lease.check))
    try:
        with closing(events):
            for event in events:
                lease.check()
                if isinstance(event, TextDelta):
                    parts.append(event.text)
                else:
                    return Answer("".join(parts), event.reason, event.input_tokens, event.output_tokens)
        raise ModelUnavailable("stream_cut")
    except ModelError as error:
        error.said = "".join(parts)
        raise


def _judged(answer: Answer, limit: Limit | None, assertions: Mapping[str, Any]) -> Answer:
    """The answer, if it may count as a success."""
    if answer.finish is FinishReason.refused:
        raise Failure(ErrorClass.REFUSED, "refused", answer, final=True)
    if answer.finish is FinishReason.length or len(answer.text.encode()) > MAX_TEXT_BYTES:
        error_class = limit.error_class if limit else ErrorClass.TRUNCATED
        raise Failure(error_class, "length", answer, final=True)
    if answer.finish is not FinishReason.stop:
        raise Failure(ErrorClass.PROVIDER_ERROR, "unknown_finish", answer, final=True)
    if not answer.text.strip():
        raise Failure(ErrorClass.EMPTY_OUTPUT, "empty", answer)
    broken = failed_assertion(assertions, answer.text)
    if broken:
        raise Failure(ErrorClass.ASSERTION, broken, answer, final=True)
    return answer


CLASS_OF: dict[type[ModelError], ErrorClass] = {
    ModelUnavailable: ErrorClass.PROVIDER_ERROR,
    ModelQuota: ErrorClass.QUOTA,
    ModelTimeout: ErrorClass.TIMEOUT,
    ModelRefused: ErrorClass.REFUSED,
    ContextTooLong: ErrorClass.CONTEXT_TOO_LONG,
    ModelMisconfigured: ErrorClass.MISCONFIGURED,
}


def _failure_of(error: ModelError) -> Failure:
    return Failure(
        CLASS_OF.get(type(error), ErrorClass.PROVIDER_ERROR),
        error.code,
        Answer(error.said),
        retry_after=error.retry_after,
        final=not error.retryable,
        pauses=isinstance(error, ModelMisconfigured),
    )
