"""Metas as privacy, exports and anonymising see them: one walk for all of them."""

from __future__ import annotations

import pytest

from core.privacy.trees import labelled_tree

CARD = 4111111111111111


def starred(words):
    return "*" if str(CARD) in words else words


@pytest.mark.parametrize("number", [CARD, float(CARD), -CARD])
def test_a_long_number_is_words_however_it_is_written(number):
    assert labelled_tree({"a": [number, 12, 1.5, True, None]}, starred) == {"a": ["*", 12, 1.5, True, None]}


def test_keys_that_are_written_alike_are_both_kept():
    tree = labelled_tree({f"{CARD} x": 1, f"{CARD} y": 2, "name": 3}, starred)
    assert tree == {"*": 1, "* 2": 2, "name": 3}
