"""What a run may still spend, and which of its budgets leaves the least."""

from __future__ import annotations

from dataclasses import dataclass

from core.prices import Price
from models import ErrorClass


@dataclass(frozen=True)
class Budget:
    """What is left of a task's budgets, None where there is none; money in millionths."""

    tokens: int | None = None
    tokens_today: int | None = None
    cost: int | None = None
    cost_today: int | None = None


@dataclass(frozen=True)
class Limit:
    """How many tokens an answer may have, and how a run fails that needs more."""

    room: int
    error_class: ErrorClass
    code: str


def narrowest(budget: Budget, price: Price | None, input_tokens: int) -> Limit | None:
    """The budget that leaves the fewest output tokens; None when nothing limits them.

    A budget in money without a price leaves nothing: a limit that cannot be held is not taken for held.
    """
    limits = []
    for left, error_class, code in (
        (budget.tokens, ErrorClass.LIMIT, "tokens"),
        (budget.tokens_today, ErrorClass.BUDGET, "tokens_per_day"),
    ):
        if left is not None:
            limits.append(Limit(max(0, left - input_tokens), error_class, code))
    for left, code in ((budget.cost, "cost"), (budget.cost_today, "cost_per_day")):
        if left is None:
            continue
        if price is None:
            return Limit(0, ErrorClass.BUDGET, "no_price")
        room = price.affordable(left, input_tokens)
        if room is not None:
            limits.append(Limit(room, ErrorClass.BUDGET, code))
    return min(limits, key=lambda limit: limit.room, default=None)
