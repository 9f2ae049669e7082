"""Choosing: which of the spans found in a text are taken, and how, as one list without overlaps."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from core.privacy.placeholders import PLACEHOLDERS
from core.privacy.policy import DENIED, Operator, Policy
from core.privacy.presets import LEAVING
from core.privacy.spans import Span

_KEEP = Operator.KEEP
_made = tuple.__new__  # twice as fast as a named tuple's own constructor


@dataclass(frozen=True, slots=True)
class Entry:
    """One entity of a stored text, `[begin, end)` in it."""

    type: str
    begin: int
    end: int
    score: float
    source: str
    operator: Operator


class Choice(NamedTuple):
    """One span that is taken. A settled one was taken before: its text is no longer the value."""

    type: str
    begin: int
    end: int
    score: float
    source: str
    operator: Operator
    settled: bool = False


def chosen(  # noqa: C901 (what costs nothing goes first)
    text: str, spans: Iterable[Span], policy: Policy, settled: Sequence[Entry] = ()
) -> list[Choice]:
    """What is taken from the text, in order.

    Of two that overlap, the one that alters the text goes first, then what a caller gave, then denied words,
    then the surer and the longer. What the other covers beyond it is still taken: no part of it is left.
    Placeholders are not touched, nor what a settled entry altered.
    """
    choices = _choices(text, spans, policy)
    if policy.deny:
        choices += _denied(text, policy)
    elif len(choices) < 2 and not settled and "[" not in text and "<" not in text:
        return choices
    kept = [
        Choice(one.type, one.begin, one.end, one.score, one.source, one.operator, settled=True)
        for one in settled
        if one.operator not in LEAVING and 0 <= one.begin < one.end <= len(text)
    ]
    if not choices:
        return sorted(kept, key=_place)
    placeholders = [found.span() for found in PLACEHOLDERS.finditer(text)] if _bracketed(text) else []
    if not kept and not placeholders and _apart(choices):
        return choices
    taken = _Taken()
    for one in kept:
        taken.add(one.begin, one.end, one)
    for place in placeholders:
        for begin, end in taken.free(*place):
            taken.add(begin, end, None)
    for one in sorted(choices, key=_rank):
        for begin, end in list(taken.free(one.begin, one.end)):
            first, last = _trimmed(text, begin, end, whole=(begin, end) == (one.begin, one.end))
            if first < last:
                taken.add(first, last, one._replace(begin=first, end=last))
    return taken.choices()


def _apart(choices: Iterable[Choice]) -> bool:
    """Whether they are in order, none over another."""
    past = 0
    for _, begin, end, *_ in choices:
        if begin < past:
            return False
        past = end
    return True


def _bracketed(text: str) -> bool:
    """Whether a placeholder may be in it."""
    return "[" in text or "<" in text


def _choices(text: str, spans: Iterable[Span], policy: Policy) -> list[Choice]:
    """What a caller gives is told at the least, whatever the policy looks for by itself."""
    size = len(text)
    operators, default, thresholds = policy.operators, policy.default, policy.thresholds
    choices: list[Choice] = []
    for kind, begin, end, score, source in spans:
        if begin < 0 or end > size:
            begin, end = max(begin, 0), min(end, size)  # noqa: PLW2901 (within the text)
        operator = operators.get(kind, default)
        given = source == "given"
        if operator is _KEEP or (thresholds and not given and score < thresholds.get(kind, 0)):
            if not given:
                continue
            operator = Operator.ANNOTATE
        if policy.allow and text[begin:end].strip().casefold() in policy.allow:
            if not given:
                continue
            operator = Operator.ANNOTATE
        if begin < end:
            choices.append(_made(Choice, (kind, begin, end, score, source, operator, False)))
    return choices


def _denied(text: str, policy: Policy) -> Iterator[Choice]:
    operator = policy.operator(DENIED)
    if not policy.deny or operator is Operator.KEEP:
        return
    for found in _words(policy.deny).finditer(text):
        if found[0].casefold() not in policy.allow:
            yield Choice(DENIED, found.start(), found.end(), 1.0, "denied", operator)


@lru_cache(maxsize=64)
def _words(deny: tuple[str, ...]) -> re.Pattern[str]:
    """The words at the boundaries of words, the longer first; whatever spaces a phrase is written with."""
    forms = [r"\s+".join(map(re.escape, word.split())) for word in sorted(deny, key=len, reverse=True)]
    return re.compile(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)", re.IGNORECASE)


def _rank(one: Choice) -> tuple[object, ...]:
    leaving = one.operator in LEAVING
    known = ("given", "denied").index(one.source) if one.source in {"given", "denied"} else 2
    return leaving, known, -one.score, one.begin - one.end, one.begin, one.type


def _place(one: Choice) -> int:
    return one.begin


def _trimmed(text: str, begin: int, end: int, *, whole: bool) -> tuple[int, int]:
    """A part without the punctuation at its ends; a whole span is taken as it was found."""
    if whole:
        return begin, end
    while begin < end and not text[begin].isalnum():
        begin += 1
    while begin < end and not text[end - 1].isalnum():
        end -= 1
    return begin, end


class _Taken:
    """Places that are taken, in order and without overlaps."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._choices: list[Choice | None] = []

    def add(self, begin: int, end: int, choice: Choice | None) -> None:
        at = bisect_left(self._begins, begin)
        self._begins.insert(at, begin)
        self._ends.insert(at, end)
        self._choices.insert(at, choice)

    def free(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of `[begin, end)` that nothing has taken."""
        at = bisect_left(self._begins, begin)
        if at and self._ends[at - 1] > begin:
            begin = self._ends[at - 1]
        while at < len(self._begins) and self._begins[at] < end:
            if begin < self._begins[at]:
                yield begin, self._begins[at]
            begin = max(begin, self._ends[at])
            at += 1
        if begin < end:
            yield begin, end

    def choices(self) -> list[Choice]:
        return [choice for choice in self._choices if choice]
