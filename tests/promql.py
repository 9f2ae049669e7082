"""The part of PromQL that docs/operations/alerts.yml speaks, evaluated over one scrape.

Instant vectors with matchers, numbers, `*`, comparisons that filter, `and` with or without `on`. Vectors are
compared and joined on equal labels, as Prometheus does. What is not understood raises. Where there is a
`promtool`, tests/integration/test_alerts.py has it judge the same scrapes, to the same verdicts.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
TOKEN = re.compile(
    r'\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[a-z_]+)|(?P<text>"[^"]*")|(?P<sign>[=!><]=|[=!]~|\S))'
)
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
MATCH: dict[str, Callable[[str, str], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "=~": lambda value, pattern: re.fullmatch(pattern, value) is not None,
    "!~": lambda value, pattern: re.fullmatch(pattern, value) is None,
}


@dataclass(frozen=True)
class Sample:
    name: str
    labels: Labels
    value: float


def scraped(text: str, **labels: str) -> list[Sample]:
    """What a scrape answered, with the labels of its job; `up` beside it, as Prometheus adds it."""
    job = frozenset(labels.items())
    found = [
        Sample(sample.name, frozenset(sample.labels.items()) | job, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    return [*found, Sample("up", job, float(bool(found)))]


def evaluate(expression: str, samples: list[Sample]) -> Vector:
    """What an alert's expression answers: it fires for each series in it, and not at all when it is empty."""
    reading = _Reading(expression, samples)
    answer = reading.both()
    if reading.rest:
        raise ValueError(f"not understood: {reading.rest[0]}")
    if not isinstance(answer, dict):
        raise TypeError("an alert needs a vector")
    return answer


class _Reading:
    def __init__(self, expression: str, samples: list[Sample]) -> None:
        self.rest = [(match.lastgroup, match[match.lastgroup or 0]) for match in TOKEN.finditer(expression)]
        self.samples = samples

    def take(self, *signs: str) -> str | None:
        return self.rest.pop(0)[1] if self.rest and self.rest[0][1] in signs else None

    def need(self, sign: str) -> None:
        if not self.take(sign):
            raise ValueError(f"{sign} expected before {self.rest[:1]}")

    def both(self) -> Vector | float:
        found = self.compared()
        while self.take("and"):
            on = self.labels() if self.take("on") else None
            other = self.compared()
            assert isinstance(found, dict)
            assert isinstance(other, dict)
            kept = {_only(labels, on) for labels in other}
            found = {labels: value for labels, value in found.items() if _only(labels, on) in kept}
        return found

    def compared(self) -> Vector | float:
        left = self.times()
        sign = self.take(*COMPARE)
        if not sign:
            return left
        right = self.times()
        assert isinstance(left, dict)
        held: Vector = {}
        for labels, value in left.items():
            against = right if isinstance(right, float) else right.get(labels)
            if against is not None and COMPARE[sign](value, against):
                held[labels] = value
        return held

    def times(self) -> Vector | float:
        left = self.atom()
        if not self.take("*"):
            return left
        right = self.atom()
        assert isinstance(left, float)
        return {k: left * v for k, v in right.items()} if isinstance(right, dict) else left * right

    def atom(self) -> Vector | float:
        kind, word = self.rest.pop(0)
        if kind == "number":
            return float(word)
        if kind != "name":
            raise ValueError(f"not understood: {word}")
        tests = self.matchers() if self.take("{") else []
        return {
            sample.labels: sample.value
            for sample in self.samples
            if sample.name == word
            and all(MATCH[sign](dict(sample.labels).get(label, ""), text) for label, sign, text in tests)
        }

    def labels(self) -> set[str]:
        self.need("(")
        found = set()
        while not self.take(")"):
            found.add(self.rest.pop(0)[1])
            self.take(",")
        return found

    def matchers(self) -> list[tuple[str, str, str]]:
        found = []
        while not self.take("}"):
            (_, label), (_, sign), (_, text) = (self.rest.pop(0) for _ in range(3))
            found.append((label, sign, text[1:-1]))
            self.take(",")
        return found


def _only(labels: Labels, on: set[str] | None) -> Labels:
    return labels if on is None else frozenset(pair for pair in labels if pair[0] in on)
