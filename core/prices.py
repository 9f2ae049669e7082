"""What tokens cost: the operator's price table, per model, in a currency of the operator's.

A price per million tokens is the price of a token in millionths of the currency, which is how costs are
stored: whole numbers that add up.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Amount = Annotated[Decimal, Field(ge=0, le=1_000_000)]


class Price(BaseModel):
    """Of a model: money per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Amount
    output: Amount

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """In millionths, rounded up."""
        exact = input_tokens * self.input + output_tokens * self.output
        return int(exact.to_integral_value(ROUND_CEILING))

    def affordable(self, money: int, input_tokens: int) -> int | None:
        """How many output tokens `money` (millionths) pays for after the input; None when they are free."""
        left = money - self.input * input_tokens
        if left < 0:
            return 0
        return int(left / self.output) if self.output else None


FREE = Price(input=Decimal(0), output=Decimal(0))
