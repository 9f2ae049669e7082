"""The arguments of the offline model's calls: what a question says of a parameter, or a guess by type."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from core.chat.provider import Tool

WORDS = 200
NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
_SAID = re.compile(
    r"(?<![\w.])([A-Za-z_][\w-]{0,63})\s*"
    r"(?:=\s*|:\s*(?=[\"'“‘{\[]))"
    r"(?:\"([^\"]*)\"|'([^']*)'|“([^”]*)”|‘([^’]*)’|(?=[{\[])|([^\s,;]+))"
)
_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})


class _Unfit(Exception):
    """What was said is no value of the parameter's type."""


def arguments_for(tool: Tool, question: str, near: str | None = None) -> dict[str, Any]:
    """`name=value` and `name: "value"` fill the parameter of that name with the right type; a parameter that
    must be there and was not said is guessed from the question. `near` is where to look first.
    """
    properties = tool.parameters.get("properties")
    required = tool.parameters.get("required")
    if not isinstance(properties, Mapping):
        return {}
    wanted = required if isinstance(required, list) else list(properties)
    said = {**_said(question, properties), **_said(near or "", properties)}
    numbers = iter(NUMBER.findall(near or "") or NUMBER.findall(question))
    arguments = {}
    for name, schema in properties.items():
        if name in said:
            arguments[name] = said[name]
        elif name in wanted:
            arguments[name] = _guess(schema, question, numbers=numbers)
    return arguments


def _said(text: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    names = {str(name).lower(): name for name in properties}
    said: dict[str, Any] = {}
    for found in _SAID.finditer(text):
        name = names.get(found[1].lower())
        if name is None or name in said:
            continue
        quoted = next((words for words in found.groups()[1:5] if words is not None), None)
        try:
            said[name] = _value(properties[name], quoted, found[6], text[found.end() :])
        except _Unfit:
            continue
    return said


def _value(schema: Any, quoted: str | None, bare: str | None, rest: str) -> Any:
    """What was said, as the type of its parameter. `rest` begins with JSON when nothing else was said."""
    if quoted is None and bare is None:
        try:
            value, _ = json.JSONDecoder().raw_decode(rest)
        except (ValueError, RecursionError):
            raise _Unfit from None
        kind = _kind(schema)
        if kind in {"array", "object"} and not isinstance(value, list if kind == "array" else dict):
            raise _Unfit
        return json.dumps(value) if kind == "string" else value
    words = quoted if quoted is not None else (bare or "").rstrip(".,;:!?)")
    return _typed(schema, words)


def _typed(schema: Any, words: str) -> Any:
    kind, choices = _kind(schema), schema.get("enum") if isinstance(schema, Mapping) else None
    if isinstance(choices, list) and choices:
        fitting = [choice for choice in choices if str(choice).lower() == words.lower()]
        if not fitting:
            raise _Unfit
        return fitting[0]
    if kind in {"integer", "number"}:
        if not NUMBER.fullmatch(words):
            raise _Unfit
        return int(float(words)) if kind == "integer" else float(words)
    if kind == "boolean":
        if words.lower() not in _YES | _NO:
            raise _Unfit
        return words.lower() in _YES
    if kind == "array":
        return [one.strip() for one in words.split(",") if one.strip()]
    if kind == "object":
        raise _Unfit
    return words


def _kind(schema: Any) -> str | None:
    """The type of a schema; of several the first that is not null."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    kinds = [one for one in kind if one != "null"] if isinstance(kind, list) else [kind]
    return next((one for one in kinds if isinstance(one, str)), None)


def _guess(schema: Any, question: str, *, numbers: Any) -> Any:
    choices = schema.get("enum") if isinstance(schema, Mapping) else None
    if isinstance(choices, list) and choices:
        named = [choice for choice in choices if str(choice).lower() in question.lower()]
        return (named or choices)[0]
    kind = _kind(schema)
    plain: dict[str | None, Any] = {"boolean": True, "array": [], "object": {}}
    if kind in plain:
        return plain[kind]
    if kind in {"integer", "number"}:
        number = next(numbers, "0")
        return int(float(number)) if kind == "integer" else float(number)
    return " ".join(question.split()[:WORDS])
