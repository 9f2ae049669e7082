"""Scores: a found span counts for one gold span of its kind, if they share at least half of their union."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.privacy.labelled import Gold, Labelled
from core.privacy.spans import Span

ENOUGH = 0.5


@dataclass
class Score:
    """Counts of one kind, or of all of them."""

    gold: int = 0
    found: int = 0
    hits: int = 0
    exact: int = 0

    @property
    def precision(self) -> float:
        return self.hits / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.hits / self.gold if self.gold else 1.0

    @property
    def f2(self) -> float:
        """The mean that weighs recall four times."""
        below = 4 * self.precision + self.recall
        return 5 * self.precision * self.recall / below if below else 0.0

    def add(self, other: Score) -> None:
        self.gold += other.gold
        self.found += other.found
        self.hits += other.hits
        self.exact += other.exact


@dataclass
class Scores:
    """`leaked` of the gold `characters` stand under no span of any kind. The lists are for tuning."""

    kinds: dict[str, Score] = field(default_factory=lambda: defaultdict(Score))
    characters: int = 0
    leaked: int = 0
    missed: list[tuple[Labelled, Gold]] = field(default_factory=list)
    false: list[tuple[Labelled, Span]] = field(default_factory=list)

    def overall(self, kinds: Iterable[str] | None = None) -> Score:
        whole = Score()
        for kind in self.kinds if kinds is None else kinds:
            whole.add(self.kinds[kind])
        return whole

    @property
    def leak(self) -> float:
        return self.leaked / self.characters if self.characters else 0.0

    def figures(self) -> Mapping[str, object]:
        rows = {kind: _figures(self.kinds[kind]) for kind in sorted(self.kinds)}
        return {"kinds": rows, "all": _figures(self.overall()), "leak": self.leak}


def _figures(score: Score) -> Mapping[str, float]:
    return {**vars(score), "precision": score.precision, "recall": score.recall, "f2": score.f2}


def overlap(gold: Gold, span: Span) -> float:
    """The share of their union that both cover."""
    shared = min(gold.end, span.end) - max(gold.begin, span.begin)
    return max(0, shared) / (max(gold.end, span.end) - min(gold.begin, span.begin))


def score(
    messages: Sequence[Labelled], found: Iterable[Sequence[Span]], kinds: frozenset[str] | None = None
) -> Scores:
    """`kinds` leaves everything else out of both sides."""
    scores = Scores()
    for message, spans in zip(messages, found, strict=True):
        gold = [one for one in message.gold if kinds is None or one.type in kinds]
        _score_one(scores, message, gold, [span for span in spans if kinds is None or span.type in kinds])
        covered = {place for span in spans for place in range(span.begin, span.end)}
        for one in gold:
            scores.characters += one.end - one.begin
            scores.leaked += sum(place not in covered for place in range(one.begin, one.end))
    return scores


def _score_one(scores: Scores, message: Labelled, gold: list[Gold], spans: list[Span]) -> None:
    pairs = sorted(
        (
            (overlap(one, span), g, s)
            for g, one in enumerate(gold)
            for s, span in enumerate(spans)
            if one.type == span.type
        ),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    taken_gold: set[int] = set()
    taken_spans: set[int] = set()
    for share, g, s in pairs:
        if share < ENOUGH or g in taken_gold or s in taken_spans:
            continue
        taken_gold.add(g)
        taken_spans.add(s)
        scores.kinds[gold[g].type].hits += 1
        scores.kinds[gold[g].type].exact += share == 1.0
    for g, one in enumerate(gold):
        scores.kinds[one.type].gold += 1
        if g not in taken_gold:
            scores.missed.append((message, one))
    for s, span in enumerate(spans):
        scores.kinds[span.type].found += 1
        if s not in taken_spans:
            scores.false.append((message, span))
