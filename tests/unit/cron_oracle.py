"""A second opinion on when a cron fires, written apart from `core.schedule` and without croniter.

It knows no "next": it lists wall-clock minutes by set membership and lays them over a table of a zone's UTC
offsets, which it finds by probing. Times are whole minutes since 1970, in UTC or on the wall.
"""

from __future__ import annotations

import calendar
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 24 * 60
MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
WEEKDAYS = {name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])}
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * SUN",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
NAMED = MONTHS | WEEKDAYS | {str(value).zfill(width): value for value in range(61) for width in (1, 2)}


def minute_of(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(minutes=1)


def instant_of(minute: int) -> datetime:
    return EPOCH + timedelta(minutes=minute)


@cache
def expand(text: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        body, _, step = part.partition("/")
        first, dash, last = body.partition("-")
        if body in {"*", "?"}:
            sequence = list(range(low, high + 1))
        elif dash:
            start, end = NAMED[first], NAMED[last]
            circle = list(range(low, high + 1))
            sequence = (
                list(range(start, end + 1))
                if start <= end
                else circle[start - low :] + circle[: end - low + 1]
            )
        elif step:
            sequence = list(range(NAMED[first], high + 1))
        else:
            sequence = [NAMED[first]]
        values.update(sequence[:: int(step or 1)])
    return frozenset(values)


@dataclass(frozen=True)
class Oracle:
    """What one schedule means: five fields, an alias, a time of day, or a local date and time."""

    text: str
    times: tuple[int, ...]
    elapsed: bool
    year: int | None = None

    @classmethod
    def of(cls, text: str) -> Oracle:
        year, fields = None, ALIASES.get(text.lower(), text.upper())
        if "T" in fields and fields[:4].isdigit():
            when = datetime.fromisoformat(fields)
            year, fields = when.year, f"{when.minute} {when.hour} {when.day} {when.month} *"
        elif ":" in fields:
            hour, minute = fields.split(":")
            fields = f"{minute} {hour} * * *"
        minute, hour, *_ = fields.split()
        times = sorted(60 * h + m for h in expand(hour, 0, 23) for m in expand(minute, 0, 59))
        return cls(fields, tuple(times), minute[0] == "*" or hour[0] == "*", year)

    def walls(self, start: int, end: int) -> list[int]:
        """The matching wall-clock minutes in [start, end)."""
        found = []
        for day in range(start // DAY, (end - 1) // DAY + 1):
            if day_matches(self.text, day) and (self.year is None or self.year == year_of(day)):
                first, last = (bisect_left(self.times, edge - day * DAY) for edge in (start, end))
                found += [day * DAY + time for time in self.times[first:last]]
        return found

    def fires(self, zone: str, start: int, end: int) -> list[int]:
        """Every UTC minute in [start, end) at which this cron is due."""
        due: set[int] = set()
        shown_until = None  # the wall clock has shown everything before this
        for begin, until, offset, previous in offsets(zone):
            if begin >= end:
                break
            if until > start:
                walls = self.walls(max(begin, start) + offset, min(until, end) + offset)
                if not self.elapsed and shown_until is not None:
                    walls = [wall for wall in walls if wall >= shown_until]
                due.update(wall - offset for wall in walls)
                if not self.elapsed and previous is not None and self.walls(begin + previous, begin + offset):
                    due.add(begin)
            shown_until = max(shown_until or until + offset, until + offset)
        return sorted(minute for minute in due if start <= minute < end)


def year_of(day: int) -> int:
    return (date(1970, 1, 1) + timedelta(days=day)).year


@cache
def day_matches(text: str, day: int) -> bool:
    _, _, dom, month, dow = text.split()
    when = date(1970, 1, 1) + timedelta(days=day)
    if when.month not in expand(month, 1, 12):
        return False
    if dom == dow == "*":
        return True
    last = calendar.monthrange(when.year, when.month)[1]
    weekday = when.isoweekday() % 7
    by_day = any(
        when.day == last if part == "L" else when.day in expand(part, 1, 31) for part in dom.split(",")
    )
    by_weekday = any(_weekday_matches(part, weekday, when.day, last) for part in dow.split(","))
    if dom in {"*", "?"} or dow in {"*", "?"}:
        return by_day and by_weekday
    return by_day or by_weekday


def _weekday_matches(part: str, weekday: int, day: int, last: int) -> bool:
    if part[0] == "L":
        return int(part[1:]) % 7 == weekday and day + 7 > last
    name, _, nth = part.partition("#")
    matches = weekday in {value % 7 for value in expand(name, 0, 7)}
    return matches and (not nth or (day - 1) // 7 + 1 == int(nth))


@cache
def offsets(zone: str) -> list[tuple[int, int, int, int | None]]:
    """The stretches of one UTC offset from 1980 to 2040: begin, end, offset, the offset before."""
    tz = ZoneInfo(zone)

    def offset(minute: int) -> int:
        return tz.utcoffset(instant_of(minute).astimezone(tz)) // timedelta(minutes=1)

    begin, end, step = (
        minute_of(datetime(1980, 1, 1, tzinfo=UTC)),
        minute_of(datetime(2040, 1, 1, tzinfo=UTC)),
        720,
    )
    changes = []
    for probe in range(begin, end, step):
        if offset(probe) != offset(probe + step):
            low, high = probe, probe + step
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offset(probe) else (low, middle)
            changes.append(high)
    edges = [begin, *changes, end]
    table = [(a, b, offset(a)) for a, b in pairwise(edges)]
    before = [None, *(row[2] for row in table)]
    return [(*row, previous) for row, previous in zip(table, before, strict=False)]


def scan(text: str, zone: str, start: int, end: int) -> list[int]:
    """As `Oracle.fires`, the slow and obvious way: look at the wall clock at every minute, one by one.

    It starts two days early, to have seen what the wall clock has shown.
    """
    cron, tz = Oracle.of(text), ZoneInfo(zone)
    times, seen, due, previous = set(cron.times), set(), [], None
    for minute in range(start - 2 * DAY, end):
        wall = minute_of(instant_of(minute).astimezone(tz).replace(tzinfo=UTC))
        skipped = range(previous + 1, wall) if previous is not None and wall > previous + 1 else ()
        shown = [wall] if cron.elapsed else [wall, *skipped]
        new = [one for one in shown if cron.elapsed or one not in seen]
        seen.update(shown)
        if any(one % DAY in times and day_matches(cron.text, one // DAY) for one in new):
            due.append(minute)
        previous = wall
    return [minute for minute in due if minute >= start]
