"""What is found in a text, in full: who tries a policy out sees why. Needs no database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.entities import Units
from core.privacy.kinds import label_of
from core.privacy.operators import Taken

CODEPOINT, UTF16 = "codepoint", "utf16"


def preview_document(
    submitted: str, stored: str, found: Sequence[Taken], unit: str = CODEPOINT
) -> dict[str, Any]:
    """What a policy makes of a text. `begin` and `end` count in the text as it was sent, those of
    `replacement` in the one that would be stored.
    """
    given, kept = (None, None) if unit == CODEPOINT else (Units(submitted), Units(stored))
    return {
        "text": stored,
        "entities": [_entity(one, submitted, stored, given, kept) for one in found],
    }


def _entity(
    one: Taken, submitted: str, stored: str, given: Units | None, kept: Units | None
) -> dict[str, Any]:
    return {
        "type": label_of(one.type),
        "kind": one.type,
        **_span(given, submitted, one.begin, one.end),
        "operator": one.operator.value,
        "score": round(one.score, 3),
        "source": one.source,
        "replacement": _span(kept, stored, one.stored_begin, one.stored_end),
    }


def _span(units: Units | None, text: str, begin: int, end: int) -> dict[str, Any]:
    first, last = (units.of(begin), units.of(end)) if units else (begin, end)
    return {"begin": first, "end": last, "text": text[begin:end]}
