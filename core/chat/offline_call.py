"""Which function the offline model calls, and with what: decided by words, the same every time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from core.chat.provider import ChatMessage, ModelRequest, Tool, ToolCall

WORDS = 200
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def tool_call(request: ModelRequest) -> ToolCall | None:
    """The call to make: the forced one, or that of a function the last question names; once a question."""
    since = _since_the_question(request.messages)
    question = since[0].text if since and since[0].role == "user" else ""
    answered = {call.name for message in since for call in message.calls}
    for tool in request.tools:
        named = tool.name == request.forced or _names(question, tool.name)
        if named and tool.name not in answered:
            return ToolCall(f"offline_{len(since)}", tool.name, _arguments(tool, question))
    return None


def _since_the_question(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    asked = [index for index, message in enumerate(messages) if message.role == "user"]
    return messages[asked[-1] :] if asked else messages


def _names(question: str, name: str) -> bool:
    """`getWeather`, `get_weather` and "get weather" are one name."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).lower()
    said = question[: WORDS * 20].lower()
    return name.lower() in said or (len(words) > 2 and words in said)


def _arguments(tool: Tool, question: str) -> dict[str, Any]:
    properties = tool.parameters.get("properties")
    required = tool.parameters.get("required")
    if not isinstance(properties, Mapping):
        return {}
    wanted = required if isinstance(required, list) else list(properties)
    numbers = iter(NUMBER.findall(question))
    return {
        name: _value(properties[name], question, next(numbers, "0"))
        for name in wanted
        if isinstance(name, str) and name in properties
    }


def _value(schema: Any, question: str, number: str) -> Any:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    choices = schema.get("enum") if isinstance(schema, Mapping) else None
    if isinstance(choices, list) and choices:
        named = [choice for choice in choices if str(choice).lower() in question.lower()]
        return (named or choices)[0]
    plain = {"boolean": True, "array": [], "object": {}}
    if kind in plain:
        return plain[kind]
    if kind in {"integer", "number"}:
        return int(float(number)) if kind == "integer" else float(number)
    return " ".join(question.split()[:WORDS])
