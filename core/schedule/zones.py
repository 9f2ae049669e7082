"""IANA time zones, and the instants at which a wall clock shows a given time."""

from __future__ import annotations

import difflib
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from core.errors import InvalidInput

_NONE = timedelta(0)
# Files of the zone database that name no place: they differ from machine to machine.
_NOT_ZONES = {"localtime", "posixrules", "Factory"}


@cache
def _keys() -> dict[str, str]:
    """Every zone this machine knows, by its name in lower case.

    Only these names ever reach the file system, so "../x" and absolute paths cannot.
    """
    return {key.lower(): key for key in available_timezones() - _NOT_ZONES}


@cache
def _load(key: str) -> ZoneInfo:
    return ZoneInfo(key)


def find_zone(name: str | None) -> ZoneInfo:
    """The zone with this IANA name; UTC for None.

    Raises InvalidInput for any other name, with the closest names as a suggestion.
    """
    if name is None:
        return _load("UTC")
    keys = _keys()
    if keys.get(name.lower()) == name:
        return _load(name)
    close = _similar(name[:64].lower())
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise InvalidInput(f"The time zone is not an IANA name such as Europe/Berlin.{hint}")


def _similar(name: str) -> list[str]:
    keys = _keys()
    cities = {key.rpartition("/")[2]: key for key in sorted(keys)}
    near = [*difflib.get_close_matches(name, keys, 2, 0.75)]
    near += [cities[city] for city in difflib.get_close_matches(name.replace(" ", "_"), cities, 2, 0.8)]
    return [keys[key] for key in dict.fromkeys(near)][:3]


def wall_clock(zone: ZoneInfo, instant: datetime) -> datetime:
    """What a clock on the wall shows at `instant`: naive, and with `fold` 1 on the second pass."""
    return instant.astimezone(zone).replace(tzinfo=None)


def passes(zone: ZoneInfo, wall: datetime) -> tuple[datetime, datetime]:
    """The instants before and after a change of the clocks that `wall` stands for (PEP 495).

    Equal: the wall clock shows this time once. First < second: it shows it twice, then.
    First > second: it never does; the clocks jump over it after `second` and at the latest at `first`.
    """
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return first, second


def change_between(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first instant in (before, after] with another UTC offset than `before`, to the second.

    There is exactly one change between the two instants that `passes` tells apart.
    """
    old = before.astimezone(zone).utcoffset()
    seconds = range(int((after - before).total_seconds()))
    changed = bisect_left(
        seconds,
        True,
        key=lambda second: (before + timedelta(seconds=second)).astimezone(zone).utcoffset() != old,
    )
    return before + timedelta(seconds=changed)


def change_of_clocks(name: str | None, before: datetime, after: datetime) -> timedelta | None:
    """By how much the clocks of a zone go forward or back between two instants; None if not at all."""
    zone = find_zone(name)
    changed = (after.astimezone(zone).utcoffset() or _NONE) - (before.astimezone(zone).utcoffset() or _NONE)
    return changed or None


def first_instant(zone: ZoneInfo, wall: datetime) -> datetime:
    """The one instant a fixed local time stands for: in a fold its first pass, in a gap the gap's end."""
    first, second = passes(zone, wall)
    return first if first <= second else change_between(zone, second, first)


def keeps_time(zone: ZoneInfo, start: datetime, end: datetime) -> timedelta | None:
    """The UTC offset of the wall-clock times from `start` to `end`, or None when the clocks change there.

    Only the two ends are looked at, so they must be closer than two changes ever are (two days).
    """
    ends = [wall.replace(tzinfo=zone, fold=fold).utcoffset() for wall in (start, end) for fold in (0, 1)]
    return ends[0] if ends.count(ends[0]) == len(ends) else None
