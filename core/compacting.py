"""Long histories: summed up in a checkpoint before they no longer fit, instead of being cut.

The checkpoint says up to which message it stands (`until` of its meta); the model is shown it, and what
follows that message. The messages stay. Deleting one of them takes the checkpoint along (core/sweeping.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from core.asking import asked, spent
from core.chat.history import StoredMessage, estimate_input, is_seen, to_chat_messages
from core.outcomes import Failure
from core.talk import Desk, Entry, Talk
from core.telling import Silence
from core.turn_requests import TurnRequest
from models import ErrorClass, MessageType

log = structlog.get_logger()

UNTIL = "until"
# Shares of the window: when it is time, and how much of what was said last stays as it is.
FULL = 3 / 4
KEPT = 1 / 4
LEAST = 4  # messages that are worth a call
# What is no reason to go on without a summary: the turn itself would fail as well.
ENDS = frozenset({ErrorClass.LIMIT, ErrorClass.BUDGET, ErrorClass.TIMEOUT})


def compacted(desk: Desk, talk: Talk) -> Talk:
    """The talk, its older half summed up where it is about to outgrow the window.

    A summary that fails leaves the talk as it is: what does not fit is then cut from the oldest end.

    Raises:
        Failure: a limit or a budget is spent. What `notes.wanted` raises.

    """
    if talk.request.compacts or not desk.notes.lasting:
        return talk
    window = desk.context.settings.window_of(talk.model)
    if _cost(talk.history) <= window * FULL:
        return talk
    old, new = _divided(talk.history, int(window * KEPT))
    if len(old) < LEAST:
        return talk
    alone = replace(
        talk, history=old, request=TurnRequest(compacts=True), skills={}, assertions={}, knowledge=""
    )
    try:
        answer = asked(replace(desk, telling=Silence()), alone)
    except Failure as failure:
        if failure.error_class in ENDS:
            raise
        log.warning("not_compacted", error_class=failure.error_class, code=failure.code)
        if failure.answer.input_tokens + failure.answer.output_tokens:  # paid for all the same
            desk.notes.keep([], failure.answer)
        return spent(talk, failure.answer)
    entry = Entry(MessageType.CHECKPOINT, answer.text, {UNTIL: old[-1].place})
    (kept,) = desk.notes.keep([entry], answer)
    summary = StoredMessage(kept.type, kept.text, kept.meta, kept.place, kept.key)
    return replace(spent(talk, answer), history=(summary, *new))


def since_the_checkpoint(history: Sequence[StoredMessage]) -> tuple[StoredMessage, ...]:
    """The last summary, and what it does not stand for."""
    last = next((m for m in reversed(history) if _sums_up(m)), None)
    if last is None:
        return tuple(history)
    until = last.meta.get(UNTIL)
    past = until if isinstance(until, int) and until < last.place else last.place
    return (last, *(m for m in history if m.place > past and m is not last))


def _sums_up(message: StoredMessage) -> bool:
    """A checkpoint of ours, or one that stands for all before it. One that came from elsewhere names a place
    of there: it is shown like any message and hides nothing.
    """
    ours = bool(message.key)
    whole = UNTIL not in message.meta
    return message.type == MessageType.CHECKPOINT and is_seen(message) and (ours or whole)


def _cost(history: Sequence[StoredMessage]) -> int:
    return estimate_input("", to_chat_messages(history, tools=True))


def _divided(
    history: Sequence[StoredMessage], room: int
) -> tuple[tuple[StoredMessage, ...], tuple[StoredMessage, ...]]:
    """What is summed up, and what stays: at least all from the last question on, so that calls keep their
    responses and the question its words.
    """
    questions = [n for n, m in enumerate(history) if m.type == MessageType.USER and is_seen(m)]
    if not questions:
        return (), tuple(history)
    at = questions[-1]
    for begin in reversed(questions[:-1]):
        if _cost(history[begin:]) > room:
            break
        at = begin
    return tuple(history[:at]), tuple(history[at:])
