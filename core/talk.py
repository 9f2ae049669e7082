"""What a turn is made of: what was said, within which bounds, and where it is written down."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sqlalchemy.orm import Session

from core.budgets import Budget
from core.chat.history import StoredMessage
from core.chat.provider import Deadline, Tool, ToolCall
from core.context import Context
from core.outcomes import Answer
from core.shield import Shield
from core.skills.abilities import Skill
from core.skills.skill import Acting
from core.telling import Telling
from core.turn_requests import Function, TurnRequest
from models import MessageType


def _as_it_is(value: Any) -> Any:
    """Where nothing stands for anything else."""
    return value


@dataclass(frozen=True)
class Entry:
    """A message that a turn adds beside its last answer."""

    type: MessageType
    text: str = field(repr=False)
    meta: Mapping[str, Any] = field(repr=False)
    # Once it is written down: its place in the conversation, and its natural key, run and step.
    place: int = 0
    key: str = ""


def activity(kind: str, call: ToolCall, **result: Any) -> Entry:
    """A call, or the response to it, as it is written down (contract 3.4)."""
    function = {"name": call.name, "arguments": dict(call.arguments), **result}
    text = f"{call.name}({json.dumps(dict(call.arguments), ensure_ascii=False)})"
    return Entry(MessageType.ACTIVITY, text, {"activity": {"type": kind, "function": function}})


def response(call: ToolCall, result: Any) -> Entry:
    """The response to a call, as it is written down."""
    return activity("response", call, result=result)


class Notes(Protocol):
    """Where a turn's messages and calls are written down.

    `lasting`: the next turn will find them there.
    """

    lasting: bool

    def wanted(self) -> None:
        """Raises when nobody wants the answer any more."""

    def begin_call(self, model: str) -> None:
        """Counts a model call before it is made."""

    def keep(self, entries: Sequence[Entry], answer: Answer | None) -> Sequence[Entry]:
        """Writes messages down, and what the call they came of has used; answers them as written."""

    def before_acts(self) -> None:
        """Says that abilities are about to be carried out."""

    def respond(self, call: ToolCall, do: Callable[[Session], Any]) -> Entry:
        """Writes the response to a call down, once, in the transaction in which `do` finds it.

        What `do` changes is there with the response or not at all. A SkillFailed is a response like any.
        """


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
    # What its bot knows of what was asked, which records that is, and what it can do (core/equipping.py).
    knowledge: str = field(default="", repr=False)
    records: tuple[Mapping[str, Any], ...] = ()
    skills: Mapping[str, Skill] = field(default_factory=dict)
    forced: str | None = None  # one of them that is to be called first
    acting: Acting | None = None
    restore: Callable[[Any], Any] = field(default=_as_it_is, repr=False)
    protect: Callable[[Any], Any] = field(default=_as_it_is, repr=False)
    conceal: Callable[[Any], Any] = field(default=_as_it_is, repr=False)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the model may call: the caller's functions, then its bot's abilities."""
        functions = (function.tool() for function in self.request.functions)
        return (*functions, *(skill.tool() for skill in self.skills.values()))


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
        moderated=request.moderation,
    )
