"""What an account uses, counted in the transaction that used it."""

from __future__ import annotations

import random
import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session

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
