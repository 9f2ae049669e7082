"""Arguments that leave with their values: those whose schema declares it, `"x-restore": true`, and no others.

The one mechanism of every outbound boundary. A function's parameters are a JSON schema; a property that
declares it is restored with all that is in it; properties of objects and the items of lists are looked at one
by one. Whatever the schema does not describe keeps its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

KEYWORD = "x-restore"
# The keys of objects and the places in lists that lead to an argument.
Path = list[str | int]
_DEEPEST = 32


def declared(schema: Any, arguments: Any) -> list[Path]:
    """Where these arguments hold what their schema lets out."""
    return list(_declared(schema, arguments, [], _DEEPEST))


def restored_at(value: Any, paths: Sequence[Path], restore: Callable[[Any], Any]) -> Any:
    """A copy in which what these paths lead to is restored. A path that leads nowhere changes nothing."""
    if any(not path for path in paths):
        return restore(value)
    if isinstance(value, Mapping):
        return {key: restored_at(inner, _below(paths, key), restore) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [restored_at(inner, _below(paths, place), restore) for place, inner in enumerate(value)]
    return value


def restored_arguments(schema: Any, arguments: Any, restore: Callable[[Any], Any]) -> Any:
    """The arguments of a call as they may leave."""
    return restored_at(arguments, declared(schema, arguments), restore)


def unmarked(schema: Any) -> Any:
    """The schema as models are shown it: servers refuse words they do not know."""
    if isinstance(schema, Mapping):
        return {
            key: unmarked(inner)
            for key, inner in schema.items()
            if key != KEYWORD or not isinstance(inner, bool)
        }
    return [unmarked(inner) for inner in schema] if isinstance(schema, list | tuple) else schema


def _below(paths: Sequence[Path], step: str | int) -> list[Path]:
    return [path[1:] for path in paths if path[0] == step and isinstance(path[0], type(step))]


def _declared(schema: Any, value: Any, path: Path, deeper: int) -> Iterator[Path]:
    if not isinstance(schema, Mapping) or not deeper:
        return
    if schema.get(KEYWORD) is True:
        yield path
        return
    if isinstance(value, Mapping):
        properties, others = schema.get("properties"), schema.get("additionalProperties")
        known = properties if isinstance(properties, Mapping) else {}
        for key, inner in value.items():
            yield from _declared(known.get(key, others), inner, [*path, key], deeper - 1)
    elif isinstance(value, list | tuple):
        first = schema.get("prefixItems")
        head = first if isinstance(first, list | tuple) else ()
        for place, inner in enumerate(value):
            item = head[place] if place < len(head) else schema.get("items")
            yield from _declared(item, inner, [*path, place], deeper - 1)
