"""Entities of a redaction as the wire shows them, and those a caller knows as spans (contract section 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.entities import Entity, Units
from core.privacy.kinds import label_of
from core.privacy.operators import Redacted
from core.privacy.policy_documents import kind_of
from core.privacy.spans import Span

# What stands for a type that is no word: it would not be one in a placeholder either.
UNKNOWN = "UNKNOWN"


def given_spans(entities: Iterable[Entity]) -> list[Span]:
    """What a caller gave, by our kinds: `Phone number` is PHONE_NUMBER."""
    return [Span(_kind(one.type), one.begin, one.end, 1.0, "given") for one in entities]


def _kind(word: str) -> str:
    return kind_of(word.strip().replace(" ", "_").replace("-", "_")) or UNKNOWN


def redacted_documents(redacted: Redacted, text: str) -> list[dict[str, Any]]:
    """The entities of `redact(text)`: each with what was submitted, and what stands there now.

    Offsets are UTF-16 code units, `replacement` counts in the redacted text.
    """
    if not redacted.taken:
        return []
    given, now = Units(text), Units(redacted.text)
    return [
        {
            "type": label_of(one.type),
            **_span(given, text, one.begin, one.end),
            "replacement": _span(now, redacted.text, one.stored_begin, one.stored_end),
        }
        for one in redacted.taken
    ]


def _span(units: Units, text: str, begin: int, end: int) -> dict[str, Any]:
    return {"begin": units.of(begin), "end": units.of(end), "text": text[begin:end]}
