"""What of a conversation a model gets to see: roles, a token estimate and the cut to a budget."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.chat.provider import ChatMessage, ContextTooLong, Image, Role, Tool, ToolCall

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
# What an image is taken to cost, whatever its size: vendors count some 300 to 1,600 tokens for a common one.
TOKENS_PER_IMAGE = 1_000

# Reasoning is not sent back.
_LEFT_OUT = frozenset({"reasoning"})
_ACTIVITY = "activity"
_ROLES: Mapping[str, tuple[Role, str]] = {
    "user": ("user", ""),
    "bot": ("assistant", ""),
    "instruction": ("system", ""),
    "backstory": ("system", ""),
    "context": ("system", "Context:\n"),
    "checkpoint": ("system", "Summary of the conversation so far:\n"),
}


@dataclass(frozen=True)
class StoredMessage:
    """What decides how the model sees a message; `place` is its own within the conversation, `key` the run
    and the step that wrote it, empty where no run did.
    """

    type: str
    text: str
    meta: Mapping[str, Any]
    place: int = 0
    key: str = ""
    images: tuple[Image, ...] = ()


def to_chat_messages(rows: Iterable[StoredMessage], *, tools: bool = False) -> tuple[ChatMessage, ...]:
    """Give each message its role, in order.

    Left out: reasoning, messages without text or image, and those whose meta says `hidden` or `archived`. An
    activity is a call and its answer to a model that knows its tools, when it has both; to others it means
    nothing.
    """
    said: list[ChatMessage] = []
    asked: list[ToolCall] = []
    for row in filter(is_seen, rows):
        if row.type != _ACTIVITY:
            said.append(_chat_message(row))
        elif tools:
            said += _activity(row, asked)
    return tuple(said)


def _activity(row: StoredMessage, asked: list[ToolCall]) -> list[ChatMessage]:
    """A response goes with the oldest request of its function that has none yet."""
    activity = row.meta.get("activity")
    function = activity.get("function") if isinstance(activity, dict) else None
    if not isinstance(activity, dict) or not isinstance(function, dict):
        return []
    name, arguments = str(function.get("name", "")), function.get("arguments")
    if activity.get("type") == "request":
        given = arguments if isinstance(arguments, dict) else {}
        asked.append(ToolCall(f"call_{row.place}", name, given))
        return []
    call = next((call for call in asked if call.name == name), None)
    if activity.get("type") != "response" or call is None:
        return []
    asked.remove(call)
    result = json.dumps(function.get("result"), ensure_ascii=False)
    return [ChatMessage("assistant", "", (call,)), ChatMessage("tool", result, call_id=call.id)]


def is_seen(row: StoredMessage) -> bool:
    hidden = row.meta.get("hidden") or row.meta.get("archived")
    return not hidden and row.type not in _LEFT_OUT and bool(row.text.strip() or row.images)


def _chat_message(row: StoredMessage) -> ChatMessage:
    role, heading = _ROLES[row.type]
    return ChatMessage(role, heading + row.text, images=row.images if role == "user" else ())


def estimate_tokens(text: str) -> int:
    """An estimate: one token for every four UTF-8 bytes, rounded up.

    English prose comes out about right; scripts of two or three bytes a letter come out at half a token to
    one token a letter, as tokenizers price them. Good for budgets and for servers that send no usage; never
    a bill.
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def estimate_input(system: str, messages: Iterable[ChatMessage]) -> int:
    """The estimate for everything a call sends; every message costs a few tokens beside its text."""
    return _system_cost(system) + sum(_cost(message) for message in messages)


def estimate_tools(tools: Iterable[Tool]) -> int:
    """The estimate for what a model is told of the functions that it may call."""
    told = (f"{tool.name}{tool.description}{json.dumps(dict(tool.parameters))}" for tool in tools)
    return sum(estimate_tokens(one) + TOKENS_PER_MESSAGE for one in told)


def _system_cost(system: str) -> int:
    return estimate_tokens(system) + TOKENS_PER_MESSAGE if system else 0


def _cost(message: ChatMessage) -> int:
    calls = sum(estimate_tokens(call.name + json.dumps(call.arguments)) for call in message.calls)
    images = TOKENS_PER_IMAGE * len(message.images)
    return estimate_tokens(message.text) + calls + images + TOKENS_PER_MESSAGE


def fit(system: str, messages: Sequence[ChatMessage], budget: int) -> tuple[tuple[ChatMessage, ...], int]:
    """Cut from the oldest end until the estimate fits `budget` tokens: the kept messages and how many fell.

    The last user message always stays (the newest message, when no user has spoken); ContextTooLong when it
    does not fit beside `system`. System messages that open the history, a backstory or a summary, outlive
    the cut while there is room for them. Order is kept. After a cut the rest does not open with an answer
    whose question fell; a history that opens with an answer by itself, or has no question, keeps it.
    """
    room = budget - _system_cost(system)
    stays = _must_stay(messages)
    if stays is not None:
        room -= _cost(messages[stays])
    if room < 0:
        raise ContextTooLong("budget")
    pinned, room = _opening(messages, stays, room)
    kept = set(pinned)
    for index in reversed(range(len(pinned), len(messages))):
        if index != stays:
            room -= _cost(messages[index])
        if room < 0:
            break
        kept.add(index)
    if stays is not None:
        kept.add(stays)
    chosen = _without_orphans(messages, sorted(kept), len(pinned), stays)
    chosen = _with_their_calls(messages, chosen)
    return tuple(messages[index] for index in chosen), len(messages) - len(chosen)


def _must_stay(messages: Sequence[ChatMessage]) -> int | None:
    users = [index for index, message in enumerate(messages) if message.role == "user"]
    if users:
        return users[-1]
    return len(messages) - 1 if messages else None


def _opening(messages: Sequence[ChatMessage], stays: int | None, room: int) -> tuple[range, int]:
    """The system messages that open the history and the room left beside them, or none if they do not fit."""
    length = 0
    while length < len(messages) and length != stays and messages[length].role == "system":
        length += 1
    left = room - sum(_cost(message) for message in messages[:length])
    return (range(length), left) if left >= 0 else (range(0), room)


def _with_their_calls(messages: Sequence[ChatMessage], kept: list[int]) -> list[int]:
    """Without the answers whose calls fell: a model server refuses them."""
    called = {call.id for index in kept for call in messages[index].calls}
    return [i for i in kept if messages[i].role != "tool" or messages[i].call_id in called]


def _without_orphans(
    messages: Sequence[ChatMessage], kept: list[int], pinned: int, stays: int | None
) -> list[int]:
    if len(kept) == len(messages) or stays is None or messages[stays].role != "user":
        return kept
    first = pinned
    while messages[kept[first]].role == "assistant":
        first += 1
    return kept[:pinned] + kept[first:]
