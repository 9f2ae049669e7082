"""Metas: every string of one, its keys, and numbers that are long enough to be somebody's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

LONG_NUMBER = 10**8

Label = Callable[[str], str | None]


def labelled_tree(value: Any, label: Label) -> Any:
    """A meta with what `label` makes of its words. What replaces a number is a text.

    Names of fields, as programs write them, are nobody's data. Two keys that are written alike are both kept.
    """
    if isinstance(value, str):
        return label(value)
    # JSON does not tell a whole number from the same one with a decimal point.
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if whole and abs(value) >= LONG_NUMBER:
        kept = label(digits := str(int(value)))
        return value if kept == digits else kept
    if isinstance(value, Mapping):
        tree: dict[str, Any] = {}
        for key, inner in value.items():
            tree[_key(key, tree, label)] = labelled_tree(inner, label)
        return tree
    if isinstance(value, list | tuple):
        return [labelled_tree(inner, label) for inner in value]
    return value


def _key(key: str, taken: Mapping[str, Any], label: Label) -> str:
    name = kept = key if key.isidentifier() else label(key) or key
    number = 1
    while name in taken:
        number += 1
        name = f"{kept} {number}"
    return name
