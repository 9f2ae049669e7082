"""Durations of retention are whole days, weeks or years, and nothing else."""

from __future__ import annotations

import pytest

from core.durations import read_days
from core.errors import InvalidInput


@pytest.mark.parametrize(
    ("said", "days"),
    [("1d", 1), ("30d", 30), ("12w", 84), ("1y", 365), ("100y", 36_500), ("36500d", 36_500)],
)
def test_a_duration_is_days_weeks_of_seven_or_years_of_365(said, days):
    assert read_days(said, "deleteAfter") == days


@pytest.mark.parametrize(
    "said",
    [
        "",
        "d",
        "0d",
        "00d",
        "01d",
        "1",
        "1m",
        "1D",
        " 1d",
        "1d\n",
        "1.5d",
        "-1d",
        "36501d",
        "101y",
        "١d",
        1,
        None,
    ],
)
def test_anything_else_is_refused_in_a_sentence_that_repeats_nothing(said):
    with pytest.raises(
        InvalidInput, match=r"^deleteAfter is a duration such as 30d, 12w or 1y, at most 100y\.$"
    ):
        read_days(said, "deleteAfter")
