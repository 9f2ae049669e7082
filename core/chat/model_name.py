"""Reads model strings: a name and its options, `gpt-5-mini/temperature=0.2`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from core.chat.provider import OptionValue
from core.errors import InvalidInput

MAX_LENGTH = 512
MAX_OPTIONS = 16

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")

_FLOATS = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "latency": (0, 3600),
    "fail_rate": (0, 1),
}
_INTEGERS = {
    "max_tokens": (1, 10_000_000),
    "top_k": (0, 1_000_000),
    "seed": (-(2**62), 2**62),
    "chunks": (1, 10_000),
    "empty": (0, 1),
}
_WORDS = {"finish": frozenset({"stop", "length", "refused"})}


@dataclass(frozen=True)
class ModelName:
    """A name and its options. Keys are snake_case: `maxTokens` arrives as `max_tokens`."""

    name: str
    options: Mapping[str, OptionValue] = field(default_factory=lambda: MappingProxyType({}))


def parse_model(text: str) -> ModelName:
    """Split `name/key=value/key=value`; the name may hold slashes itself, `meta-llama/Llama-3/seed=1`.

    Options with a known meaning are checked and become numbers; an unknown one is kept, as a number when it
    reads as one. Raises InvalidInput for anything that is not such a string.
    """
    text = text.strip()
    if not text or len(text) > MAX_LENGTH:
        raise InvalidInput(f"A model is named with 1 to {MAX_LENGTH} characters.")
    if not text.isprintable():
        raise InvalidInput("A model string must not hold control characters.")
    parts = text.split("/")
    first = next((index for index, part in enumerate(parts) if "=" in part), len(parts))
    if first == 0 or not all(part.strip() for part in parts[:first]):
        raise InvalidInput("A model string starts with the model's name.")
    return ModelName("/".join(parts[:first]), MappingProxyType(_options(parts[first:])))


def model_string(value: Any) -> str | None:
    """A model as it is stored: a model string as it was given, or `{name, config}` written as one.

    Raises InvalidInput for anything else; null is none.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        value = _written(value)
    if not isinstance(value, str):
        raise InvalidInput("A model is a string, or an object with a name and a config.")
    parse_model(value)
    return value


def written(name: str, options: Mapping[str, OptionValue]) -> str:
    """A name and options as one model string."""
    return "/".join((name, *(f"{key}={value}" for key, value in options.items())))


def _written(model: Mapping[str, Any]) -> Any:
    config = {} if model.get("config") is None else model["config"]
    if not isinstance(model.get("name"), str) or not isinstance(config, Mapping):
        raise InvalidInput("A model object has a name and a config, which is an object.")
    parts = [model["name"]]
    for key, value in config.items():
        if value is None:
            continue
        if not isinstance(value, str | int | float) or (isinstance(value, str) and set(value) & set("/=")):
            raise InvalidInput("A model's config holds numbers, booleans and plain words.")
        parts.append(f"{key}={json.dumps(value) if isinstance(value, bool) else value}")
    return "/".join(parts)


def _options(parts: list[str]) -> dict[str, OptionValue]:
    if len(parts) > MAX_OPTIONS:
        raise InvalidInput(f"A model string holds at most {MAX_OPTIONS} options.")
    options: dict[str, OptionValue] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not _KEY.fullmatch(key) or not value.strip():
            raise InvalidInput("Model options are written key=value, separated by slashes.")
        key = _CAPITAL.sub(r"_\1", key).lower()
        if key in options:
            raise InvalidInput(f"The model option {key} is given twice.")
        options[key] = _value(key, value.strip())
    return options


def _value(key: str, text: str) -> OptionValue:
    if key in _WORDS:
        if text not in _WORDS[key]:
            raise InvalidInput(f"The model option {key} is one of {', '.join(sorted(_WORDS[key]))}.")
        return text
    number = _number(text)
    if key in _INTEGERS:
        low, high = _INTEGERS[key]
        if not isinstance(number, int) or not low <= number <= high:
            raise InvalidInput(f"The model option {key} is a whole number from {low} to {high}.")
    if key in _FLOATS:
        low, high = _FLOATS[key]
        if number is None or not low <= number <= high:
            raise InvalidInput(f"The model option {key} is a number from {low} to {high}.")
    return text if number is None else number


def _number(text: str) -> float | int | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return None
