"""Rows named for a state of life, made through the verbs, and small looks at the database."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from core.accounts import create_account
from core.backfills import create_backfill
from core.bots import create_bot
from core.contacts import delete_contact, ensure_contact
from core.context import Context
from core.conversations import create_conversation
from core.erasures import list_erasures
from core.holds import place_hold
from core.memories import create_memory
from core.retention import create_rule
from core.subscriptions import create_subscription
from core.talking import complete
from core.tasks import create_task, trigger_task
from core.work import reap
from models import (
    Bot,
    Contact,
    Conversation,
    Erasure,
    Job,
    LegalHold,
    Memory,
    RetentionRule,
    Run,
    Subscription,
    Task,
)

A_KEY = "5e" * 32


def an_account(context: Context, name: str = "Ada") -> uuid.UUID:
    with context.transaction() as session:
        return create_account(session, name).id


def a_bot(context: Context, account: uuid.UUID, **fields: Any) -> Bot:
    with context.transaction(account) as session:
        return create_bot(session, **{"name": "helper", "backstory": "You are kind.", **fields})


def a_contact(context: Context, account: uuid.UUID, **fields: Any) -> Contact:
    with context.transaction(account) as session:
        return ensure_contact(session, **{"name": "Grace", **fields})


def a_task(context: Context, account: uuid.UUID, **fields: Any) -> Task:
    with context.transaction(account) as session:
        return create_task(session, **{"name": "Morning", "description": "Say good morning.", **fields})


def a_due_task(context: Context, account: uuid.UUID, late: timedelta = timedelta(0), **fields: Any) -> Task:
    """A task whose clock stands at an instant that has come, `late` ago."""
    task = a_task(context, account, **{"schedule": "@every 1h", **fields})
    make_due(context, task.id, late)
    return task


def make_due(context: Context, task_id: uuid.UUID, late: timedelta = timedelta(0)) -> None:
    execute(
        context,
        "UPDATE task_clocks SET next_run_at = date_trunc('milliseconds', now()) - CAST(:late AS interval)"
        " WHERE task_id = :id",
        id=task_id,
        late=late,
    )


def a_backfill(
    context: Context,
    account: uuid.UUID,
    task_id: uuid.UUID,
    since: datetime | str = "2020-01-01T00:00Z",
    until: datetime | str = "2020-01-01T06:00Z",
    **fields: Any,
) -> Job:
    with context.transaction(account) as session:
        return create_backfill(session, task_id, since, until, **fields)[0]


def a_pending_run(context: Context, account: uuid.UUID, **fields: Any) -> Run:
    task = a_task(context, account, **fields)
    with context.transaction(account) as session:
        return trigger_task(session, task.id)


def a_conversation(context: Context, account: uuid.UUID, **fields: Any) -> Conversation:
    with context.transaction(account) as session:
        return create_conversation(session, **fields)


def a_rule(context: Context, account: uuid.UUID, **fields: Any) -> RetentionRule:
    with context.transaction(account) as session:
        return create_rule(session, **fields)


def a_due_rule(context: Context, account: uuid.UUID, **fields: Any) -> RetentionRule:
    """A rule whose day has come."""
    rule = a_rule(context, account, **fields)
    execute(context, "UPDATE retention_rules SET next_run_at = now() WHERE id = :id", id=rule.id)
    return rule


def a_hold(context: Context, account: uuid.UUID, **on: Any) -> LegalHold:
    """On a conversation, a contact, a task or a bot, or on everything."""
    with context.transaction(account, actor="tests") as session:
        return place_hold(session, **(on or {"everything": True}))


def an_erasure(context: Context, account: uuid.UUID) -> Erasure:
    """The receipt of a contact that was deleted."""
    contact = a_contact(context, account, name="Nobody")
    with context.transaction(account, actor="tests") as session:
        delete_contact(session, contact.id)
        return list_erasures(session, take=1)[0]


def a_memory(context: Context, account: uuid.UUID, **fields: Any) -> Memory:
    with context.transaction(account) as session:
        return create_memory(session, **{"text": "Likes tea without milk.", **fields})


def a_pending_turn(context: Context, account: uuid.UUID, said: str = "Hello?", **fields: Any) -> Run:
    conversation = a_conversation(context, account, **fields)
    with context.transaction(account) as session:
        return complete(session, conversation.id, said)


def a_subscription(
    context: Context,
    account: uuid.UUID,
    task_id: uuid.UUID,
    target: str = "https://hooks.example/in",
    kind: str = "webhook",
    **fields: Any,
) -> tuple[Subscription, str | None]:
    """A subscription and its secret; to every event unless told."""
    with context.transaction(account) as session:
        return create_subscription(session, task_id, kind=kind, target=target, **fields)


def abandon(context: Context, run_id: uuid.UUID) -> None:
    """The state a killed worker leaves: running, with a lease that has run out."""
    execute(
        context,
        "UPDATE runs SET state = 'running', epoch = epoch + 1, attempt = attempt + 1,"
        " lease_until = now() - interval '1 second' WHERE id = :id",
        id=run_id,
    )


def crash_and_reap(context: Context, run_id: uuid.UUID) -> None:
    abandon(context, run_id)
    reap(context)


def rows(context: Context, query: str, **values: Any) -> list[dict[str, Any]]:
    with context.transaction() as session:
        return [dict(row) for row in session.execute(text(query), values).mappings()]


def one(context: Context, query: str, **values: Any) -> Any:
    with context.transaction() as session:
        return session.execute(text(query), values).scalar_one()


def execute(context: Context, statement: str, **values: Any) -> None:
    with context.transaction() as session:
        session.execute(text(statement), values)


def the_run(context: Context, run_id: uuid.UUID) -> dict[str, Any]:
    return rows(context, "SELECT * FROM runs WHERE id = :id", id=run_id)[0]
