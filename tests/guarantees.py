"""Writes the promises of docs/guarantees.md from core/invariants.py: `python -m tests.guarantees`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.invariant import Invariant
from core.invariants import INVARIANTS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "guarantees.md"
BEGIN, END = "<!-- promises: written from core/invariants.py -->", "<!-- end of promises -->"
TEST = "tests/integration/test_doctor.py::test_a_broken_promise_is_found"


def promises() -> str:
    """The part of the page between the marks."""
    return "\n".join([BEGIN, *(line for invariant in INVARIANTS for line in _section(invariant)), END])


def _section(invariant: Invariant) -> Iterator[str]:
    yield ""
    yield f"### {invariant.name}"
    yield ""
    yield invariant.promise
    yield ""
    yield f"- holds: {'at every instant' if invariant.always else 'once the installation has been quiet'}"
    constraints = ", ".join(f"`{name}`" for name in invariant.constraint.split(", ") if name)
    yield f"- refused by the database: {constraints or 'no constraint can say it; the query does'}"
    yield f"- test: `{TEST}[{invariant.name}]`"
    yield f"- if it is broken: {invariant.advice}"
    yield ""
    yield "```sql"
    yield invariant.sql
    yield "```"
    yield ""


def with_promises(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return before + promises() + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_promises(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
