"""Subscriptions: who is told what of a task, where to, and the log of what was told."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.context import account_of, settings_of
from core.deliveries import HINT, QUEUE, disable
from core.errors import Conflict, InvalidInput, NotFound
from core.keys import seal, unseal
from core.mail import is_address
from core.outbound import Allowance, OutboundRefused, parse_place, refuse_unsendable
from core.publisher import Hint
from core.rows import as_id, database_now, own, page
from core.tasks import get_task
from core.webhooks import new_secret
from models import Channel, Delivery, Event, Subscription, SubscriptionState, new_id

MOST = 10
EVENTS = tuple(event for event in Event if event is not Event.TEST)

# The clock is what whoever deletes the task takes first: a subscription is never left to a tombstone.
LOCK_CLOCK = text("SELECT 1 FROM task_clocks WHERE task_id = :id FOR UPDATE")
MARK_HINTED = text(
    "UPDATE deliveries SET hinted_at = now(), hints = hints + 1 WHERE id = :id RETURNING hints"
)
# An end that is to be tried again is a row like any other; its id, and so the receiver's, stays.
AGAIN = text(
    "UPDATE deliveries SET state = 'pending', attempt = 0, run_at = now(), hinted_at = NULL,"
    " finished_at = NULL WHERE id = :id AND state <> 'sending' RETURNING id"
)


def create_subscription(
    session: Session,
    task_id: uuid.UUID | str,
    *,
    kind: str,
    target: str,
    events: Sequence[str] | None = None,
    include_text: bool = False,
) -> tuple[Subscription, str | None]:
    """A new subscription, and a webhook's signing secret, which is told only here. Without events: to all.

    Raises:
        InvalidInput: kind, target or events; e-mail without a mail server.
        Conflict: the task tells this target already, or ten others; KeyUnusable.
        NotFound, NotAuthorized: the task.

    """
    task, _ = get_task(session, task_id)
    account, row_id = account_of(session), new_id()
    hint = _hint_of(session, kind, target)
    secret = new_secret() if kind == Channel.WEBHOOK else None
    row = Subscription(
        id=row_id,
        account_id=account,
        task_id=task.id,
        kind=kind,
        target=seal(session, account, target.encode(), _purpose("target", row_id)),
        hint=hint,
        secret=seal(session, account, secret.encode(), _purpose("secret", row_id)) if secret else None,
        events=_checked_events(EVENTS if events is None else events),
        include_text=include_text,
    )
    if session.execute(LOCK_CLOCK, {"id": task.id}).one_or_none() is None:
        raise NotFound("There is no such task.")
    _refuse_another(session, task.id, kind, target)
    session.add(row)
    session.flush()
    session.refresh(row)
    return row, secret


def secret_of(session: Session, subscription_id: uuid.UUID | str) -> str | None:
    """A webhook's signing secret, for whoever made it and did not hear the answer; None when it is gone.

    Raises:
        KeyUnusable: it cannot be opened.

    """
    row = session.get(Subscription, as_id(subscription_id, Subscription))
    if row is None or row.account_id != account_of(session) or row.secret is None:
        return None
    return unseal(session, row.account_id, row.secret, _purpose("secret", row.id)).decode()


def list_subscriptions(session: Session, task_id: uuid.UUID | str) -> list[Subscription]:
    """A task's subscriptions, oldest first."""
    task, _ = get_task(session, task_id)
    query = select(Subscription).where(Subscription.task_id == task.id)
    return list(session.scalars(query.order_by(Subscription.id)))


def update_subscription(
    session: Session, task_id: uuid.UUID | str, subscription_id: uuid.UUID | str, **fields: Any
) -> Subscription:
    """Changes `events`, `include_text` and `active`; what waits for one that stops is cancelled."""
    row = _find(session, task_id, subscription_id, lock=True)
    if fields.get("events") is not None:
        row.events = _checked_events(fields["events"])
    if fields.get("include_text") is not None:
        row.include_text = fields["include_text"]
    row.updated_at = database_now(session)
    session.flush()
    if fields.get("active") is False:
        disable(session, row.id, "user")
    elif fields.get("active"):
        row.state, row.disabled_reason = SubscriptionState.ACTIVE, None
        row.consecutive_failures, row.failing_since = 0, None
        session.flush()
    session.refresh(row)
    return row


def delete_subscription(
    session: Session, task_id: uuid.UUID | str, subscription_id: uuid.UUID | str
) -> uuid.UUID:
    """Ends a subscription and its log for good."""
    row = _find(session, task_id, subscription_id, lock=True)
    session.delete(row)
    session.flush()
    return row.id


def send_test(session: Session, task_id: uuid.UUID | str, subscription_id: uuid.UUID | str) -> Delivery:
    """Sends a test, once and without retries; its outcome stands in the log.

    Raises:
        Conflict: the subscription is disabled.

    """
    row = _find(session, task_id, subscription_id, lock=True)
    _refuse_disabled(row)
    delivery = Delivery(
        account_id=row.account_id,
        subscription_id=row.id,
        task_id=row.task_id,
        event=Event.TEST,
        occasion=str(new_id()),
    )
    session.add(delivery)
    session.flush()
    _hint(session, delivery.id)
    session.refresh(delivery)
    return delivery


def list_deliveries(
    session: Session, task_id: uuid.UUID | str, **window: Any
) -> list[tuple[Delivery, Subscription]]:
    """The log of a task, newest first or as the window says, each with its subscription."""
    task, _ = get_task(session, task_id)
    found = page(session, Delivery, Delivery.task_id == task.id, **window)
    wanted = {delivery.subscription_id for delivery in found}
    query = select(Subscription).where(Subscription.id.in_(wanted))
    subscriptions = {row.id: row for row in session.scalars(query)}
    return [
        (delivery, subscriptions[delivery.subscription_id])
        for delivery in found
        if delivery.subscription_id in subscriptions
    ]


def redeliver(session: Session, task_id: uuid.UUID | str, delivery_id: uuid.UUID | str) -> Delivery:
    """Sends a delivery once more, with all its attempts and the id it had.

    Raises:
        Conflict: it is being sent at this moment, or its subscription is disabled.

    """
    task, _ = get_task(session, task_id)
    delivery = own(session, Delivery, delivery_id)
    if delivery.task_id != task.id:
        raise NotFound("This task has no such delivery.")
    _refuse_disabled(own(session, Subscription, delivery.subscription_id, lock=True))
    if session.execute(AGAIN, {"id": delivery.id}).one_or_none() is None:
        raise Conflict("The delivery is being sent at this moment.")
    _hint(session, delivery.id)
    session.refresh(delivery)
    return delivery


def _find(
    session: Session, task_id: uuid.UUID | str, subscription_id: uuid.UUID | str, *, lock: bool = False
) -> Subscription:
    task, _ = get_task(session, task_id)
    row = own(session, Subscription, subscription_id, lock=lock)
    if row.task_id != task.id:
        raise NotFound("This task has no such subscription.")
    return row


def _hint(session: Session, delivery_id: uuid.UUID) -> None:
    number = session.execute(MARK_HINTED, {"id": delivery_id}).scalar_one()
    session.info.setdefault("hints", []).append(Hint(delivery_id, HINT, QUEUE, number))


def _refuse_disabled(row: Subscription) -> None:
    if row.state != SubscriptionState.ACTIVE:
        raise Conflict("The subscription is disabled; make it active first.")


def _refuse_another(session: Session, task_id: uuid.UUID, kind: str, target: str) -> None:
    others = list(session.scalars(select(Subscription).where(Subscription.task_id == task_id)))
    if len(others) >= MOST:
        raise Conflict(f"A task has up to {MOST} subscriptions.")
    for row in others:
        opened = unseal(session, row.account_id, row.target, _purpose("target", row.id))
        if row.kind == kind and opened == target.encode():
            raise Conflict("The task tells this address already.")


def _checked_events(events: Sequence[str]) -> list[str]:
    unknown = set(events) - set(EVENTS)
    if unknown or not events:
        raise InvalidInput(f"Events are {', '.join(EVENTS)}.")
    return [str(event) for event in EVENTS if event in events]


def _hint_of(session: Session, kind: str, target: str) -> str:
    """What lists show of a target that can be sent to: its host.

    Raises:
        InvalidInput: it cannot.

    """
    settings = settings_of(session)
    if kind == Channel.EMAIL:
        if settings.smtp_url is None or settings.mail_from is None:
            raise InvalidInput("This installation sends no e-mail: it has no mail server.")
        if not is_address(target):
            raise InvalidInput("The target must be one plain e-mail address, such as ada@example.com.")
        return target.partition("@")[2].lower()
    if kind != Channel.WEBHOOK:
        raise InvalidInput(f"The kind must be one of {', '.join(Channel)}.")
    try:
        place = parse_place(target)
        refuse_unsendable(place, Allowance.parse(settings.outbound_allow))
    except OutboundRefused as refused:
        raise InvalidInput(str(refused)) from None
    return place.host


def _purpose(part: str, row_id: uuid.UUID) -> str:
    return f"subscription.{part}:{row_id}"
