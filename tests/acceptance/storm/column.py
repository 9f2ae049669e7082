"""A storm's figures as lines of the table in docs/guarantees.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tests.acceptance.storm.storm import Report

# Of a part: its line, and which of its figures stand there.
OF_PARTS = {
    "turns": ("turns under a key, each asked for twice or more; answered; failed", "turns answered failed"),
    "sockets": ("said over sockets; told; connections it took", "said told connections"),
    "tools": ("turns that act; effects; requests for them", "turns effects requests"),
    "imports": ("files imported; jobs, as many were asked for again; messages", "files jobs messages"),
    "deletions": (
        "conversations emptied; messages; answers discarded",
        "deletions messages answers\u00a0discarded",
    ),
    "privacy": ("turns with an address; places where it was found", "turns"),
}


def lines(report: Report) -> Iterator[str]:
    """As Markdown."""
    plan = report.plan
    yield f"| | {plan.occurrences:,} in {plan.seconds:.0f} s |"
    yield "|---|---|"
    for what, value in _told(report):
        yield f"| {what} | {value} |"


def _told(report: Report) -> Iterator[tuple[str, str]]:
    told = report.figures
    states, asked = Counter(told["by state"]), Counter[str]()
    for operation, count in told["operations"].items():
        asked[operation.rpartition(" ")[2]] += count
    cuts = sum(n for kind, n in told["connections cut"]["postgres"].items() if kind != "bytes")
    promises = sum("such as" in sentence for sentence in report.wrong)
    yield "instants accounted for; runs, triggered ones included", _several(told["occurrences"], told["runs"])
    yield "faults; connections cut around a COMMIT", _several(told["faults"], cuts)
    yield "lost, doubled, stuck, invented", str(len(report.wrong) - promises)
    yield "promises broken, during the storm or after it", str(promises)
    yield "requests acknowledged; unknown", _several(asked["ok"], asked["unknown"])
    ends = [f"{states[state]:,}" for state in ("succeeded", "skipped", "cancelled")]
    yield "succeeded, skipped (a run was under way), cancelled", ", ".join(ends)
    yield "failed, all by the model's doing", f"{states['failed']:,}"
    yield "crashes repaired", f"{told['crashes reaped']:,}"
    yield "late workers stopped or fenced off", f"{told['late workers stopped or fenced']:,}"
    errors = f"{told['model calls per run']:.3f} ({told['model errors injected']:,})"
    yield "calls of the model per run (errors it was told to make)", errors
    yield "claimed again after a kill: p50, p95, longest", _spread(told["claimed again after a kill"])
    yield "idle after the last fault", f"{told['seconds to idle']} s"
    yield from _of_parts(report)


def _of_parts(report: Report) -> Iterator[tuple[str, str]]:
    for part in report.plan.parts:
        what, names = OF_PARTS[part]
        of_part = [value for name, value in report.figures.items() if name.startswith(f"{part}-")]
        sums = [sum(one[name.replace("\u00a0", " ")] for one in of_part) for name in names.split(" ")]
        if part == "privacy":
            sums.append(sum("canary" in sentence for sentence in report.wrong))
        yield what, _several(*sums)


def _several(*values: int) -> str:
    return "; ".join(f"{value:,}" for value in values)


def _spread(spread: Mapping[str, Any]) -> str:
    if not spread["count"]:
        return "nobody was killed at work"
    return f"{spread['p50']}, {spread['p95']}, {spread['max']} s ({spread['count']} runs)"
