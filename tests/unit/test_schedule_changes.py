"""Every occurrence around every change of the clocks, against the oracle.

It covers 46 zones, ten years and 226 expressions, and stands apart from the rest of the comparison
(test_schedule_oracle.py) so that both run side by side.
"""

from __future__ import annotations

import pytest

from tests.unit.cron_oracle import Oracle, instant_of, offsets
from tests.unit.schedule_cases import EXPRESSIONS, ZONES, changes, occurrences


@pytest.mark.parametrize("zone", ZONES)
def test_every_occurrence_around_a_change_of_the_clocks_agrees_with_the_oracle(zone):
    jumps = {begin: abs(after - before) for begin, _, after, before in offsets(zone) if before is not None}
    for text in EXPRESSIONS:
        oracle = Oracle.of(text)
        for change in changes(zone):
            reach = jumps[change] + (26 * 60 if len(oracle.times) <= 12 else 90)
            window = (change - reach, change + reach)
            assert occurrences(text, zone, *window) == oracle.fires(zone, *window), (text, instant_of(change))
