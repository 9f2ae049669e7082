"""The agent: asks the model, carries out the functions it calls, and asks again until it has answered.

It knows nothing of where a turn's messages go (`Notes`): a run writes them down step by step, a stateless
turn keeps them in memory. No transaction is open while it waits for anybody.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from core.asking import asked
from core.budgets import Budget
from core.chat.history import StoredMessage
from core.chat.provider import ModelTimeout, ToolCall
from core.context import Context
from core.live import Words
from core.outcomes import Answer, Failure
from core.privacy.declared import declared
from core.talk import Desk, Entry, Notes, Talk
from core.telling import RESTORES, Telling
from models import ErrorClass, MessageType

# A turn that is not told how often it may ask: its caller can go on from there.
ITERATIONS = 100
# What is said after a call that nobody answered goes on without it.
SPOKEN = frozenset({MessageType.USER, MessageType.BOT, MessageType.INSTRUCTION})
LISTEN = 1.0  # seconds between two looks whether an answer from a channel is still wanted


def converse(context: Context, talk: Talk, notes: Notes, telling: Telling) -> Answer:
    """The turn's last answer; what came before it stands in the notes.

    Raises:
        Failure: whatever is not an answer. Postponed: the model's circuit is open.
        What `notes.wanted` raises: nobody wants it any more.

    """
    if not talk.has_bot:
        raise Failure(ErrorClass.NO_BOT, "no_bot", final=True)
    desk = Desk(context, notes, telling, {function.name: function for function in talk.request.functions})
    iterations = calls = 0
    talk, end = _answered(desk, talk, _unanswered(talk.history))
    while end is None:
        answer = asked(desk, talk)
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


def _note(desk: Desk, talk: Talk, entries: Sequence[Entry], answer: Answer | None = None) -> Talk:
    """Writes messages down, tells them, and shows them to the next call."""
    entries = desk.notes.keep(entries, answer)
    for entry in entries:
        said = {"type": entry.type.value, "text": entry.text, "meta": dict(entry.meta)}
        said |= _restores(desk, entry.meta.get("activity", {}).get("function", {}), "arguments")
        desk.telling.tell("message", {key: value for key, value in said.items() if value})
    place = talk.history[-1].place if talk.history else 0
    seen = tuple(StoredMessage(e.type, e.text, e.meta, place + n) for n, e in enumerate(entries, 1))
    return replace(talk, history=talk.history + seen)


def _restores(desk: Desk, called: Any, arguments: str) -> dict[str, Any]:
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


def _answered(desk: Desk, talk: Talk, calls: Sequence[ToolCall]) -> tuple[Talk, str | None]:
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


def _heard(desk: Desk, talk: Talk, channel: str, call: ToolCall) -> Any:
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
