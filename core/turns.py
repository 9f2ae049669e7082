"""A turn: claim a run, ask the model with no transaction open, settle what came of it (core/settlement.py).

A run succeeds only with a stored, non-empty bot message and an accepted finish reason (action `send`: with
the stored message); otherwise it fails with a class. Model calls are at-least-once: a crash between the
call and the settlement pays twice and stores once.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from core.agent import converse
from core.annotating import annotate_conversation
from core.budgets import Budget
from core.chat.history import StoredMessage, is_seen
from core.context import Context
from core.errors import CrontalkError, Unavailable
from core.keys import KeyUnusable, unseal
from core.notes import MemoryNotes, StoredNotes
from core.outcomes import Answer, Failure, Outdated, Postponed
from core.privacy.placeholders import TOKENS
from core.privacy.restoring import escape_lookalikes
from core.said import tokens_at, tokens_of
from core.settings import Settings
from core.settlement import discard, lock, patiently, put_off, settle_failure, store
from core.shield import Shield, spoken_by_us
from core.shields import offer_tokens, shield_of, stateless_shield
from core.talk import Talk, stateless_talk
from core.telling import ChannelTelling, ShieldedTelling, Silence, Telling, Withheld
from core.turn_requests import ALL, TurnRequest
from core.turn_results import TurnResult, cut, result_of, stateless_events
from core.work import Claim, Lease, LeaseLost, Leases, claim
from models import Action, ErrorClass, MessageType, PiiState

log = structlog.get_logger()

CONVERSATION = text(
    "SELECT c.purge_epoch, COALESCE(c.backstory, b.backstory) AS backstory,"
    " COALESCE(c.model, b.model) AS model, num_nonnulls(c.bot_id, c.backstory, c.model) > 0 AS has_bot,"
    " t.max_tokens, t.max_iterations, t.max_cost, t.max_calls, t.max_tokens_per_day,"
    " t.max_cost_per_day, COALESCE(t.assertions, '{}') AS assertions,"
    " c.privacy OR c.privacy_policy IS NOT NULL OR b.privacy IS TRUE OR b.privacy_policy IS NOT NULL"
    "  OR EXISTS (SELECT FROM accounts a WHERE a.id = c.account_id AND a.privacy_policy IS NOT NULL)"
    "  AS shielded,"
    " COALESCE(u.input_tokens + u.output_tokens, 0) AS tokens_today, COALESCE(u.cost, 0) AS cost_today"
    " FROM conversations c LEFT JOIN bots b ON b.id = c.bot_id"
    " LEFT JOIN runs r ON r.id = :run LEFT JOIN tasks t ON t.id = r.task_id"
    " LEFT JOIN task_usage_days u ON u.task_id = t.id AND u.day = current_date WHERE c.id = :id"
)
PURGE_EPOCH = text("SELECT purge_epoch FROM conversations WHERE id = :id")
# The newest messages up to a size in bytes, so that a long history is never read whole.
HISTORY = text(
    "SELECT seq, type, text, meta, pii, pii_state, run_id, step FROM (SELECT seq, type, text, meta, pii,"
    "  pii_state, run_id, step,"
    "  sum(octet_length(text)) OVER (ORDER BY seq DESC) - octet_length(text) AS newer"
    "  FROM (SELECT * FROM messages WHERE conversation_id = :id ORDER BY seq DESC LIMIT 2000) AS latest"
    " ) AS sized WHERE newer < :bytes ORDER BY seq"
)


@dataclass(frozen=True)
class _Turn:
    """What a claimed run needs to know, read in the transaction of the claim.

    Without a talk what came along with the run cannot be opened: the installation's key is another one.
    """

    purge_epoch: int
    talk: Talk | None
    shield: Shield | None = None
    blocked: bool = False  # something of it may not be seen before it was annotated


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
    if turn is not None and turn.blocked and claimed.conversation_id is not None:
        annotate_conversation(context, claimed.conversation_id)
        with context.transaction() as session:
            turn = _load(session, settings, claimed)
    with structlog.contextvars.bound_contextvars(run=str(run_id)), leases.hold(claimed, since) as lease:
        try:
            return _tried(context, claimed, turn, lease)
        except LeaseLost:
            log.info("lease_lost", epoch=claimed.epoch)
            return "lost"


def _tried(context: Context, claimed: Claim, turn: _Turn | None, lease: Lease) -> str:
    """One attempt, and word of it to whoever listens: its end is told once it is stored."""
    listened = claimed.params.get("listened")
    if listened is None:
        return _attempt(context, claimed, turn, lease, Silence())
    channel = claimed.channel or str(claimed.id)
    speaking: Telling = ChannelTelling(context.live, claimed.account_id, channel, claimed.epoch)
    if turn is not None and turn.shield is not None:
        speaking = ShieldedTelling(speaking, turn.shield)
    telling: Telling = speaking if listened == ALL else Silence()
    blocks = _blocks(claimed, turn)
    try:
        return _attempt(context, claimed, turn, lease, Withheld(telling) if blocks else telling)
    finally:
        if blocks and claimed.conversation_id is not None:
            _unblock(context, claimed.conversation_id)
        if claimed.channel is not None:
            _tell_result(context, claimed, speaking)
        _silence(context, claimed, turn, channel)
        context.live.announce(claimed.account_id, channel)


def _blocks(claimed: Claim, turn: _Turn | None) -> bool:
    """Nobody may see what is said before it was annotated. What is stored nowhere is not annotated."""
    shield = turn.shield if turn is not None and claimed.conversation_id is not None else None
    return shield is not None and shield.policy.block_until_annotated


def _unblock(context: Context, conversation_id: uuid.UUID) -> None:
    """Somebody waits for the answer; where this fails they wait for the worker that annotates."""
    try:
        annotate_conversation(context, conversation_id)
    except CrontalkError as error:
        log.warning("answer_not_annotated", error=type(error).__name__)


def _told(result: TurnResult) -> bool:
    return result.error_class in {None, ErrorClass.TRUNCATED}


def _silence(context: Context, claimed: Claim, turn: _Turn | None, channel: str) -> None:
    """Forgets what was told of a conversation in which something was deleted meanwhile, or that has gone.

    Whoever deleted it has silenced the channel, but the model was still speaking. The end of the turn is
    told from its rows.
    """
    if claimed.conversation_id is None:
        return
    try:
        with context.transaction(claimed.account_id) as session:
            epoch = session.execute(PURGE_EPOCH, {"id": claimed.conversation_id}).scalar_one_or_none()
    except Unavailable:
        return
    if turn is None or epoch != turn.purge_epoch:
        context.live.forget(claimed.account_id, [channel])


def _tell_result(context: Context, claimed: Claim, telling: Telling) -> None:
    """The end of a turn whose channel is read by somebody who knows nothing of its run.

    The answer of a turn without a conversation was told as it was stored nowhere.
    """
    try:
        with context.transaction(claimed.account_id) as session:
            result = result_of(session, claimed.id)
    except Unavailable:
        return
    if result is None or (claimed.conversation_id is None and _told(result)):
        return
    for kind, data in result.events():
        telling.tell(kind, data)


def _attempt(context: Context, claimed: Claim, turn: _Turn | None, lease: Lease, telling: Telling) -> str:
    """Failures become values here, so that no traceback of a failed run leads to what was said."""
    if turn is None:
        raise LeaseLost("The conversation is gone.")
    setback: Failure | Postponed
    try:
        return _settled(context, claimed, turn, lease, telling)
    except Outdated:
        return patiently(context, lease, lambda session: _discarded(session, claimed))
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


def _settled(context: Context, claimed: Claim, turn: _Turn, lease: Lease, telling: Telling) -> str:
    """Asks, and stores the answer."""
    if turn.talk is None:
        raise Failure(ErrorClass.MISCONFIGURED, "key", final=True)
    if turn.blocked:
        raise Failure(ErrorClass.PROVIDER_ERROR, "not_annotated")
    if claimed.action == Action.SEND:
        answer = Answer("")
    elif claimed.conversation_id is None:
        return _stateless(context, claimed, turn, lease, telling)
    else:
        notes = StoredNotes(context, claimed, lease, turn.purge_epoch, turn.shield)
        answer = converse(context, turn.talk, notes, telling)

    def write(session: Session) -> str:
        offer_tokens(session, turn.shield)
        return store(session, claimed, turn.purge_epoch, answer)

    return patiently(context, lease, write)


def _stateless(context: Context, claimed: Claim, turn: _Turn, lease: Lease, telling: Telling) -> str:
    """A turn without a conversation: its answer is told, and only what it used is stored."""
    assert turn.talk is not None  # noqa: S101 (looked at by the caller)
    notes = MemoryNotes(context, claimed.account_id, lease.check, turn.shield)
    try:
        answer = converse(context, turn.talk, notes, telling)
    except Failure as failure:
        short = cut(failure)
        for kind, data in stateless_events(short, notes.tokens(short)) if short else ():
            telling.tell(kind, data)
        raise
    outcome = patiently(context, lease, lambda session: store(session, claimed, 0, answer))
    for kind, data in stateless_events(answer, notes.tokens(answer)):
        telling.tell(kind, data)
    return outcome


def _discarded(session: Session, claimed: Claim) -> str:
    lock(session, claimed)
    return discard(session, claimed, Answer(""))


def _load(session: Session, settings: Settings, claimed: Claim) -> _Turn | None:
    """The conversation as the model will see it; None when it is gone."""
    sealed, place = claimed.request, f"run.request:{claimed.id}"
    try:
        content = None if sealed is None else unseal(session, claimed.account_id, sealed, place)
    except KeyUnusable:
        return _Turn(0, None)
    request = TurnRequest.read(claimed.params, content)
    if claimed.conversation_id is None:
        try:
            shield = stateless_shield(session, claimed.account_id, claimed.id, request)
        except KeyUnusable:
            return _Turn(0, None)
        talk = stateless_talk(claimed.id, claimed.account_id, request, claimed.deadline, shield)
        return _Turn(0, talk, shield) if sealed is not None else None
    values = {"id": claimed.conversation_id, "run": claimed.id}
    row = session.execute(CONVERSATION, values).mappings().one_or_none()
    if row is None:
        return None
    size = {"id": claimed.conversation_id, "bytes": settings.history_tokens * 4}
    shield = shield_of(session, claimed.conversation_id) if row["shielded"] else None
    if shield is not None:
        try:
            shield = shield.detached()
        except KeyUnusable:
            return _Turn(row["purge_epoch"], None)
    found = () if claimed.action == Action.SEND else session.execute(HISTORY, size).all()
    history = _since_the_checkpoint([_shown(m, shield) for m in found])
    if shield is not None:
        shield.vault.shown = _named(found, history)
    calls = [most for most in (request.calls, row["max_calls"]) if most]
    talk = Talk(
        id=claimed.id,
        account_id=claimed.account_id,
        has_bot=row["has_bot"],
        backstory=row["backstory"] or "",
        model=row["model"],
        history=history,
        deadline=claimed.deadline,
        calls_left=row["max_iterations"] and max(row["max_iterations"] - claimed.model_calls, 0),
        budget=Budget(
            tokens=_left(row["max_tokens"], claimed.tokens),
            tokens_today=_left(row["max_tokens_per_day"], row["tokens_today"]),
            cost=_left(row["max_cost"], claimed.cost),
            cost_today=_left(row["max_cost_per_day"], row["cost_today"]),
        ),
        assertions=row["assertions"],
        request=replace(_protected(request, shield), calls=min(calls, default=None)),
    )
    blocked = any(m.pii_state == PiiState.BLOCKED for m in found)
    return _Turn(row["purge_epoch"], talk, shield, blocked)


def _protected(request: TurnRequest, shield: Shield | None) -> TurnRequest:
    """What came along with a turn, as its model may see it."""
    if shield is None:
        return request
    return replace(
        request,
        extra_backstory=shield.label(request.extra_backstory) or "",
        records=tuple(shield.said(record).text for record in request.records),
    )


def _shown(message: Row[Any], shield: Shield | None) -> StoredMessage:
    """A message as the model may see it: what only looks like a token of this conversation is no token."""
    text = message.text
    if shield is not None and not spoken_by_us(message.run_id, message.step):
        text = escape_lookalikes(text, tokens_at(message.pii), shield.tokens())
    return StoredMessage(type=message.type, text=text, meta=message.meta, place=message.seq)


def _named(found: Sequence[Row[Any]], history: Sequence[StoredMessage]) -> frozenset[str]:
    """The tokens that the model is shown. Those of messages it does not see mean nothing in its answer."""
    seen = {message.place for message in history if is_seen(message)}
    named: set[str] = set()
    for message in found:
        if message.seq in seen:
            named |= tokens_of(message.text, message.pii)
            if message.type == MessageType.ACTIVITY:
                named.update(TOKENS.findall(json.dumps(message.meta, ensure_ascii=False)))
    return frozenset(named)


def _since_the_checkpoint(history: Sequence[StoredMessage]) -> tuple[StoredMessage, ...]:
    """A summary stands for what came before it."""
    last = max((n for n, message in enumerate(history) if _sums_up(message)), default=0)
    return tuple(history[last:])


def _sums_up(message: StoredMessage) -> bool:
    hidden: Mapping[str, Any] = message.meta
    return message.type == MessageType.CHECKPOINT and not (hidden.get("hidden") or hidden.get("archived"))


def _left(most: int | None, used: int) -> int | None:
    return None if most is None else most - used
