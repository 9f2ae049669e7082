"""Annotating: a worker looks at stored messages again, with all that is known by then.

Structured data and known identities once more, since a contact may have been linked or a policy tightened;
and the operator's own model where there is one and the policy asks for it. What is found is redacted in the
stored text and its places are written down. The result is a pure function of the text, the policy, the
detectors and the identities: done twice it changes nothing. No transaction is open while a model works.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.annotations import (
    LEASE,
    ClaimedAnnotation,
    claim_annotations,
    claim_annotations_of,
    end_annotation,
    put_back,
)
from core.context import Context, news_after_commit, settings_of
from core.errors import CrontalkError, Unavailable
from core.holds import is_held, keep_holds
from core.privacy.model import ModelAway, namer_of
from core.privacy.policy import Direction
from core.privacy.spans import Span
from core.said import tokens_of
from core.settlement import SUMMARY
from core.shield import spoken_by_us
from core.shields import shield_of
from models import Message, PiiState

log = structlog.get_logger()

# Conversation, then run, then message: the order of locks. What a turn appends waits for some milliseconds.
LOCK = text("SELECT 1 FROM conversations WHERE id = :id FOR NO KEY UPDATE")


LOCK_RUN = text(
    "SELECT 1 FROM runs WHERE id = (SELECT run_id FROM messages WHERE id = :id AND step <> 'prompt')"
    " FOR NO KEY UPDATE"
)

SUMMARISE = text(
    "UPDATE runs SET summary = :summary WHERE id = :id AND (summary IS NOT NULL OR CAST(:unblocked AS bool))"
)


def annotate(context: Context, message_id: uuid.UUID) -> str:
    """Annotates what is due of the account that a message belongs to: `ignored annotated`, or `retried`.

    Raises:
        Unavailable: the database is away; the leases will run out and the messages be claimed again.

    """
    with context.transaction() as session:
        claimed = claim_annotations(session, message_id)
    return _annotated(context, claimed)


def annotate_conversation(context: Context, conversation_id: uuid.UUID) -> str:
    """Annotates what is pending of a conversation, before a model is shown it."""
    with context.transaction() as session:
        claimed = claim_annotations_of(session, conversation_id)
    return _annotated(context, claimed)


def _annotated(context: Context, claimed: Sequence[ClaimedAnnotation]) -> str:
    if not claimed:
        return "ignored"
    until, outcome = time.monotonic() + LEASE.total_seconds() * 0.9, "annotated"
    for one in claimed:
        if time.monotonic() >= until:
            return "retried"  # the leases of the rest run out
        try:
            _annotate_one(context, one)
        except Unavailable:
            raise
        except ModelAway as error:
            log.warning("model_away", message=str(one.message_id), code=error.code)
            outcome = _give_back(context, one, error.code, ends=error.of_the_text)
        except Exception as error:  # noqa: BLE001 (one bad row must not hold up the others; no traceback: it holds text)
            log.error("annotation_broke", message=str(one.message_id), error=type(error).__name__)
            outcome = _give_back(context, one, type(error).__name__)
    return outcome


def _is_kept(session: Session, message: Message) -> bool:
    """Whether it is history that a legal hold is on; what was just written gets its second look."""
    return message.pii_state not in {PiiState.PENDING, PiiState.BLOCKED} and is_held(
        session, message.conversation_id
    )


@dataclass(frozen=True)
class _Named:
    """What the operator's model found in a text, and which model it was."""

    version: str
    spans: Sequence[Span]


def _annotate_one(context: Context, claimed: ClaimedAnnotation) -> None:
    named = _named(context, claimed) if context.settings.pii_ner else None
    with context.transaction(claimed.account_id) as session:
        keep_holds(session)
        session.execute(LOCK, {"id": claimed.conversation_id})
        session.execute(LOCK_RUN, {"id": claimed.message_id})
        message = session.get(Message, claimed.message_id, with_for_update=True)
        if message is not None and message.text_rev == claimed.text_rev and not _is_kept(session, message):
            blocked = message.pii_state == PiiState.BLOCKED
            _write(session, message, named)
            if blocked:
                news_after_commit(session, claimed.account_id, claimed.conversation_id)
        end_annotation(session, claimed)


def _named(context: Context, claimed: ClaimedAnnotation) -> _Named | None:
    """Asks the model; None where the policy does not ask for it, or the text has changed since the claim."""
    with context.transaction(claimed.account_id) as session:
        message = session.get(Message, claimed.message_id)
        shield = shield_of(session, claimed.conversation_id)
        if message is None or shield is None or message.text_rev != claimed.text_rev:
            return None
        asked, words = shield.asks_model(_author(message)), message.text
    namer = namer_of(context.settings) if asked else None
    return _Named(namer.version, namer.spans(words)) if namer else None


def _author(message: Message) -> Direction:
    return Direction.OUTBOUND if spoken_by_us(message.run_id, message.step) else Direction.INBOUND


def _write(session: Session, message: Message, named: _Named | None) -> None:
    shield = shield_of(session, message.conversation_id)
    if shield is None:
        # Privacy was switched off: what is redacted stays, and nothing more is looked for.
        message.pii_state = PiiState.DONE if message.pii is not None else None
        return
    author = _author(message)
    asked = settings_of(session).pii_ner is not None and shield.asks_model(author)
    if asked and named is None:
        raise ModelAway("policy_changed")  # while nobody looked
    version = f"{shield.version}+{named.version}" if asked and named else shield.version
    if asked and message.pii_version == version:
        # This model has seen this very text. It might find more in what it left of it, and so for ever.
        message.pii_state = PiiState.DONE
        return
    honoured = tokens_of(message.text, message.pii)
    spans = named.spans if named else ()
    said = shield.said_again(message.text, message.pii, spans, author=author, honoured=honoured)
    changed = said.text != message.text
    message.text, message.pii, message.pii_types = said.text, said.pii, said.types
    message.name = shield.label(message.name, author, honoured)
    message.description = shield.label(message.description, author, honoured)
    message.meta = shield.tree(message.meta, author, shield.tokens())
    blocked = message.pii_state == PiiState.BLOCKED
    message.pii_state = PiiState.DONE
    message.pii_version = version
    if changed:
        message.text_rev += 1
    if changed or blocked:
        _tell_run(session, message, unblocked=blocked)
    shield.keep()


def _tell_run(session: Session, message: Message, *, unblocked: bool) -> None:
    """The summary of a run is the beginning of its reply. Its row is locked already."""
    if spoken_by_us(message.run_id, message.step):
        told = " ".join(message.text.split())[:SUMMARY] if message.step == "reply" else None
        values = {"id": message.run_id, "summary": told or None, "unblocked": unblocked and bool(told)}
        session.execute(SUMMARISE, values)


def _give_back(context: Context, claimed: ClaimedAnnotation, code: str, *, ends: bool = True) -> str:
    try:
        with context.transaction() as session:
            return put_back(session, claimed, code, ends=ends)
    except CrontalkError as error:
        log.warning("annotation_not_put_back", error=type(error).__name__)
        return "retried"
