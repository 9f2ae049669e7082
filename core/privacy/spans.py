"""What a detector says: spans of a text that are somebody's personal data."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """A span `[begin, end)` in code points of exactly the text that was looked at.

    `score` says from 0 to 1 how sure the detector is; `source` who found it: `structured`, `known` (an
    identity of the conversation), `given` (by the caller) or `model` (the operator's own).
    """

    type: str
    begin: int
    end: int
    score: float
    source: str = "structured"
