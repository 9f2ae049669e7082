"""One call of the model: what it is shown, what it may use, and whether what came back counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from core.breaker import Breaker, Key
from core.budgets import Budget, Limit, narrowest
from core.chat.endpoints import OFFLINE
from core.chat.history import estimate_input, estimate_tools, fit, to_chat_messages
from core.chat.images import for_model
from core.chat.model_name import parse_model, written
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
    OptionValue,
    Provider,
    ReasoningDelta,
    TextDelta,
    ToolCall,
)
from core.moderation import newest_words
from core.outcomes import Answer, Failure, Postponed
from core.policies import failed_assertion
from core.prices import Price
from core.talk import Desk, Talk
from core.telling import REASONING
from models import MAX_TEXT_BYTES, ErrorClass, MessageType

log = structlog.get_logger()

# A budget that leaves more than this caps no answer: servers refuse to be asked for more than they can give.
ANSWER = 32_768
# Of a model string's options those that mean the same to every model go with it to the fallback.
PORTABLE = frozenset(
    {
        "max_tokens",
        "temperature",
        "top_p",
        "seed",
        "frequency_penalty",
        "presence_penalty",
    }
)
# A provider, the bare name of its model and the options, as Providers.provider_for answers.
Chosen = tuple[Provider, str, Mapping[str, OptionValue]]
SUMMARISE = (
    "Summarise the conversation so far for whoever goes on with it: what was asked, what was answered and"
    " agreed, and every fact, name and number that may be needed again. Write plain sentences."
)


def spent(talk: Talk, answer: Answer) -> Talk:
    """The talk with what an answer has used taken off its bounds."""
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


class Unaffordable(Failure):
    """Nothing is left for a call; it was not made."""


def asked(desk: Desk, talk: Talk) -> Answer:
    """One model call, judged; where its model is away, another one of the operator's may answer."""
    _moderate(desk, talk)
    try:
        return _answered(desk, talk)
    except ModelError as error:
        raise _failure_of(error) from error


def _moderate(desk: Desk, talk: Talk) -> None:
    """What people have said since the last answer is looked at before any model is shown it.

    Raises:
        Failure: the operator's endpoint flagged it, or gave no usable answer.

    """
    moderator = desk.context.moderator
    if moderator is None or not talk.moderated:
        return
    deadline = talk.deadline.while_wanted(desk.notes.wanted)
    for words in newest_words(talk.history):
        try:
            passes = moderator.passes(talk.id, words, deadline)
        except ModelError as error:
            code = error.code if error.code.startswith("moderation") else f"moderation_{error.code}"
            raise Failure(ErrorClass.PROVIDER_ERROR, code) from None
        if not passes:
            raise Failure(ErrorClass.REFUSED, "moderated", final=True)


@dataclass(frozen=True)
class _Call:
    """A call that may be made: within the budgets, and with its model's circuit not looked at yet."""

    provider: Provider
    request: ModelRequest
    price: Price | None
    limit: Limit | None


def _answered(desk: Desk, talk: Talk) -> Answer:
    """The answer of the model that was asked for, or of its fallback.

    The fallback is asked once, and only if nothing of an answer was told yet. Where neither answers, what may
    pass by itself is what the attempt fails of.
    """
    chosen = desk.context.providers.provider_for(talk.model)
    model = chosen[1]
    setback: ModelError | Postponed
    try:
        return _halving(desk, talk, chosen)
    except (ModelError, Postponed) as error:
        setback = error
    fallback = desk.context.settings.endpoint(model).fallback
    if fallback is None or not _may_fall_back(setback):
        raise setback
    called = not isinstance(setback, Postponed)
    if talk.calls_left is not None and talk.calls_left - called <= 0:
        raise setback
    asked_with = parse_model(talk.model).options if talk.model else {}
    carried = written(fallback, {key: asked_with[key] for key in PORTABLE if key in asked_with})
    log.info("model_fell_back", model=model, fallback=fallback, code=_code(setback))
    try:
        return _halving(desk, talk, desk.context.providers.provider_for(carried))
    except (ModelError, Postponed, Unaffordable) as error:
        if getattr(error, "told", False) or (_passes(error) and not _passes(setback)):
            raise
        raise setback from None


def _may_fall_back(setback: ModelError | Postponed) -> bool:
    if isinstance(setback, Postponed):
        return True
    return not setback.told and not isinstance(setback, ModelRefused)


def _passes(setback: Exception) -> bool:
    """It may be over by the next attempt."""
    return isinstance(setback, Postponed) or (isinstance(setback, ModelError) and setback.retryable)


def _code(setback: ModelError | Postponed) -> str:
    return "circuit_open" if isinstance(setback, Postponed) else setback.code


def _halving(desk: Desk, talk: Talk, chosen: Chosen) -> Answer:
    settings = desk.context.settings
    window = settings.endpoint(chosen[1]).window(settings.history_tokens)
    try:
        return _made(desk, talk, _prepared(desk, talk, chosen, window))
    except ContextTooLong as error:
        if error.told:
            raise
        # Half the history once; a model that still refuses will refuse the next attempt too.
        return _made(desk, talk, _prepared(desk, talk, chosen, window // 2))


def _prepared(desk: Desk, talk: Talk, chosen: Chosen, window: int) -> _Call:
    """What the model is to be shown, and how much it may answer.

    Raises:
        ContextTooLong: not even what must be shown fits. Unaffordable: nothing is left for an answer.

    """
    provider, model, options = chosen
    settings = desk.context.settings
    endpoint = settings.endpoint(model)
    takes_tools = model == OFFLINE or "tools" in endpoint.capabilities
    tools = talk.tools if takes_tools else ()
    system = _system(talk)
    said = for_model(
        to_chat_messages(talk.history, tools=bool(tools)), sees="images" in endpoint.capabilities
    )
    described = estimate_tools(tools)
    messages, _ = fit(system, said, window - described)
    if said and said[-1].role == "tool" and (not messages or messages[-1] is not said[-1]):
        raise ContextTooLong("result")  # a model that does not see it would ask for it without end
    if talk.calls_left is not None and talk.calls_left <= 0:
        raise Unaffordable(ErrorClass.LIMIT, "iterations", final=True)
    price, most = settings.price(model), endpoint.max_output_tokens
    limit = _limit(talk, price, estimate_input(system, messages) + described, most or ANSWER)
    request = ModelRequest(
        model=model,
        options=options,
        system=system,
        messages=messages,
        max_output_tokens=most if limit is None else limit.room,
        tools=tools,
        forced=_forced(talk) if tools else None,
    )
    return _Call(provider, request, price, limit)


def _limit(talk: Talk, price: Price | None, input_tokens: int, most: int) -> Limit | None:
    """The budget that cuts an answer short; None when all leave room for the longest there can be."""
    limit = narrowest(talk.budget, price, input_tokens)
    if limit is not None and limit.room <= 0:
        raise Unaffordable(limit.error_class, limit.code, final=True)
    return limit if limit is None or limit.room <= most else None


def _made(desk: Desk, talk: Talk, call: _Call) -> Answer:
    """The answer to one call.

    Raises:
        Postponed: the model's circuit is open. ModelError: the model gave none. Failure: it does not count.

    """
    context, telling, model = desk.context, desk.telling, call.request.model
    talk.deadline.check()
    circuit = (talk.account_id, model)
    wait = context.breaker.admit(circuit)
    if wait is not None:
        raise Postponed(wait)
    with _watched(context.breaker, circuit, talk.deadline):
        desk.notes.begin_call(model)
        telling.tell("completeBegin", {"instance": str(talk.id)})
        deadline = talk.deadline.or_sooner(context.settings.model_time)
        answer = _read(desk, call.provider, call.request, deadline)
    if call.price is not None:
        answer = replace(answer, cost=call.price.cost(answer.input_tokens, answer.output_tokens))
    telling.tell("completeEnd", {"instance": str(talk.id)})
    used = {"inputTokensUsed": answer.input_tokens, "outputTokensUsed": answer.output_tokens}
    telling.tell("usage", {"model": model, **used})
    return _judged(answer, call.limit, talk)


def _system(talk: Talk) -> str:
    """What the model is told beside what was said."""
    request = talk.request
    parts = [talk.backstory, request.extra_backstory, talk.knowledge]
    if request.timezone is not None:
        now = datetime.now(UTC).astimezone(ZoneInfo(request.timezone))
        parts.append(f"The user's time is {now:%Y-%m-%d %H:%M} ({request.timezone}).")
    if request.compacts:
        parts.append(SUMMARISE)
    return "\n\n".join(part for part in parts if part.strip())


def _forced(talk: Talk) -> str | None:
    """The function that is to be called first, unless anything was called since the last question."""
    first = next((f.name for f in talk.request.functions if f.start), talk.forced)
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
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    events: Any = provider.stream(request, deadline.while_wanted(desk.notes.wanted))
    try:
        with closing(events):
            for event in events:
                desk.notes.wanted()
                if isinstance(event, TextDelta):
                    parts.append(event.text)
                    desk.telling.token(event.text)
                elif isinstance(event, ReasoningDelta):
                    thoughts.append(event.text)
                    desk.telling.token(event.text, REASONING)
                elif isinstance(event, ToolCall):
                    calls.append(event)
                else:
                    return Answer(
                        "".join(parts),
                        event.reason,
                        event.input_tokens,
                        event.output_tokens,
                        calls=tuple(calls),
                        reasoning="".join(thoughts),
                    )
        raise ModelUnavailable("stream_cut")
    except ModelError as error:
        error.said = "".join(parts)
        error.told = bool(parts or thoughts)
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
