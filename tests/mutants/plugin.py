"""Runs the isolation tests as they are, then again for every place that keeps to one account, without it.

All mutants live in one process: every place asks which of them is the one that gives way now. From the
environment: MUTANTS, a pattern of the places that are asked about; MUTANTS_MOST, how many tests are tried
against one; MUTANTS_REPORT, a file of JSON that keeps what was found: the next run asks about the rest.
"""

from __future__ import annotations

import builtins
import inspect
import json
import os
import re
import signal
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from sqlalchemy import Engine, event

from tests.mutants import places

# Tests in which there are two accounts, but those of tokens and malformed ids.
TWO = re.compile(r"an_account\(|twin\(|\b(?:foreign|stranger|neighbour|other|other_account)\b|nobody_elses")
ABOUT_ONE = re.compile(r"^test_(?:no_|a_scope|a_contacts_token|unknown_and|every_)")
MOST = int(os.environ.get("MUTANTS_MOST", "40"))  # tests that are tried against one mutant
PATIENCE = 60  # seconds for one test under a mutant: one that hangs has noticed
# Doubled: another place of the same function holds; without both some test fails.
STATES = ("caught", "doubled", "survived", "not reached")
MARK = re.compile(r"/\*m(\d+)\*/")


class Mutants:
    """What the loosened program asks."""

    active: frozenset[int] = frozenset()
    test: str | None = None

    def __init__(self) -> None:
        self.reached: dict[int, set[str]] = defaultdict(set)

    def here(self, number: int) -> bool:
        if self.test is not None:
            self.reached[number].add(self.test)
        return number in self.active

    def compared(self, number: int, found, loose):
        return loose if self.here(number) else found

    def guard(self, number: int, guard, name: str):
        if not self.here(number):
            return guard
        from core import rows

        def anybodys(session, table, row_id, *, lock=False):
            row = session.get(table, rows.as_id(row_id, table), with_for_update=lock or None)
            if row is None:
                raise rows.not_found(table)
            return row

        def anybodys_ids(session, table, wanted):
            alternatives = [wanted] if isinstance(wanted, str) or not hasattr(wanted, "__iter__") else wanted
            return [anybodys(session, table, row_id).id for row_id in alternatives]

        return anybodys_ids if name == "own_ids" else anybodys

    def rewritten(self, statement: str) -> str:
        for number in map(int, MARK.findall(statement)):
            if self.here(number):
                kept = r"(?:\w+\.)?\w+ = (?:ANY\(CAST\([^()]*AS uuid\[\]\)\)|[^\s()]+(?:\([^()]*\)s\S*)?)"
                statement, count = re.subn(rf"{kept} /\*m{number}\*/", "TRUE", statement)
                assert count, statement
        return statement


mutants = Mutants()
builtins.__mutants__ = mutants  # type: ignore[attr-defined]
places.install()


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def _before(_connection, _cursor, statement, parameters, _context, _many):
    return mutants.rewritten(statement), parameters


def pytest_collection_modifyitems(config, items):
    items[:] = [item for item in items if TWO.search(_source(item)) and not ABOUT_ONE.search(item.name)]


def _source(item) -> str:
    """The test as it is written, with the names of its fixtures."""
    return inspect.getsource(item.function) + " ".join(item.fixturenames)


def pytest_runtestloop(session):
    if session.config.option.collectonly:
        return None
    items, tests = session.items, {item.nodeid: item for item in session.items}
    broken = [item.nodeid for item in items if _failed(item, items, note=True)]
    assert not broken, f"These fail without any mutant: {broken}"
    chosen, known = os.environ.get("MUTANTS", ""), _known()
    report = []
    for place in places.PLACES:
        if not re.search(chosen, str(place)):
            continue
        if known.get(str(place), {}).get("state") in {"caught", "doubled"}:
            report.append(known[str(place)])
            continue
        state, caught, tried = "not reached", None, _reaching([place])
        if tried:
            caught = _caught([place], tried, tests, items)
            state = "caught" if caught else "survived"
        walls = [
            other for other in places.PLACES if (other.file, other.function) == (place.file, place.function)
        ]
        if not caught and place.function and len(walls) > 1:
            caught = _caught(walls, _reaching(walls), tests, items)
            state = "doubled" if caught else state
        report.append({"place": str(place), "state": state, "by": caught, "tried": len(tried)})
        print(f"{state:11} {place} [{len(tried)}] {caught or ''}", flush=True)
    _write(report, len(items))
    return True


def _known() -> dict[str, dict]:
    """What an earlier run found, so that this one asks about the rest alone."""
    path = Path(os.environ.get("MUTANTS_REPORT", "") or "nowhere")
    return {one["place"]: one for one in json.loads(path.read_text())} if path.is_file() else {}


def _reaching(walls) -> list[str]:
    """The tests that reach any of these places, those first that reach few others."""
    every = mutants.reached
    names = set().union(*(every[wall.number] for wall in walls))
    return sorted(names, key=lambda name: sum(name in reached for reached in every.values()))[:MOST]


def _caught(walls, reaching, tests, items) -> str | None:
    """The test that fails once these places hold nobody back."""
    mutants.active = frozenset(wall.number for wall in walls)
    try:
        return next((name for name in reaching if _failed(tests[name], items)), None)
    finally:
        mutants.active = frozenset()


def _failed(item, items, *, note=False) -> bool:
    """Whether this test fails now."""
    after = next(other for other in items if other.path != item.path)  # so that its module ends as well
    with _alarm(10 * PATIENCE if note else PATIENCE):
        mutants.test = None
        item.config.pluginmanager.register(_Notes(note), "mutants_notes")
        try:
            reports = runtestprotocol(item, log=False, nextitem=after)
        except TimeoutError:
            return True
        finally:
            item.config.pluginmanager.unregister(name="mutants_notes")
    if note and any(report.failed for report in reports):
        print("\n".join(report.longreprtext for report in reports if report.failed))
    return any(report.failed for report in reports)


class _Notes:
    """Notes what a test's own lines reach, not what its fixtures do."""

    def __init__(self, note: bool) -> None:
        self.note = note

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        mutants.test = item.nodeid if self.note else None
        try:
            return (yield)
        finally:
            mutants.test = None


@contextmanager
def _alarm(seconds: int):
    def ring(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _write(report, tests: int) -> None:
    counted = {
        state: sum(r["state"] == state for r in report) for state in ("caught", "survived", "not reached")
    }
    print(
        f"{len(report)} places, {tests} tests: " + ", ".join(f"{n} {state}" for state, n in counted.items())
    )
    if path := os.environ.get("MUTANTS_REPORT"):
        Path(path).write_text(json.dumps(report, indent=1))
