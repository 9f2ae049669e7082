"""Training data: what a model was shown and what it said, as OpenAI's fine-tuning and ShareGPT have it.

Each conversation is one element, written as its messages come. What a model is not shown is left out:
reasoning, hidden and archived messages, calls of tools that were never answered. So are files, names, times.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from core.chat.history import StoredMessage, is_seen, to_chat_messages
from core.chat.provider import ChatMessage
from core.exporters.jsonl import dumped
from core.exporters.writer import Totals, Wrote
from core.importers.records import Conversation, Message

_ACTIVITY = "activity"


def seen(messages: Sequence[Message], place: int) -> list[tuple[str, ChatMessage]]:
    """What a model is shown of these messages, each with the type it came from. `place` is the first one's,
    so that calls have ids of their own.
    """
    rows = [StoredMessage(m.type, m.text, m.meta, at) for at, m in enumerate(messages, place)]
    types = (row.type for row in rows if row.type != _ACTIVITY and is_seen(row))
    chat = to_chat_messages(rows, tools=True)
    return [(_ACTIVITY if one.calls or one.role == "tool" else next(types), one) for one in chat]


class OpenAIWriter:
    """A line `{"messages": […]}` for each conversation. Its state: a line is open, and the next place."""

    digests = False

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self.state: dict[str, Any] = {"open": False, "place": 0, **(state or {})}

    def head(self, about: Mapping[str, Any]) -> bytes:
        del about
        return b""

    def part(self, conversation: Conversation, *, first: bool, last: bool) -> Wrote:
        place = 0 if first else int(self.state["place"])
        chat = seen(conversation.messages, place)
        said = [_openai(message) for _, message in chat]
        if conversation.backstory and said and not self.state["open"]:
            said.insert(0, {"role": "system", "content": conversation.backstory})
        parts = []
        for one in said:
            parts.append(b"," if self.state["open"] else b'{"messages":[')
            parts.append(dumped(one))
            self.state["open"] = True
        self.state["place"] = place + len(conversation.messages)
        if last and self.state["open"]:
            parts.append(b"]}\n")
            self.state["open"] = False
        return Wrote(b"".join(parts), Counter(kind for kind, _ in chat))

    def tail(self, totals: Totals) -> bytes:
        del totals
        return b""


def _openai(message: ChatMessage) -> dict[str, Any]:
    if message.calls:
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": json.dumps(call.arguments, ensure_ascii=False),
                },
            }
            for call in message.calls
        ]
        return {"role": "assistant", "tool_calls": calls}
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
    return {"role": message.role, "content": message.text}


_SPEAKERS = {"user": "human", "assistant": "gpt", "tool": "observation"}


class ShareGPTWriter:
    """An array, an element for each conversation; turns of one side that follow one another are one turn.

    Whoever trains on these wants the sides to alternate, and instructions at the beginning, as `system`.
    The state: whether there are elements so far (`any`), what is open (`system` or a speaker), whether it
    has `turns`, and the next place.
    """

    digests = False

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        begun = {"any": False, "open": "", "turns": False, "place": 0}
        self.state: dict[str, Any] = {**begun, **(state or {})}

    def head(self, about: Mapping[str, Any]) -> bytes:
        del about
        return b"["

    def part(self, conversation: Conversation, *, first: bool, last: bool) -> Wrote:
        state = self.state
        place = 0 if first else int(state["place"])
        chat, types = seen(conversation.messages, place), Counter[str]()
        parts: list[bytes] = []
        if conversation.backstory and chat and not state["open"]:
            parts += self._system(conversation.key, conversation.backstory)
        for kind, message in chat:
            if message.role == "system" and state["turns"]:
                continue
            if message.role == "system":
                parts += self._system(conversation.key, message.text)
            else:
                parts += self._turn(conversation.key, *_sharegpt(message))
            types[kind] += 1
        state["place"] = place + len(conversation.messages)
        if last:
            parts += self._close()
        return Wrote(b"".join(parts), types)

    def tail(self, totals: Totals) -> bytes:
        del totals
        return b"\n]\n"

    def _system(self, key: str, text: str) -> list[bytes]:
        """Adds to what the conversation begins with."""
        if self.state["open"]:
            return [_inside("\n\n" + text)]
        self.state["open"] = "system"
        return [*self._element(key), b',"system":"', _inside(text)]

    def _turn(self, key: str, speaker: str, text: str) -> list[bytes]:
        state = self.state
        if state["open"] == speaker and speaker in {"human", "gpt"}:
            return [_inside("\n\n" + text)]
        if not state["open"]:
            parts = [*self._element(key), b',"conversations":[']
        elif state["open"] == "system":
            parts = [b'","conversations":[']
        else:
            parts = [b'"},']
        state["open"], state["turns"] = speaker, True
        return [*parts, b'{"from":"%s","value":"' % speaker.encode(), _inside(text)]

    def _element(self, key: str) -> list[bytes]:
        begin = b",\n" if self.state["any"] else b"\n"
        self.state["any"] = True
        return [begin, b'{"id":', dumped(key)]

    def _close(self) -> list[bytes]:
        state = self.state
        end = {"": b"", "system": b'","conversations":[]}'}.get(state["open"], b'"}]}')
        state["open"], state["turns"] = "", False
        return [end]


def _sharegpt(message: ChatMessage) -> tuple[str, str]:
    if message.calls:
        call = message.calls[0]
        told = {"name": call.name, "arguments": call.arguments}
        return "function_call", json.dumps(told, ensure_ascii=False)
    return _SPEAKERS[message.role], message.text


def _inside(text: str) -> bytes:
    """A text as it stands between the quotes of a JSON string."""
    return dumped(text)[1:-1]
