"""Lists of words, written as prose."""

from __future__ import annotations


def words(prose: str) -> frozenset[str]:
    return frozenset(prose.split())
