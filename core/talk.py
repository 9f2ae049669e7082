"""What a turn is made of: what was said, within which bounds, and where it is written down."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from core.budgets import Budget
from core.chat.history import StoredMessage
from core.chat.provider import Deadline
from core.context import Context
from core.outcomes import Answer
from core.shield import Shield
from core.telling import Telling
from core.turn_requests import Function, TurnRequest
from models import MessageType


@dataclass(frozen=True)
class Entry:
    """A message that a turn adds beside its last answer."""

    type: MessageType
    text: str
    meta: Mapping[str, Any]


class Notes(Protocol):
    """Where a turn's messages and calls are written down."""

    def wanted(self) -> None:
        """Raises when nobody wants the answer any more."""

    def begin_call(self, model: str) -> None:
        """Counts a model call before it is made."""

    def keep(self, entries: Sequence[Entry], answer: Answer | None) -> Sequence[Entry]:
        """Writes messages down, and what the call they came of has used; answers them as written."""


@dataclass(frozen=True)
class Talk:
    """Who answers, what was said, and within which bounds."""

    id: uuid.UUID
    account_id: uuid.UUID
    has_bot: bool
    backstory: str
    model: str | None
    history: tuple[StoredMessage, ...]
    deadline: Deadline
    calls_left: int | None = None
    budget: Budget = field(default_factory=Budget)
    assertions: Mapping[str, Any] = field(default_factory=dict)
    request: TurnRequest = field(default_factory=TurnRequest)
    moderated: bool = False  # what people say is looked at before the model is called


@dataclass(frozen=True)
class Desk:
    """What a turn works with."""

    context: Context
    notes: Notes
    telling: Telling
    functions: Mapping[str, Function]


def stateless_talk(
    turn_id: uuid.UUID,
    account_id: uuid.UUID,
    request: TurnRequest,
    deadline: Deadline,
    shield: Shield | None = None,
) -> Talk:
    """The talk of a turn that brings its messages along; the model sees what its privacy makes of them."""
    history = tuple(
        StoredMessage(type=str(m["type"]), text=str(m["text"]), meta=m.get("meta") or {}, place=place)
        for place, m in enumerate(request.messages, 1)
    )
    if shield is not None:
        history = tuple(replace(m, text=shield.said(m.text).text, meta=shield.tree(m.meta)) for m in history)
        request = replace(
            request,
            extra_backstory=shield.label(request.extra_backstory) or "",
            records=tuple(shield.said(record).text for record in request.records),
        )
    return Talk(
        id=turn_id,
        account_id=account_id,
        has_bot=True,
        backstory=request.backstory or "",
        model=request.model,
        history=history,
        deadline=deadline,
        request=request,
    )
