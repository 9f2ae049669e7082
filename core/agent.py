"""The agent: asks the model, carries out the functions it calls, and asks again until it has answered.

It knows nothing of where a turn's messages go (`Notes`): a run writes them down step by step, a stateless
turn keeps them in memory. No transaction is open while it waits for anybody.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import structlog

from core.breaker import Breaker, Key
from core.budgets import Budget, Limit, narrowest
from core.chat.history import StoredMessage, estimate_input, fit, to_chat_messages
from core.chat.provider import (
    ContextTooLong,
    Deadline,
    FinishReason,
    ModelError,
    ModelMisconfigured,
    ModelQuota,
    ModelRefused,
    ModelRequest,
    ModelTimeout,
    ModelUnavailable,
    Provider,
    TextDelta,
    ToolCall,
)
from core.chat.providers import OFFLINE
from core.context import Context
from core.live import Words
from core.outcomes import Answer, Failure, Postponed
from core.policies import failed_assertion
from core.prices import FREE
from core.privacy.declared import declared
from core.shield import Shield
from core.telling import RESTORES, Telling
from core.turn_requests import Function, TurnRequest
from models import MAX_TEXT_BYTES, ErrorClass, MessageType

log = structlog.get_logger()

# A budget that leaves more than this caps no answer: servers refuse to be asked for more than they can give.
ANSWER = 32_768
SUMMARISE = (
    "Summarise the conversation so far for whoever goes on with it: what was asked, what was answered and"
    " agreed, and every fact, name and number that may be needed again. Write plain sentences."
)
# A turn that is not told how often it may ask: its caller can go on from there.
ITERATIONS = 100
# What is said after a call that nobody answered goes on without it.
SPOKEN = frozenset({MessageType.USER, MessageType.BOT, MessageType.INSTRUCTION})
LISTEN = 1.0  # seconds between two looks whether an answer from a channel is still wanted


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


@dataclass(frozen=True)
class _Desk:
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


def converse(context: Context, talk: Talk, notes: Notes, telling: Telling) -> Answer:
    """The turn's last answer; what came before it stands in the notes.

    Raises:
        Failure: whatever is not an answer. Postponed: the model's circuit is open.
        What `notes.wanted` raises: nobody wants it any more.

    """
    if not talk.has_bot:
        raise Failure(ErrorClass.NO_BOT, "no_bot", final=True)
    desk = _Desk(context, notes, telling, {function.name: function for function in talk.request.functions})
    iterations = calls = 0
    talk, end = _answered(desk, talk, _unanswered(talk.history))
    while end is None:
        answer = _asked(desk, talk)
        if not answer.calls:
            return answer
        calls += len(answer.calls)
        if talk.request.calls is not None and calls > talk.request.calls:
            raise Failure(ErrorClass.LIMIT, "calls", answer, final=True)
        talk = _note(desk, talk, _requests(answer), answer)
        talk, end = _answered(desk, _spent(talk, answer), answer.calls)
        iterations += 1
        if end is None and iterations == (talk.request.iterations or ITERATIONS):
            end = "iteration"
    return Answer("", end=end)


def _requests(answer: Answer) -> list[Entry]:
    said = [Entry(MessageType.BOT, answer.text, {})] if answer.text.strip() else []
    return [*said, *(_activity("request", call) for call in answer.calls)]


def _activity(kind: str, call: ToolCall, **result: Any) -> Entry:
    function = {"name": call.name, "arguments": dict(call.arguments), **result}
    text = f"{call.name}({json.dumps(dict(call.arguments), ensure_ascii=False)})"
    return Entry(MessageType.ACTIVITY, text, {"activity": {"type": kind, "function": function}})


def _note(desk: _Desk, talk: Talk, entries: Sequence[Entry], answer: Answer | None = None) -> Talk:
    """Writes messages down, tells them, and shows them to the next call."""
    entries = desk.notes.keep(entries, answer)
    for entry in entries:
        said = {"type": entry.type.value, "text": entry.text, "meta": dict(entry.meta)}
        said |= _restores(desk, entry.meta.get("activity", {}).get("function", {}), "arguments")
        desk.telling.tell("message", {key: value for key, value in said.items() if value})
    place = talk.history[-1].place if talk.history else 0
    seen = tuple(StoredMessage(e.type, e.text, e.meta, place + n) for n, e in enumerate(entries, 1))
    return replace(talk, history=talk.history + seen)


def _restores(desk: _Desk, called: Any, arguments: str) -> dict[str, Any]:
    """Tells the doors which arguments of a call leave with their values; they pass it on to nobody."""
    function = desk.functions.get(called.get("name", "")) if called else None
    paths = declared(function.parameters, called.get(arguments)) if function else []
    return {RESTORES: paths} if paths else {}


def _unanswered(history: Sequence[StoredMessage]) -> tuple[ToolCall, ...]:
    """Calls that an attempt before this one has written down and not seen answered."""
    waiting: list[ToolCall] = []
    for message in history:
        activity = message.meta.get("activity") if message.type == MessageType.ACTIVITY else None
        if message.type in SPOKEN:
            waiting = []
        if not isinstance(activity, dict) or not isinstance(activity.get("function"), dict):
            continue
        function = activity["function"]
        name, arguments = str(function.get("name")), function.get("arguments")
        if activity.get("type") == "request":
            waiting.append(
                ToolCall(str(message.place), name, arguments if isinstance(arguments, dict) else {})
            )
        elif activity.get("type") == "response":
            found = next((call for call in waiting if call.name == name), None)
            waiting = [call for call in waiting if call is not found]
    return tuple(waiting)


def _answered(desk: _Desk, talk: Talk, calls: Sequence[ToolCall]) -> tuple[Talk, str | None]:
    """Carries calls out; also why the turn ends with them, if it does."""
    end = None
    for call in calls:
        function = desk.functions.get(call.name)
        if function is None or function.result is None:
            end = "activity"  # the caller answers, and asks again
            continue
        if "data" in function.result:
            result = function.result["data"]
        else:
            result = _heard(desk, talk, function.result["channel"], call)
        talk = _note(desk, talk, [_activity("response", call, result=result)])
        if function.end:
            end = end or "stop"
    return talk, end


def _heard(desk: _Desk, talk: Talk, channel: str, call: ToolCall) -> Any:
    """What is published on a channel from now on: the first word."""
    live = desk.context.live
    place = live.last(talk.account_id, channel)
    asked = {"channel": channel, "function": {"name": call.name, "args": dict(call.arguments)}}
    restores = _restores(desk, asked["function"], "args")
    desk.telling.tell("waitForChannelMessageBegin", {**asked, **restores})
    deadline = talk.deadline.while_wanted(desk.notes.wanted)
    words: list[Words] = []
    while not words:
        try:
            deadline.check()
        except ModelTimeout:
            raise Failure(ErrorClass.TIMEOUT, "channel", final=True) from None
        heard = live.wait(talk.account_id, channel, place, min(LISTEN, deadline.remaining()))
        place = heard[-1][0] if heard else place
        words = [word for word in heard if "epoch" not in word[1]]  # what turns tell is no answer
    message = words[0][1].get("data")
    desk.telling.tell("waitForChannelMessageEnd", {**asked, "message": message, **restores})
    return message


def _spent(talk: Talk, answer: Answer) -> Talk:
    used = answer.input_tokens + answer.output_tokens

    def less(left: int | None, amount: int) -> int | None:
        return None if left is None else left - amount

    budget = Budget(
        tokens=less(talk.budget.tokens, used),
        tokens_today=less(talk.budget.tokens_today, used),
        cost=less(talk.budget.cost, answer.cost),
        cost_today=less(talk.budget.cost_today, answer.cost),
    )
    return replace(talk, budget=budget, calls_left=talk.calls_left and talk.calls_left - 1)


def _asked(desk: _Desk, talk: Talk) -> Answer:
    """One model call, judged."""
    try:
        try:
            return _call(desk, talk, desk.context.settings.history_tokens)
        except ContextTooLong:
            # Half the history once; a model that still refuses will refuse the next attempt too.
            return _call(desk, talk, desk.context.settings.history_tokens // 2)
    except ModelError as error:
        raise _failure_of(error) from error


def _call(desk: _Desk, talk: Talk, window: int) -> Answer:
    context, telling = desk.context, desk.telling
    provider, model, options = context.providers.provider_for(talk.model)
    tools = tuple(function.tool() for function in talk.request.functions)
    system = _system(talk)
    said = to_chat_messages(talk.history, tools=bool(tools))
    messages, _ = fit(system, said, window)
    if said and said[-1].role == "tool" and (not messages or messages[-1] is not said[-1]):
        raise ContextTooLong("result")  # a model that does not see it would ask for it without end
    if talk.calls_left is not None and talk.calls_left <= 0:
        raise Failure(ErrorClass.LIMIT, "iterations", final=True)
    price = FREE if model == OFFLINE else context.settings.prices.get(model)
    limit = narrowest(talk.budget, price, estimate_input(system, messages))
    if limit is not None and limit.room <= 0:
        raise Failure(limit.error_class, limit.code, final=True)
    if limit is not None and limit.room > ANSWER:
        limit = None
    talk.deadline.check()
    circuit = (talk.account_id, model)
    wait = context.breaker.admit(circuit)
    if wait is not None:
        raise Postponed(wait)
    request = ModelRequest(
        model=model,
        options=options,
        system=system,
        messages=messages,
        max_output_tokens=None if limit is None else limit.room,
        tools=tools,
        forced=_forced(talk),
    )
    with _watched(context.breaker, circuit, talk.deadline):
        desk.notes.begin_call(model)
        telling.tell("completeBegin", {"instance": str(talk.id)})
        answer = _read(desk, provider, request, talk.deadline.or_sooner(context.settings.model_time))
    if price is not None:
        answer = replace(answer, cost=price.cost(answer.input_tokens, answer.output_tokens))
    telling.tell("completeEnd", {"instance": str(talk.id)})
    used = {"inputTokensUsed": answer.input_tokens, "outputTokensUsed": answer.output_tokens}
    telling.tell("usage", {"model": model, **used})
    return _judged(answer, limit, talk)


def _system(talk: Talk) -> str:
    """What the model is told beside what was said."""
    request = talk.request
    parts = [talk.backstory, request.extra_backstory, *request.records]
    if request.timezone is not None:
        now = datetime.now(UTC).astimezone(ZoneInfo(request.timezone))
        parts.append(f"The user's time is {now:%Y-%m-%d %H:%M} ({request.timezone}).")
    if request.compacts:
        parts.append(SUMMARISE)
    return "\n\n".join(part for part in parts if part.strip())


def _forced(talk: Talk) -> str | None:
    """The function that is to be called first, unless anything was called since the last question."""
    first = next((f.name for f in talk.request.functions if f.start), None)
    for message in reversed(talk.history):
        if message.type == MessageType.USER:
            return first
        if message.type == MessageType.ACTIVITY:
            return None
    return first


@contextmanager
def _watched(breaker: Breaker, circuit: Key, deadline: Deadline) -> Iterator[None]:
    """Tells the breaker how the call inside went. The run's own deadline says nothing about the model."""
    told = False
    try:
        yield
        breaker.succeeded(circuit)
        told = True
    except (ModelUnavailable, ModelTimeout) as error:
        if isinstance(error, ModelUnavailable) or deadline.remaining() > 0:
            told = True
            if breaker.failed(circuit):
                log.warning("circuit_opened", model=circuit[1], account=str(circuit[0]))
        raise
    except (ModelRefused, ContextTooLong, ModelMisconfigured):
        breaker.succeeded(circuit)
        told = True
        raise
    finally:
        if not told:
            breaker.gave_up(circuit)


def _read(desk: _Desk, provider: Provider, request: ModelRequest, deadline: Deadline) -> Answer:
    parts: list[str] = []
    calls: list[ToolCall] = []
    known = {tool.name for tool in request.tools}
    events: Any = provider.stream(request, deadline.while_wanted(desk.notes.wanted))
    try:
        with closing(events):
            for event in events:
                desk.notes.wanted()
                if isinstance(event, TextDelta):
                    parts.append(event.text)
                    desk.telling.token(event.text)
                elif isinstance(event, ToolCall):
                    if event.name not in known:
                        raise ModelUnavailable("unknown_function")
                    calls.append(event)
                else:
                    text = "".join(parts)
                    return Answer(
                        text, event.reason, event.input_tokens, event.output_tokens, calls=tuple(calls)
                    )
        raise ModelUnavailable("stream_cut")
    except ModelError as error:
        error.said = "".join(parts)
        raise


def _judged(answer: Answer, limit: Limit | None, talk: Talk) -> Answer:
    """The answer, if it may count as a success."""
    if answer.finish is FinishReason.refused:
        raise Failure(ErrorClass.REFUSED, "refused", answer, final=True)
    if answer.finish is FinishReason.length or len(answer.text.encode()) > MAX_TEXT_BYTES:
        error_class = limit.error_class if limit else ErrorClass.TRUNCATED
        raise Failure(error_class, "length", answer, final=True)
    if answer.calls:
        return answer
    if answer.finish is not FinishReason.stop:
        raise Failure(ErrorClass.PROVIDER_ERROR, "unknown_finish", answer, final=True)
    if not answer.text.strip():
        raise Failure(ErrorClass.EMPTY_OUTPUT, "empty", answer)
    broken = failed_assertion(talk.assertions, answer.text)
    if broken:
        raise Failure(ErrorClass.ASSERTION, broken, answer, final=True)
    return answer


CLASS_OF: dict[type[ModelError], ErrorClass] = {
    ModelUnavailable: ErrorClass.PROVIDER_ERROR,
    ModelQuota: ErrorClass.QUOTA,
    ModelTimeout: ErrorClass.TIMEOUT,
    ModelRefused: ErrorClass.REFUSED,
    ContextTooLong: ErrorClass.CONTEXT_TOO_LONG,
    ModelMisconfigured: ErrorClass.MISCONFIGURED,
}


def _failure_of(error: ModelError) -> Failure:
    return Failure(
        CLASS_OF.get(type(error), ErrorClass.PROVIDER_ERROR),
        error.code,
        Answer(error.said),
        retry_after=error.retry_after,
        final=not error.retryable,
        pauses=isinstance(error, ModelMisconfigured),
    )
