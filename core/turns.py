"""A turn: claim a run, ask the model with no transaction open, settle what came of it (core/settlement.py).

A run succeeds only with a stored, non-empty bot message and an accepted finish reason (action `send`: with
the stored message); otherwise it fails with a class. Model calls are at-least-once: a crash between the
call and the settlement pays twice and stores once.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.acts import Acts
from core.agent import converse
from core.annotating import annotate_conversation
from core.context import Context
from core.errors import CrontalkError, Unavailable
from core.loading import Turn, load
from core.notes import MemoryNotes, StoredNotes
from core.outcomes import Answer, Failure, Outdated, Postponed
from core.settlement import discard, lock, patiently, put_off, settle_failure, store
from core.shields import offer_tokens
from core.showing import shown
from core.talk import Talk
from core.telling import ChannelTelling, ShieldedTelling, Silence, Telling, Withheld
from core.turn_requests import ALL
from core.turn_results import TurnResult, cut, result_of, stateless_events
from core.work import Claim, Lease, LeaseLost, Leases, claim
from models import Action, ErrorClass

log = structlog.get_logger()

PURGE_EPOCH = text("SELECT purge_epoch FROM conversations WHERE id = :id")


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
        turn = load(session, settings, claimed) if claimed else None
    if claimed is None:
        return "ignored"
    if turn is not None and turn.blocked and claimed.conversation_id is not None:
        annotate_conversation(context, claimed.conversation_id)
        with context.transaction() as session:
            turn = load(session, settings, claimed)
    with structlog.contextvars.bound_contextvars(run=str(run_id)), leases.hold(claimed, since) as lease:
        try:
            return _tried(context, claimed, turn, lease)
        except LeaseLost:
            log.info("lease_lost", epoch=claimed.epoch)
            return "lost"


def _tried(context: Context, claimed: Claim, turn: Turn | None, lease: Lease) -> str:
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


def _blocks(claimed: Claim, turn: Turn | None) -> bool:
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


def _silence(context: Context, claimed: Claim, turn: Turn | None, channel: str) -> None:
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


def _attempt(context: Context, claimed: Claim, turn: Turn | None, lease: Lease, telling: Telling) -> str:
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


def _settled(context: Context, claimed: Claim, turn: Turn, lease: Lease, telling: Telling) -> str:
    """Asks, and stores the answer."""
    if turn.talk is None:
        misfit = ErrorClass.MISCONFIGURED if turn.unread == "key" else ErrorClass.INTERNAL_ERROR
        raise Failure(misfit, turn.unread, final=True)
    if turn.blocked:
        raise Failure(ErrorClass.PROVIDER_ERROR, "not_annotated")
    if claimed.action == Action.SEND:
        answer = Answer("")
    elif claimed.conversation_id is None:
        return _stateless(context, claimed, turn, lease, telling)
    else:
        notes = StoredNotes(context, claimed, lease, turn.purge_epoch, turn.shield)
        talk = _with_files(context, turn, turn.talk, lease)
        answer = converse(context, talk, notes, telling)
        if claimed.task_id and not answer.text:  # nobody is there to go on: an honest end is an answer
            raise Failure(ErrorClass.LIMIT, answer.end or "empty", answer, final=True)

    def write(session: Session) -> str:
        offer_tokens(session, turn.shield)
        return store(session, claimed, turn.purge_epoch, answer)

    return patiently(context, lease, write)


def _with_files(context: Context, turn: Turn, talk: Talk, lease: Lease) -> Talk:
    """The talk with what is attached to it, read for as long as somebody wants the answer."""
    wanted = replace(talk, deadline=talk.deadline.while_wanted(lease.check))
    return shown(context, wanted, turn.attached, turn.shield)


def _stateless(context: Context, claimed: Claim, turn: Turn, lease: Lease, telling: Telling) -> str:
    """A turn without a conversation: its answer is told, and only what it used is stored."""
    assert turn.talk is not None  # noqa: S101 (looked at by the caller)
    acts = Acts(context, claimed, lease)
    acts.refuse_another()
    notes = MemoryNotes(
        context, claimed.account_id, claimed.id, lease.check, turn.shield, begins_to_act=acts.begin
    )
    try:
        talk = _with_files(context, turn, turn.talk, lease)
        answer = converse(context, talk, notes, telling)
    except (Failure, Postponed) as failure:
        short = cut(failure) if isinstance(failure, Failure) else None
        for kind, data in stateless_events(short, notes.tokens(short)) if short else ():
            telling.tell(kind, data)
        if acts.begun:
            raise acts.unrepeatable(failure) from None
        raise
    outcome = patiently(context, lease, lambda session: store(session, claimed, 0, answer))
    for kind, data in stateless_events(answer, notes.tokens(answer)):
        telling.tell(kind, data)
    return outcome


def _discarded(session: Session, claimed: Claim) -> str:
    lock(session, claimed)
    return discard(session, claimed, Answer(""))
