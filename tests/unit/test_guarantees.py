"""docs/guarantees.md says what core/invariants.py asks."""

from __future__ import annotations

import re
from pathlib import Path

from core.invariants import INVARIANTS
from tests.guarantees import PAGE, with_promises


def test_the_page_holds_every_promise_as_it_is_asked():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_promises(page), "Write it anew with `python -m tests.guarantees`."


def test_names_are_unique():
    names = [invariant.name for invariant in INVARIANTS]
    assert len(set(names)) == len(names)


def test_every_file_it_names_exists():
    page = PAGE.read_text(encoding="utf-8")
    root = PAGE.parent.parent
    named = set(re.findall(r"`((?:tests|core|docs)/[\w/.]+?\.(?:py|md))", page))
    assert named
    assert [name for name in named if not (root / name).exists()] == []


# The faults of the matrix. A number that is not here was never given.
FAULTS = [
    *range(1, 7), *range(10, 18), *range(20, 29), 30, 31, 32, 33, 34, 36, 40, 41, 42, *range(50, 55), 60, 61,
    *range(70, 74), *range(80, 87), 90, 91, 92, 95,
]  # fmt: skip


def test_every_fault_has_its_test_or_the_reason_why_not():
    cells = re.findall(r"^\| (F\d\d) \| .+ \| .+ \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [number for number, _ in cells] == [f"F{number:02}" for number in FAULTS]
    assert [cell for _, cell in cells if not is_a_test(cell) and not cell.startswith("none: ")] == []


def is_a_test(cell: str) -> bool:
    """Whether it names a test that there is: `unit/test_guarantees.py::test_names_are_unique`."""
    named = re.fullmatch(r"`([\w/]+\.py)::(test_\w+)`", cell)
    place = Path(__file__).resolve().parent.parent / named[1] if named else None
    return bool(named and place and f"\ndef {named[2]}(" in place.read_text(encoding="utf-8"))
