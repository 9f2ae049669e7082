"""The calls of an answer, put together from their pieces, in whatever way a server sends them.

Arguments come in many pieces and several calls interleaved by index. Some servers leave the index out, or
give every call the same one; some send no ids, or the same id and name with every piece. What cannot be read
is told as a broken call rather than as a failed answer: the model can mend it when it hears of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from core.chat.provider import ModelUnavailable, ToolCall
from core.chat.text import storable

MAX_CALLS = 64
MAX_ARGUMENTS_BYTES = 64 * 1024
MAX_NAME = 200


@dataclass
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""
    broken: str | None = None


class CallParts:
    """What is known of the calls so far, in the order they began."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._places: dict[int, _Call] = {}  # by the server's index

    def feed(self, parts: object) -> int:
        """Notes a chunk's pieces; answers how many bytes they brought.

        Raises:
            ModelUnavailable: they are no pieces of calls, or there are too many calls.

        """
        return sum(self._feed(part) for part in parts) if isinstance(parts, list) else 0

    def _feed(self, part: object) -> int:
        function = (part.get("function") or {}) if isinstance(part, dict) else None
        if not isinstance(part, dict) or not isinstance(function, dict):
            raise ModelUnavailable("not_a_call")
        call_id, name = _words(part.get("id")), _words(function.get("name"))
        call = self._call_of(part.get("index"), call_id, name)
        call.id = call.id or call_id
        if name != call.name:  # some servers repeat it with every piece
            call.name += name
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # as Ollama's own API has it
            arguments = json.dumps(arguments)
        if arguments is not None and not isinstance(arguments, str):
            call.broken, arguments = "not_json", ""
        size = len((arguments or "").encode("utf-8", "surrogatepass"))
        if len(call.arguments) + size > MAX_ARGUMENTS_BYTES:
            call.broken, call.arguments = "too_long", ""
        elif call.broken is None:
            call.arguments += arguments or ""
        return size + len(name) + len(call_id)

    def _call_of(self, index: object, call_id: str, name: str) -> _Call:
        """The call that a piece belongs to: one begun before, or a new one."""
        if isinstance(index, int):
            call = self._places.get(index)
        elif call_id:
            call = next((call for call in self._calls if call.id == call_id), None)
        else:
            call = self._calls[-1] if self._calls and not name else None
        if call is None or (call_id and call.id and call_id != call.id):
            call = _Call()
            self._calls.append(call)
            if len(self._calls) > MAX_CALLS:
                raise ModelUnavailable("too_many_calls")
            if isinstance(index, int):
                self._places[index] = call
        return call

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls, each with an id of its own.

        Raises:
            ModelUnavailable: one of them does not say what it calls.

        """
        made: list[ToolCall] = []
        taken: set[str] = set()
        for number, call in enumerate(self._calls):
            name = storable(call.name).strip()[:MAX_NAME]
            if not name:
                raise ModelUnavailable("not_a_call")
            call_id = call.id if call.id and call.id not in taken else f"call_{number}"
            taken.add(call_id)
            arguments, broken = ({}, call.broken) if call.broken else _read(call.arguments)
            made.append(ToolCall(call_id, name, arguments, broken))
        return tuple(made)


def _words(value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise ModelUnavailable("not_a_call")
    return value or ""


def _read(words: str) -> tuple[dict[str, Any], str | None]:
    """The arguments, or why there are none; no words at all are no arguments."""
    try:
        arguments = json.loads(words) if words.strip() else {}
        if arguments is None:
            return {}, None
        return (storable(arguments), None) if isinstance(arguments, dict) else ({}, "not_an_object")
    except (ValueError, RecursionError):
        return {}, "not_json"
