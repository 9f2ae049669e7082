"""What was committed, counted: how late, how many a second; lost, twice, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.peers.systems import Records
from benchmarks.support import percentile

Occurrence = tuple[int, float]


@dataclass(frozen=True)
class Lateness:
    """Seconds from due to committed; what never was is as late as it was at the end, `most` or more."""

    due: int
    done: int
    p50: float
    p99: float
    most: float
    rate: float

    def shown(self, seconds: float) -> str:
        if seconds >= self.most and self.done < self.due:
            return f"> {self.most:,.0f} s"
        return f"{1000 * seconds:,.0f} ms" if seconds < 10 else f"{seconds:,.1f} s"


def lateness(records: Records, dues: set[Occurrence], end: float) -> Lateness:
    """The first record of each occurrence; the rate is from the first due to the last committed."""
    first: dict[Occurrence, float] = {}
    for task, due, committed in records:
        if (task, due) in dues and committed <= end:
            first[task, due] = min(committed, first.get((task, due), committed))
    began = min(due for _, due in dues)
    most = end - max(due for _, due in dues)
    late = sorted(first.get(one, end) - one[1] for one in dues)
    lasted = max(first.values(), default=end) - began
    return Lateness(
        len(dues), len(first), percentile(late, 0.5), percentile(late, 0.99), most, len(first) / lasted
    )


@dataclass(frozen=True)
class Counts:
    """Of `due` occurrences: never, once, more than once; and how many times too many in all."""

    due: int
    lost: int
    once: int
    twice: int
    surplus: int
    latest: float


def counts(records: Records, dues: set[Occurrence]) -> Counts:
    times = Counter((task, due) for task, due, _ in records if (task, due) in dues)
    return Counts(
        due=len(dues),
        lost=len(dues) - len(times),
        once=sum(number == 1 for number in times.values()),
        twice=sum(number > 1 for number in times.values()),
        surplus=sum(number - 1 for number in times.values()),
        latest=max((at - due for task, due, at in records if (task, due) in dues), default=0.0),
    )


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
