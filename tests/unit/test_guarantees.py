"""docs/guarantees.md says what core/invariants.py asks."""

from __future__ import annotations

import re

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
