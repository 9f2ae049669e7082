"""JSON that came from outside, made such that PostgreSQL and anybody who speaks UTF-8 can hold it. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

DEPTH = 64
DIGITS = 300  # what a double can hold; jsonb's numbers end as well
BITS = 1000
REPLACEMENT = "\ufffd"


def storable(value: Any, change: Callable[[str], str] = str) -> Any:
    """The value as jsonb can hold it; every text of it, names included, goes through `change`.

    NUL characters and halves of surrogate pairs become U+FFFD. Numbers that no double can hold, NaN and
    Infinity are null, as is what is nested deeper than DEPTH levels.
    """
    return _storable(value, lambda words: change(clean(words)), DEPTH)


def clean(words: str) -> str:
    """A text that is UTF-8 and has no NUL."""
    words = words.replace("\x00", REPLACEMENT)
    if words.isascii():
        return words
    return words.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def read_json(words: str) -> Any:
    """What a JSON text says; `storable` takes it from there.

    Raises:
        ValueError: it is none, or nested without an end.

    """
    try:
        return json.loads(words, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def compact(value: Any) -> str:
    """Storable JSON, written as short as it can be."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= DIGITS else None


def _is_bounded(number: float) -> bool:
    return math.isfinite(number) if isinstance(number, float) else number.bit_length() < BITS


def _storable(value: Any, change: Callable[[str], str], depth: int) -> Any:
    if isinstance(value, str):
        return change(value)
    if value is None or isinstance(value, int | float):
        return value if value is None or _is_bounded(value) else None
    if depth == 0:
        return None
    if isinstance(value, Mapping):
        return {change(str(name)): _storable(inner, change, depth - 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(inner, change, depth - 1) for inner in value]
    raise TypeError("not JSON")
