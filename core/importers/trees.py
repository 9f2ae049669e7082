"""From a source's tree of messages to their order: the branch it shows, and the others marked.

Foreign trees are not clean: parents are missing or go round in circles, several nodes have none, times go
backwards. Nothing is lost for it; a circle is cut where it is met first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.importers.parts import Said, messages_of
from core.importers.records import Message, Notes


@dataclass
class Node:
    """A node of the source's tree; without `parts` it only links others."""

    key: str
    parent: str | None
    parts: Sequence[Said] = field(default=(), repr=False)
    created_at: datetime | None = None
    updated_at: datetime | None = None


def arranged(nodes: Mapping[str, Node], leaf: str | None, notes: Notes) -> tuple[Message, ...]:
    """The messages of a tree, by time, parents before children; those not above `leaf` on branches.

    Without a leaf the last one counts, as sources show what was said last. A message of a branch has in its
    meta `branch`, the key of the branch's first message, and `archived`, so that no model is shown it.
    """
    if not nodes:
        return ()
    order, parents = _walk(nodes, notes)
    times = _times(nodes, order, parents)
    if leaf not in nodes:
        if leaf is not None:
            notes.unknown("missing_leaf")
        inner = {parent for parent in parents.values() if parent is not None}
        place = {key: at for at, key in enumerate(order)}
        leaf = max((key for key in order if key not in inner), key=lambda key: (times[key], place[key]))
    shown: set[str] = set()
    at: str | None = leaf
    while at is not None:
        shown.add(at)
        at = parents[at]
    return _said(nodes, sorted(order, key=times.__getitem__), parents, shown)


def _walk(nodes: Mapping[str, Node], notes: Notes) -> tuple[list[str], dict[str, str | None]]:
    """Every node once, parents first, and the parent each of them has in the end."""
    parents: dict[str, str | None] = {}
    children: dict[str, list[str]] = {}
    for key, node in nodes.items():
        parent = node.parent if node.parent in nodes else None
        if node.parent is not None and parent is None:
            notes.unknown("missing_parent")
        parents[key] = parent
        if parent is not None:
            children.setdefault(parent, []).append(key)
    order: list[str] = []
    seen: set[str] = set()
    roots = [key for key in nodes if parents[key] is None]
    if len(roots) > 1:
        notes.unknown("several_roots")
    _descend(roots, children, seen, order)
    for key in nodes:
        if key not in seen:  # below no root: it is in a circle, or hangs on one
            notes.unknown("circle_of_parents")
            start = _in_circle(key, parents, seen)
            parents[start] = None
            _descend([start], children, seen, order)
    return order, parents


def _in_circle(key: str, parents: Mapping[str, str | None], seen: set[str]) -> str:
    passed: set[str] = set()
    at = key
    while at not in passed:
        passed.add(at)
        above = parents[at]
        if above is None or above in seen:
            return at
        at = above
    return at


def _descend(
    roots: Sequence[str], children: Mapping[str, list[str]], seen: set[str], order: list[str]
) -> None:
    waiting = list(reversed(roots))
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        order.append(key)
        waiting.extend(reversed(children.get(key, ())))


def _times(
    nodes: Mapping[str, Node], order: Sequence[str], parents: Mapping[str, str | None]
) -> dict[str, float]:
    """When each was said, but never before its parent, whatever the source's clock did."""
    times: dict[str, float] = {}
    for key in order:
        parent, own = parents[key], nodes[key].created_at
        after = times[parent] if parent is not None else 0.0
        times[key] = max(own.timestamp(), after) if own else after
    return times


def _said(
    nodes: Mapping[str, Node], order: Sequence[str], parents: Mapping[str, str | None], shown: set[str]
) -> tuple[Message, ...]:
    messages: list[Message] = []
    last: dict[str, str | None] = {}
    branches: dict[str, str] = {}
    for key in order:
        node, parent = nodes[key], parents[key]
        above = last[parent] if parent is not None else None
        branch = None
        if key not in shown:
            # The first child carries its parent's branch on, every other one begins its own.
            carried = branches.pop(parent, None) if parent is not None and parent not in shown else None
            branch = carried or key
            branches[key] = branch
        times = node.created_at, node.updated_at
        told = list(messages_of(key, node.parts, *times, above=above, branch=branch))
        messages += told
        last[key] = told[-1].key if told else above
    return tuple(messages)
