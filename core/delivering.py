"""Delivering: claim a delivery, read what it tells, send it with no transaction open, settle what came of it.

What is told is read at the moment of sending, from the rows as they are then: a run or a conversation that
was deleted meanwhile is told of without its text. At-least-once: a crash between the request and its
settlement sends again, with the same id.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from core.chat.model_failures import parse_retry_after
from core.context import Context
from core.deliveries import ATTEMPTS, ClaimedDelivery, Outcome, claim_delivery, settle_delivery
from core.errors import Unavailable
from core.keys import KeyUnusable, unseal
from core.letters import Figures, Letter, RunFacts, mail_subject, mail_text, webhook_body
from core.mail import MailFailed, MailServer, compose, send_mail
from core.outbound import Allowance, OutboundError, OutboundRefused, request
from core.settings import Settings
from core.webhooks import signed_headers
from models import Channel, PiiState, SubscriptionState

log = structlog.get_logger()

MARGIN = timedelta(seconds=30)  # of the lease beyond the longest request: for the settlement
GONE = 410

# The run before: the newest older one of the same backfill, or of none, that has ended by itself. Answers are
# compared here, not read.
FACTS = text(
    "SELECT d.event, d.created_at, d.task_id, d.run_id, s.kind, s.target, s.secret, s.include_text,"
    "  s.state AS subscription_state, a.closed_at, t.name AS task_name, t.pause_reason,"
    "  r.state, r.trigger, r.action, r.conversation_id, r.scheduled_for, r.covers_from, r.covers_count,"
    "  r.reason, r.error_class, r.input_tokens, r.output_tokens, r.model_calls,"
    "  extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds,"
    "  char_length(mine.text) AS length, b.state AS before_state, b.tokens AS before_tokens,"
    "  b.seconds AS before_seconds, char_length(theirs.text) AS before_length,"
    "  mine.text = theirs.text AS same"
    " FROM deliveries d JOIN subscriptions s ON s.id = d.subscription_id"
    " JOIN accounts a ON a.id = d.account_id JOIN tasks t ON t.id = d.task_id"
    " LEFT JOIN runs r ON r.id = d.run_id"
    " LEFT JOIN LATERAL (SELECT p.id, p.state, p.input_tokens + p.output_tokens AS tokens,"
    "   extract(epoch FROM p.finished_at - p.started_at)::float8 AS seconds FROM runs p"
    "   WHERE p.task_id = r.task_id AND p.id < r.id AND p.state IN ('succeeded', 'failed')"
    "   AND p.backfill_id IS NOT DISTINCT FROM r.backfill_id"
    "   ORDER BY p.id DESC LIMIT 1) AS b ON true"
    " LEFT JOIN messages mine ON mine.run_id = r.id AND mine.step = 'reply'"
    " LEFT JOIN messages theirs ON theirs.run_id = b.id AND theirs.step = 'reply'"
    " WHERE d.id = :id"
)
SAID = text(
    "SELECT m.text, m.pii_state FROM messages m JOIN runs r ON r.id = m.run_id"
    " WHERE r.id = :run AND r.state = 'succeeded'"
    " AND m.step = CASE r.action WHEN 'send' THEN 'prompt' ELSE 'reply' END"
)


@dataclass(frozen=True)
class _Addressed:
    """A letter and where it goes; only here, between reading and sending, is an address in the clear."""

    kind: Channel
    target: str = field(repr=False)
    secret: str | None = field(repr=False)
    letter: Letter = field(repr=False)


def deliver(context: Context, delivery_id: uuid.UUID) -> str:
    """Sends a delivery if it is there for the taking; answers in one word what came of it.

    `ignored` (nothing to claim), `delivered`, `retried`, `failed`, `cancelled`, `lost`.

    Raises:
        Unavailable: the database is away; the lease will run out and the delivery be claimed again.

    """
    lease = context.settings.deliver_time + MARGIN
    trusted_until = time.monotonic() + lease.total_seconds()
    with context.transaction() as session:
        claimed = claim_delivery(session, delivery_id, lease)
        found = _read(session, context.settings, claimed) if claimed else None
    if claimed is None or found is None:
        return "ignored"
    outcome = found if isinstance(found, Outcome) else _send(context.settings, claimed, found)
    word = _settled(context, claimed, outcome, trusted_until)
    log.info(
        "delivery_settled",
        delivery=str(claimed.id),
        outcome=word,
        attempt=claimed.attempt,
        error_code=outcome.error,
    )
    return word


def text_may_leave(session: Session, account_id: uuid.UUID, *, wished: bool) -> bool:
    """Whether words of a conversation may be sent to this account's subscribers. The one place that decides.

    The subscription's own wish is all there is: under privacy the words are those that are stored, with what
    stands for personal data, and nothing is restored for a subscriber.
    """
    del session, account_id
    return wished


def _read(session: Session, settings: Settings, claimed: ClaimedDelivery) -> _Addressed | Outcome:
    """What is to be sent, or why nothing is."""
    facts = session.execute(FACTS, {"id": claimed.id}).mappings().one()
    if claimed.attempt > ATTEMPTS:
        return Outcome("crashes", final=True)
    if facts["closed_at"] is not None:
        return Outcome("closed", void=True)
    if facts["subscription_state"] != SubscriptionState.ACTIVE:
        return Outcome("disabled", void=True)
    try:
        target = _opened(session, claimed, facts["target"], "target")
        secret = _opened(session, claimed, facts["secret"], "secret") if facts["secret"] else None
    except KeyUnusable:
        return Outcome("key")
    wished = text_may_leave(session, claimed.account_id, wished=facts["include_text"])
    said = session.execute(SAID, {"run": facts["run_id"]}).one_or_none() if wished else None
    if said is not None and said.pii_state == PiiState.BLOCKED:
        return Outcome("not_annotated")  # told once somebody may see it
    letter = Letter(
        event=claimed.event,
        at=facts["created_at"],
        task_id=facts["task_id"],
        pause_reason=facts["pause_reason"],
        run=None if facts["run_id"] is None else _run_facts(facts),
        base_url=settings.public_url or f"http://{_bracketed(settings.host)}:{settings.port}",
        task_name=facts["task_name"] if wished else None,
        text=said.text if said else None,
    )
    return _Addressed(Channel(facts["kind"]), target, secret, letter)


def _run_facts(facts: RowMapping) -> RunFacts:
    before = None
    if facts["before_state"] is not None:
        before = Figures(
            facts["before_state"], facts["before_seconds"], facts["before_tokens"], facts["before_length"]
        )
    tokens = facts["input_tokens"] + facts["output_tokens"]
    return RunFacts(
        id=facts["run_id"],
        conversation_id=facts["conversation_id"],
        trigger=facts["trigger"],
        scheduled_for=facts["scheduled_for"],
        covers_from=facts["covers_from"],
        covers_count=facts["covers_count"],
        reason=facts["reason"],
        error_class=facts["error_class"],
        input_tokens=facts["input_tokens"],
        output_tokens=facts["output_tokens"],
        model_calls=facts["model_calls"],
        figures=Figures(facts["state"], facts["seconds"], tokens, facts["length"]),
        before=before,
        same_answer=facts["same"],
    )


def _opened(session: Session, claimed: ClaimedDelivery, sealed: bytes, part: str) -> str:
    purpose = f"subscription.{part}:{claimed.subscription_id}"
    return unseal(session, claimed.account_id, bytes(sealed), purpose).decode()


def _send(settings: Settings, claimed: ClaimedDelivery, addressed: _Addressed) -> Outcome:
    """One attempt, with no transaction open. Whatever goes wrong is an outcome, never an error."""
    try:
        if addressed.kind == Channel.EMAIL:
            return _mail(settings, claimed, addressed)
        return _post(settings, claimed, addressed)
    except Exception as error:  # noqa: BLE001 (a bug in one delivery must not take the others along)
        log.error("delivery_broke", delivery=str(claimed.id), error=type(error).__name__)
        return Outcome("internal_error")


def _post(settings: Settings, claimed: ClaimedDelivery, addressed: _Addressed) -> Outcome:
    body = webhook_body(addressed.letter)
    now = datetime.now(UTC)
    try:
        answer = request(
            "POST",
            addressed.target,
            body=body,
            headers=signed_headers(addressed.secret or "", claimed.id, now, body),
            within=settings.deliver_time,
            allowance=Allowance.parse(settings.outbound_allow),
        )
    except OutboundRefused as refused:
        # What a name resolves to may change; the rest of a refusal does not.
        return Outcome(refused.code, final=refused.code != "address")
    except OutboundError as error:
        return Outcome(error.code)
    retry_after = parse_retry_after(answer.headers.get("retry-after"), now)
    return Outcome(answer.error_code, answer.status, retry_after, gone=answer.status == GONE)


def _mail(settings: Settings, claimed: ClaimedDelivery, addressed: _Addressed) -> Outcome:
    if settings.smtp_url is None or settings.mail_from is None:
        return Outcome("no_mail_server")
    letter, sender = addressed.letter, settings.mail_from
    message = compose(
        claimed.id,
        sender=sender,
        recipient=addressed.target,
        at=letter.at,
        subject=mail_subject(letter),
        text=mail_text(letter),
    )
    server = MailServer.parse(settings.smtp_url.get_secret_value())
    try:
        send_mail(server, sender, addressed.target, message, settings.deliver_time)
    except MailFailed as failed:
        return Outcome(failed.code, final=failed.final)
    return Outcome()


def _settled(context: Context, claimed: ClaimedDelivery, outcome: Outcome, trusted_until: float) -> str:
    """Settles as soon as the database can, for as long as the lease is ours: what was sent is sent."""
    while True:
        try:
            with context.transaction() as session:
                return settle_delivery(session, claimed, outcome)
        except Unavailable:
            if time.monotonic() + 1 >= trusted_until:
                raise
            time.sleep(0.5)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
