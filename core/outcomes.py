"""What an attempt comes to: an answer, a failure, or a better moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from core.chat.provider import FinishReason, ToolCall
from models import ErrorClass


@dataclass(frozen=True)
class Answer:
    """What the model said and used; `cost` in millionths. `records` are those it was shown.

    `end` is why a turn ended where the model has not come to its own stop: `activity`, `iteration`.
    `reasoning` is what it thought meanwhile: content, and nothing that a model is shown again.
    """

    text: str = field(repr=False)
    finish: FinishReason | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    calls: tuple[ToolCall, ...] = ()
    end: str | None = None
    records: tuple[Mapping[str, Any], ...] = ()
    reasoning: str = field(default="", repr=False)


@dataclass(eq=False)
class Failure(Exception):
    """Why an attempt gave nothing to store, and what may follow."""

    error_class: ErrorClass
    code: str
    answer: Answer = field(default=Answer(""), repr=False)
    retry_after: timedelta | None = None
    final: bool = False
    pauses: bool = False

    def __str__(self) -> str:
        return self.error_class


@dataclass(eq=False)
class Postponed(Exception):
    """The circuit of the model is open; the run is to come back after `wait`."""

    wait: timedelta


class Outdated(Exception):
    """What the model was shown has been deleted meanwhile: what it said of it is not to be stored."""
