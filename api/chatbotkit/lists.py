"""Lists as the dialect wants them: take, cursor and order (contract section 1.6)."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query

MOST = 100
FIRST = uuid.UUID(int=0)
LAST = uuid.UUID(int=2**128 - 1)


@dataclass(frozen=True)
class Part:
    """Which part of a list is asked for."""

    take: int
    cursor: str
    order: str

    def window(self, *, ascending: bool = False) -> dict[str, Any]:
        """The arguments of a listing verb; `ascending` is the order of this list when none is asked for."""
        upward = {"asc": True, "desc": False}.get(self.order, ascending)
        return {"take": self.take, "before": _row_of(self.cursor, upward=upward), "ascending": upward}


def _row_of(cursor: str, *, upward: bool) -> uuid.UUID | None:
    """A cursor that is no id names nothing, and the page after it is empty."""
    if not cursor:
        return None
    try:
        return uuid.UUID(cursor)
    except ValueError:
        return LAST if upward else FIRST


def _part(
    take: Annotated[str, Query(description="1 to 100 items, 100 unless told.")] = "",
    cursor: Annotated[str, Query(description="The `cursor` of the page before; empty for the first.")] = "",
    order: Annotated[str, Query(description="`asc` or `desc`.")] = "",
) -> Part:
    return Part(_clamped(take), cursor, order)


ListPart = Annotated[Part, Depends(_part)]


def _clamped(take: str) -> int:
    """0 and what is not a number mean 100, what is negative 1, what is larger 100."""
    try:
        number = float(take[:40])
    except ValueError:
        return MOST
    if math.isnan(number) or number == 0:
        return MOST
    return int(min(max(number, 1), MOST))


def alternatives(value: str) -> list[str] | None:
    """The ids of a filter, separated by commas; None when it is not given."""
    return [part.strip() for part in value.split(",")] if value.strip() else None


def answer(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A page and its cursor, which is never null: the Python SDK refuses that."""
    return {"items": items, "cursor": items[-1]["id"] if items else ""}
