"""Bucket maths: what a bucket holds, and what may be taken of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.buckets import granted, refilled


def test_a_bucket_fills_at_its_rate_and_holds_half_a_second():
    assert refilled(0, 0.2, 100) == pytest.approx(20)
    assert refilled(10, 60, 100) == 50
    assert refilled(0, 60, 0.5) == 1
    assert refilled(-20, 0.1, 100) == pytest.approx(-10)


def test_nothing_is_granted_before_it_is_worth_a_batch():
    assert granted(19.5, 100, 500).count == 0
    assert granted(19.5, 100, 500).wait == timedelta(seconds=0.005)
    assert granted(20.0, 100, 500).count == 20
    assert granted(45.0, 100, 500).count == 45
    assert granted(45.0, 100, 20).count == 20


def test_a_slow_rate_goes_one_by_one():
    assert granted(1.0, 0.01, 500).count == 1
    assert granted(0.5, 0.01, 500).wait == timedelta(seconds=50)


@given(
    per_second=st.floats(0.001, 1e6),
    most=st.integers(1, 2000),
    naps=st.lists(st.floats(0, 3), min_size=1, max_size=50),
)
def test_never_more_is_granted_than_the_rate_and_what_it_holds(per_second, most, naps):
    tokens, taken = 1.0, 0
    for nap in naps:
        tokens = refilled(tokens, nap, per_second)
        grant = granted(tokens, per_second, most)
        assert 0 <= grant.count <= most
        assert bool(grant.count) != bool(grant.wait > timedelta(0)) or grant.wait < timedelta(microseconds=1)
        tokens, taken = tokens - grant.count, taken + grant.count
    assert taken <= 1 + sum(naps) * per_second + 1e-3 * (1 + taken)
