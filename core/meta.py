"""Meta: what callers keep on a row of their own (contract sections 1.4 and 8.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from core.errors import InvalidInput
from core.rows import checked_text

LONGEST = 64 * 1024
MERGE = "$update"
_WORD = re.compile(r"\w")


def checked_meta(value: Any) -> dict[str, Any]:
    """Meta as it is stored; null is none. Keys that do not begin with a letter or a digit are left out.

    Raises:
        InvalidInput: not an object, a key that begins with `_`, larger than 64 KiB, or no text inside.

    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput("The meta must be an object.")
    if any(str(key).startswith("_") for key in value):
        raise InvalidInput("A key of the meta must not begin with an underscore.")
    kept = {str(key): inner for key, inner in value.items() if _WORD.match(str(key))}
    _refuse_unstorable(kept)
    return kept


def merged_meta(stored: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """What an update makes of meta: null clears, an object is merged key by key, as is `{"$update": …}`.

    Raises:
        InvalidInput: as `checked_meta`, the result included.

    """
    if given is None:
        return {}
    if isinstance(given, Mapping) and MERGE in given:
        inner = given[MERGE]
        if not isinstance(inner, Mapping):
            raise InvalidInput("The $update of the meta must be an object.")
        given = {**{key: value for key, value in given.items() if key != MERGE}, **inner}
    merged = {**stored, **checked_meta(given)}
    _refuse_unstorable(merged)
    return merged


def _refuse_unstorable(meta: Mapping[str, Any]) -> None:
    try:
        size = len(json.dumps(meta, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput("The meta must be JSON, without NaN and halves of surrogate pairs.") from error
    if size > LONGEST:
        raise InvalidInput(f"The meta is larger than {LONGEST} bytes.")
    waiting: list[Any] = [meta]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, str):
            checked_text(value, "A text of the meta", longest=LONGEST, empty=True)
