"""What the tests of bulk deletions share: much to delete, and looks at what is left."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from core.context import Context
from core.delete_jobs import create_delete_job, preview_deletion
from core.jobs import get_job
from models import Job
from tests.factories import a_conversation, execute, rows

FILL = (
    "INSERT INTO messages (id, account_id, conversation_id, seq, type, text, created_at)"
    " SELECT uuidv7(), c.account_id, c.id, c.next_seq + n, CASE WHEN n % 2 = 0 THEN 'user' ELSE 'bot' END,"
    "  'Word number ' || n, now() FROM conversations c, generate_series(0, :count - 1) AS n"
    " WHERE c.id = ANY(CAST(:ids AS uuid[]))"
)
RAISE = "UPDATE conversations SET next_seq = next_seq + :count WHERE id = ANY(CAST(:ids AS uuid[]))"
AGE = (
    "UPDATE conversations SET created_at = now() - CAST(:past AS interval),"
    " last_message_at = now() - CAST(:past AS interval) WHERE id = ANY(CAST(:ids AS uuid[]))"
)
AGE_MESSAGES = (
    "UPDATE messages SET created_at = now() - CAST(:past AS interval)"
    " WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"
)


def some_talks(
    context: Context, account: uuid.UUID, talks: int, messages: int, **fields: Any
) -> list[uuid.UUID]:
    """Conversations with so many messages each."""
    ids = [a_conversation(context, account, **fields).id for _ in range(talks)]
    fill(context, ids, messages)
    return ids


def fill(context: Context, ids: list[uuid.UUID], messages: int) -> None:
    execute(context, FILL, ids=ids, count=messages)
    execute(context, RAISE, ids=ids, count=messages)


def a_deletion(
    context: Context,
    account: uuid.UUID,
    what: str = "messages",
    *,
    rate: str | None = None,
    actor: str = "tests",
    **wanted: Any,
) -> Job:
    """A deletion that was confirmed."""
    with context.transaction(account, actor=actor) as session:
        preview = preview_deletion(session, what, wanted)
        return create_delete_job(session, what, wanted, rate=rate, confirm=preview.confirmation)[0]


def the_job(context: Context, account: uuid.UUID, job_id: uuid.UUID) -> Job:
    with context.transaction(account) as session:
        return get_job(session, job_id)[0]


def left(context: Context, account: uuid.UUID) -> int:
    return int(rows(context, "SELECT count(*) AS n FROM messages WHERE account_id = :id", id=account)[0]["n"])


def age(context: Context, ids: list[uuid.UUID], days: float) -> None:
    """Makes conversations as old as this, with all that was said in them."""
    past = timedelta(days=days)
    execute(context, AGE, ids=ids, past=past)
    execute(context, AGE_MESSAGES, ids=ids, past=past)


def old_talks(
    context: Context, account: uuid.UUID, days: float, talks: int, messages: int, **fields: Any
) -> list[uuid.UUID]:
    """Conversations in which nothing was said for so many days."""
    ids = some_talks(context, account, talks, messages, **fields)
    age(context, ids, days)
    return ids


def conversations_left(context: Context, account: uuid.UUID) -> set[uuid.UUID]:
    return {
        row["id"] for row in rows(context, "SELECT id FROM conversations WHERE account_id = :a", a=account)
    }
