"""What of a conversation a model gets to see: roles, a token estimate and the cut to a budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.chat.provider import ChatMessage, ContextTooLong, Role

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4

# Reasoning is not sent back, and an activity means nothing before the model knows its tools.
_LEFT_OUT = frozenset({"activity", "reasoning"})
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
    """The columns of a message row that decide what the model sees."""

    type: str
    text: str
    meta: Mapping[str, Any]


def to_chat_messages(rows: Iterable[StoredMessage]) -> tuple[ChatMessage, ...]:
    """Give each message its role, in order.

    Left out: activities, reasoning, blank texts, and messages whose meta says `hidden` or `archived`.
    """
    return tuple(_chat_message(row) for row in rows if _is_seen(row))


def _is_seen(row: StoredMessage) -> bool:
    hidden = row.meta.get("hidden") or row.meta.get("archived")
    return not hidden and row.type not in _LEFT_OUT and bool(row.text.strip())


def _chat_message(row: StoredMessage) -> ChatMessage:
    role, heading = _ROLES[row.type]
    return ChatMessage(role, heading + row.text)


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


def _system_cost(system: str) -> int:
    return estimate_tokens(system) + TOKENS_PER_MESSAGE if system else 0


def _cost(message: ChatMessage) -> int:
    return estimate_tokens(message.text) + TOKENS_PER_MESSAGE


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


def _without_orphans(
    messages: Sequence[ChatMessage], kept: list[int], pinned: int, stays: int | None
) -> list[int]:
    if len(kept) == len(messages) or stays is None or messages[stays].role != "user":
        return kept
    first = pinned
    while messages[kept[first]].role == "assistant":
        first += 1
    return kept[:pinned] + kept[first:]
