"""A storm's report as lines of the table in docs/guarantees.md."""

from __future__ import annotations

from tests.acceptance.storm.column import OF_PARTS, lines
from tests.acceptance.storm.storm import Plan, Report
from tests.acceptance.storm.whole import PARTS
from tests.guarantees import PAGE

FIGURES = {
    "occurrences": 2418,
    "runs": 2701,
    "faults": 100,
    "connections cut": {"postgres": {"answer": 4, "request": 3, "bytes": 9}, "valkey": {}},
    "operations": {"create ok": 700, "trigger ok": 78, "cancel run unknown": 27},
    "by state": {"succeeded": 2621, "cancelled": 44},
    "crashes reaped": 67,
    "late workers stopped or fenced": 42,
    "model calls per run": 1.113,
    "model errors injected": 215,
    "claimed again after a kill": {"count": 55, "p50": 5.3, "p95": 8.3, "max": 8.4},
    "seconds to idle": 0.0,
    "turns-0": {"turns": 10, "answered": 9, "failed": 1},
    "turns-1": {"turns": 20, "answered": 20, "failed": 0},
    "privacy-0": {"turns": 5},
}


def test_a_report_is_a_column_of_the_table():
    plan = Plan(2000, 7, 150, parts=("turns", "privacy"))
    wrong = ["doubled: seeded-1 has 2 rows", "run_has_conversation: 1, such as x", "canary-1 stands in runs"]
    told = list(lines(Report(plan, wrong, FIGURES)))
    assert told[0] == "| | 2,000 in 150 s |"
    cells = dict(line.strip("| ").split(" | ") for line in told[2:])
    assert cells["lost, doubled, stuck, invented"] == "2"
    assert cells["promises broken, during the storm or after it"] == "1"
    assert cells["faults; connections cut around a COMMIT"] == "100; 7"
    assert cells["requests acknowledged; unknown"] == "778; 27"
    assert cells["claimed again after a kill: p50, p95, longest"] == "5.3, 8.3, 8.4 s (55 runs)"
    assert cells[OF_PARTS["turns"][0]] == "30; 29; 1"
    assert cells[OF_PARTS["privacy"][0]] == "5; 1"
    page = PAGE.read_text(encoding="utf-8")
    assert [what for what in list(cells)[:12] if f"| {what} |" not in page] == []


def test_every_part_has_its_line_and_its_row_in_the_guarantees():
    page = PAGE.read_text(encoding="utf-8")
    assert set(OF_PARTS) == set(PARTS)
    assert [part for part in PARTS if f"| `{part}` |" not in page] == []
