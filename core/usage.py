"""What an account uses, counted in the transaction that used it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.planning import Spawn

SLOTS = 16

COUNT = text(
    "INSERT INTO usage_days AS u (account_id, day, slot, conversations, messages, runs, model_calls,"
    "  input_tokens, output_tokens, cost)"
    " VALUES (:account, current_date, :slot, :conversations, :messages, :runs, :model_calls,"
    "  :input, :output, :cost)"
    " ON CONFLICT (account_id, day, slot) DO UPDATE SET"
    " conversations = u.conversations + excluded.conversations,"
    " messages = u.messages + excluded.messages, runs = u.runs + excluded.runs,"
    " model_calls = u.model_calls + excluded.model_calls,"
    " input_tokens = u.input_tokens + excluded.input_tokens,"
    " output_tokens = u.output_tokens + excluded.output_tokens, cost = u.cost + excluded.cost"
)


# In the order of the accounts, so that two batches never wait for each other crosswise.
COUNT_SPAWNED = text(
    "INSERT INTO usage_days AS u (account_id, day, slot, conversations, messages)"
    " SELECT t.account_id, current_date, :slot, count(*) FILTER (WHERE s.opens), count(*)"
    " FROM unnest(CAST(:tasks AS uuid[]), CAST(:opens AS bool[])) AS s (task_id, opens)"
    " JOIN tasks t ON t.id = s.task_id GROUP BY t.account_id ORDER BY t.account_id"
    " ON CONFLICT (account_id, day, slot) DO UPDATE SET"
    " conversations = u.conversations + excluded.conversations, messages = u.messages + excluded.messages"
)


def a_slot() -> int:
    """Where to count this time: two busy transactions seldom draw the same row."""
    return random.randrange(SLOTS)


def count_usage(
    session: Session,
    account: uuid.UUID,
    *,
    conversations: int = 0,
    messages: int = 0,
    runs: int = 0,
    model_calls: int = 0,
    input: int = 0,  # noqa: A002 (the word of the table)
    output: int = 0,
    cost: int = 0,
) -> None:
    """Adds to the account's counters of the UTC day; `cost` in millionths."""
    session.execute(
        COUNT,
        {
            "account": account,
            "slot": a_slot(),
            "conversations": conversations,
            "messages": messages,
            "runs": runs,
            "model_calls": model_calls,
            "input": input,
            "output": output,
            "cost": cost,
        },
    )


def count_spawned(session: Session, spawns: Sequence[Spawn]) -> None:
    """Counts what tasks have spawned: a prompt each, and the conversation where it opened one.

    The last thing a transaction does: whoever settles a run counts while holding its conversation.
    """
    if spawns:
        values = {"tasks": [s.task_id for s in spawns], "opens": [s.opens for s in spawns], "slot": a_slot()}
        session.execute(COUNT_SPAWNED, values)
