"""One call of the model: what it is shown, what it may use, and whether what came back counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from core.breaker import Breaker, Key
from core.budgets import Limit, narrowest
from core.chat.history import estimate_input, fit, to_chat_messages
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
from core.outcomes import Answer, Failure, Postponed
from core.policies import failed_assertion
from core.prices import FREE
from core.talk import Desk, Talk
from models import MAX_TEXT_BYTES, ErrorClass, MessageType

log = structlog.get_logger()

# A budget that leaves more than this caps no answer: servers refuse to be asked for more than they can give.
ANSWER = 32_768
SUMMARISE = (
    "Summarise the conversation so far for whoever goes on with it: what was asked, what was answered and"
    " agreed, and every fact, name and number that may be needed again. Write plain sentences."
)


def asked(desk: Desk, talk: Talk) -> Answer:
    """One model call, judged."""
    try:
        try:
            return _call(desk, talk, desk.context.settings.history_tokens)
        except ContextTooLong:
            # Half the history once; a model that still refuses will refuse the next attempt too.
            return _call(desk, talk, desk.context.settings.history_tokens // 2)
    except ModelError as error:
        raise _failure_of(error) from error


def _call(desk: Desk, talk: Talk, window: int) -> Answer:
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


def _read(desk: Desk, provider: Provider, request: ModelRequest, deadline: Deadline) -> Answer:
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
