"""Ids: UUIDv7, sortable by the time of their making."""

from __future__ import annotations

from datetime import UTC, datetime

from models import first_id_of, new_id, new_ids


def test_ids_made_together_are_different_uuids_of_the_same_moment():
    before = first_id_of(datetime.now(UTC))
    made = new_ids(1000)
    assert len(set(made)) == 1000
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}
    assert len({each.int >> 80 for each in made}) == 1
    assert all(each >= before for each in made)
    assert new_id().int >> 80 >= made[0].int >> 80


def test_every_drawn_bit_of_an_id_is_drawn():
    ones, zeros = 0, 0
    for each in new_ids(1000):
        ones |= each.int
        zeros |= ~each.int
    drawn = ones & zeros & ((1 << 80) - 1)
    assert drawn.bit_count() == 74
