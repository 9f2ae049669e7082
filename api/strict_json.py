"""JSON as strictly as it was meant: what Python's reader lets through and PostgreSQL or a peer refuses."""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any, NoReturn

from core.errors import InvalidInput

DEPTH = 32
KEYS = 256
DIGITS = 40

# A string, or an unterminated one up to the end; possessive, so it is linear on hostile input.
STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
BRACKET = re.compile(r"[\[\]{}]")
STEP = {"[": 1, "{": 1, "]": -1, "}": -1}


def read_object(body: bytes) -> dict[str, Any]:
    """The object a body holds; an empty body is an empty object.

    Raises:
        InvalidInput: with a sentence that says which rule was broken, and never what was sent.

    """
    if not body.strip():
        return {}
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("The body is not valid UTF-8.") from error
    _refuse_depth(text)
    value = _parse(text)
    if not isinstance(value, dict):
        raise InvalidInput("The body must be a JSON object.")
    if "\\u" in text:  # Only an escape can bring in what is looked for: raw it is no JSON or no UTF-8.
        _refuse_unstorable(value)
    return value


def _parse(text: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except json.JSONDecodeError as error:
        raise InvalidInput(f"The body is not JSON: {_fault(text, error)}.") from error
    except RecursionError as error:
        raise InvalidInput(f"The body is nested deeper than {DEPTH} levels.") from error


def _fault(text: str, error: json.JSONDecodeError) -> str:
    if text[error.pos : error.pos + 1] == "\x00":
        return f"it holds a NUL character at character {error.pos}"
    if error.msg == "Extra data":
        return f"something follows its end at character {error.pos}"
    return f"{error.msg[:1].lower()}{error.msg[1:]} at character {error.pos}"


def _refuse_depth(text: str) -> None:
    """Counts brackets outside strings before the parser recurses into them."""
    steps = (STEP[found.group()] for found in BRACKET.finditer(STRING.sub("", text)))
    if any(depth > DEPTH for depth in accumulate(steps)):
        raise InvalidInput(f"The body is nested deeper than {DEPTH} levels.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > KEYS:
        raise InvalidInput(f"An object in the body has more than {KEYS} keys.")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidInput("An object in the body has the same key twice.")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise InvalidInput("The body holds NaN or Infinity, which are not JSON.")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise InvalidInput("The body holds a number that is too large.")
    return value


def _int(digits: str) -> int:
    if len(digits) > DIGITS:
        raise InvalidInput("The body holds a number that is too large.")
    return int(digits)


def _refuse_unstorable(root: Any) -> None:
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            _refuse_text(value)


def _refuse_text(value: str) -> None:
    if "\x00" in value:
        raise InvalidInput("The body holds a NUL character, which no text may.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput("The body holds half of a surrogate pair, which is not text.") from error
