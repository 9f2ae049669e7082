"""Imports in trouble: servers away in the middle, workers that change, values that nobody foresaw."""

from __future__ import annotations

import pytest

from core import import_reading, import_rows, importing, staged
from core.errors import Unavailable
from tests.factories import one
from tests.imports import a_talk, an_export, counts, errors, imported, jsonl

LARGE = an_export(*(a_talk(f"t{at}", "x" * 3000, "y" * 3000) for at in range(100)))


@pytest.fixture
def small(monkeypatch):
    """Batches of few messages, so that little is much."""
    monkeypatch.setattr(import_reading, "MESSAGES", 3)
    monkeypatch.setattr(import_rows, "PIECE", 4)


@pytest.fixture
def sliced(small, monkeypatch):
    """Another worker for every batch."""
    monkeypatch.setattr(importing.Import, "turn", 0.0)


@pytest.mark.parametrize("nth", [2, 3, 4])
@pytest.mark.parametrize("trouble", [Unavailable("away"), RuntimeError("unforeseen")])
def test_what_breaks_off_while_it_is_read_is_not_taken_for_the_end(
    context, account, small, monkeypatch, nth, trouble
):
    real, calls = staged.StagedFile._chunk, []

    def chunk(self, number):
        calls.append(number)
        if len(calls) == nth:
            raise trouble
        return real(self, number)

    monkeypatch.setattr(staged.StagedFile, "_chunk", chunk)
    assert counts(imported(context, account, LARGE)) == ("completed", 100, 100, 0, 0)
    assert len(calls) > nth
    assert one(context, "SELECT count(*) FROM messages") == 200


def test_rows_that_cannot_be_read_at_the_end_do_not_make_it_another_format(context, account, sliced):
    said = [{"messages": [{"role": "user", "content": f"Hi {at}"}]} for at in range(6)]
    job = imported(context, account, jsonl(*said) + b"{broken\n", format="openai")
    assert counts(job) == ("completed_with_errors", 7, 6, 0, 1)
    assert errors(context, account, job) == [(7, "not_json")]
