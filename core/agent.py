"""The agent: asks the model, carries out the functions it calls, and asks again until it has answered.

It knows nothing of where a turn's messages go (`Notes`): a run writes them down step by step, a stateless
turn keeps them in memory. No transaction is open while it waits for anybody.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, Self

from core.asking import asked, spent
from core.chat.history import BYTES_PER_TOKEN, StoredMessage
from core.chat.provider import ModelTimeout, ToolCall
from core.compacting import compacted
from core.context import Context
from core.live import Words
from core.outcomes import Answer, Failure
from core.privacy.declared import declared
from core.skills.doing import Do, Means, prepared, shortened
from core.talk import Desk, Entry, Notes, Talk, activity
from core.telling import RESTORES, Telling
from models import ErrorClass, MessageType

# A turn that is not told how often it may ask: its caller can go on from there.
ITERATIONS = 100
CALLS = 1000
# A model that asks for the very same so often in a row has lost its way.
SAME = 10
SIDE_BY_SIDE = 8
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
    iterations, calls = 0, _made_before(talk)
    round_about = _Rounds()
    talk, end = _answered(desk, talk, _unanswered(talk.history, desk.functions))
    if end is None:
        talk = compacted(desk, talk)
    while end is None:
        answer = asked(desk, talk)
        if not answer.calls:
            if answer.reasoning:
                telling.tell("message", {"type": MessageType.REASONING.value, "text": answer.reasoning})
            return replace(answer, records=talk.records)
        calls += len(answer.calls)
        if calls > (talk.request.calls or CALLS):
            raise Failure(ErrorClass.LIMIT, "calls", answer, final=True)
        if round_about.again(answer.calls):
            raise Failure(ErrorClass.TOOL_LOOP, "repeats", answer, final=True)
        talk, kept = _note(desk, talk, _requests(answer), answer)
        keyed = [replace(c, id=e.key) for c, e in zip(answer.calls, kept[-len(answer.calls) :], strict=True)]
        talk, end = _answered(desk, spent(talk, answer), keyed)
        iterations += 1
        if end is None and iterations == (talk.request.iterations or ITERATIONS):
            end = "iteration"
    return Answer("", end=end)


def _made_before(talk: Talk) -> int:
    """How many calls earlier attempts of this turn have written down: they count as well."""
    mine = (m.meta.get("activity") for m in talk.history if m.key.startswith(f"{talk.id}-note."))
    return sum(isinstance(one, dict) and one.get("type") == "request" for one in mine)


@dataclass
class _Rounds:
    """How often in a row the model has asked for the very same."""

    last: str = ""
    count: int = 0

    def again(self, calls: Sequence[ToolCall]) -> bool:
        said = json.dumps([[call.name, dict(call.arguments)] for call in calls], sort_keys=True)
        self.count = self.count + 1 if said == self.last else 1
        self.last = said
        return self.count > SAME


def spoken(answer: Answer) -> list[tuple[MessageType, str]]:
    """What an answer says, by the types of its messages: what the model thought comes first."""
    said = ((MessageType.REASONING, answer.reasoning), (MessageType.BOT, answer.text))
    return [(kind, text) for kind, text in said if text.strip()]


def _requests(answer: Answer) -> list[Entry]:
    said = [Entry(kind, text, {}) for kind, text in spoken(answer)]
    return [*said, *(activity("request", call) for call in answer.calls)]


def _note(
    desk: Desk, talk: Talk, entries: Sequence[Entry], answer: Answer | None = None
) -> tuple[Talk, Sequence[Entry]]:
    """Writes messages down, tells them, and shows them to the next call; also answers them as written."""
    kept = desk.notes.keep(entries, answer)
    return _shown(desk, talk, kept), kept


def _shown(desk: Desk, talk: Talk, entries: Sequence[Entry]) -> Talk:
    """Tells what was written down, and shows it to the next call."""
    for entry in entries:
        said = {"type": entry.type.value, "text": entry.text, "meta": dict(entry.meta)}
        said |= _restores(desk, entry.meta.get("activity", {}).get("function", {}), "arguments")
        desk.telling.tell("message", {key: value for key, value in said.items() if value})
    seen = tuple(StoredMessage(e.type, e.text, e.meta, e.place, e.key) for e in entries)
    return replace(talk, history=talk.history + seen)


def _restores(desk: Desk, called: Any, arguments: str) -> dict[str, Any]:
    """Tells the doors which arguments of a call leave with their values; they pass it on to nobody."""
    function = desk.functions.get(called.get("name", "")) if called else None
    paths = declared(function.parameters, called.get(arguments)) if function else []
    return {RESTORES: paths} if paths else {}


def _unanswered(history: Sequence[StoredMessage], functions: Container[str]) -> tuple[ToolCall, ...]:
    """Calls that an attempt before this one has written down and not seen answered.

    One that no turn has written is none of a model: whoever may write here would act with any arguments. It
    is looked at only where the caller's own function answers it.
    """
    waiting: list[ToolCall] = []
    ours: set[str] = set()
    for message in history:
        activity = message.meta.get("activity") if message.type == MessageType.ACTIVITY else None
        if message.type in SPOKEN:
            waiting = []
        if not isinstance(activity, dict) or not isinstance(activity.get("function"), dict):
            continue
        function = activity["function"]
        name, arguments = str(function.get("name")), function.get("arguments")
        if activity.get("type") == "request":
            key = message.key or f"seq.{message.place}"
            waiting.append(ToolCall(key, name, arguments if isinstance(arguments, dict) else {}))
            ours |= {key} if message.key else set()
        elif activity.get("type") == "response":
            found = next((call for call in waiting if call.name == name), None)
            waiting = [call for call in waiting if call is not found]
    return tuple(call for call in waiting if call.id in ours or call.name in functions)


def _answered(desk: Desk, talk: Talk, calls: Sequence[ToolCall]) -> tuple[Talk, str | None]:
    """Carries calls out; also why the turn ends with them, if it does.

    Requests to others are made side by side; responses are written down in the order of the calls.
    """
    end = None
    if any(call.name not in desk.functions for call in calls):
        desk.notes.before_acts()
    with _Ahead(desk, talk, calls) as ahead:
        for call in calls:
            function = desk.functions.get(call.name)
            if function is not None and function.result is None and call.broken is None:
                end = "activity"  # the caller answers, and asks again
                continue
            entry = desk.notes.respond(call, _result(desk, talk, call, ahead))
            talk = _shown(desk, talk, [entry])
            if function is not None and function.end and call.broken is None:
                end = end or "stop"
    return talk, end


def _result(desk: Desk, talk: Talk, call: ToolCall, ahead: _Ahead) -> Do:
    """What a call comes to, as a step of the transaction that writes its response down."""
    function = desk.functions.get(call.name)
    if call.broken is not None or function is None or function.result is None:
        do = ahead.of(call)
        most = desk.context.settings.window_of(talk.model) * BYTES_PER_TOKEN // 4
        return lambda session: shortened(do(session), most, talk.protect)
    if "data" in function.result:
        data = function.result["data"]
        return lambda _: data
    heard = _heard(desk, talk, function.result["channel"], call)
    return lambda _: heard


class _Ahead:
    """Requests of one answer that are under way side by side."""

    def __init__(self, desk: Desk, talk: Talk, calls: Sequence[ToolCall]) -> None:
        self._desk, self._talk = desk, talk
        leaving = [c for c in calls if c.name not in desk.functions and _leaves(talk, c)]
        self._threads = ThreadPoolExecutor(SIDE_BY_SIDE) if len(leaving) > 1 else None
        self._begun: dict[str, Future[Do]] = {}
        if self._threads is not None:
            for call in leaving:
                context = copy_context()
                self._begun[call.id] = self._threads.submit(context.run, self._prepared, call)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def of(self, call: ToolCall) -> Do:
        begun = self._begun.get(call.id)
        return self._prepared(call) if begun is None else begun.result()

    def _prepared(self, call: ToolCall) -> Do:
        talk = self._talk
        assert talk.acting is not None  # noqa: S101 (every talk that is carried out is equipped)
        deadline = talk.deadline.while_wanted(self._desk.notes.wanted)
        means = Means(self._desk.context, talk.acting, deadline, talk.restore, talk.conceal)
        try:
            return prepared(talk.skills.get(call.name), call, means)
        except ModelTimeout:
            raise Failure(ErrorClass.TIMEOUT, "call", final=True) from None


def _leaves(talk: Talk, call: ToolCall) -> bool:
    skill = talk.skills.get(call.name)
    return skill is not None and skill.leaves


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
