"""Cron expressions of five fields, over wall-clock times that know no time zone.

Which times of a day match is arithmetic on two short lists; which days match is croniter's to say, asked
once per expression and day. croniter's own zone handling is not used: it runs a fixed time twice when the
clocks go back and loses times of a list when they go forward.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from croniter import CroniterBadDateError, CroniterError, croniter

from core.errors import InvalidInput

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_EVERY_DAY = "* * *"
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    special: str = r"(?!)"  # matches nothing

    def number(self, word: str) -> int:
        return self.names.index(word) + self.low if word in self.names else int(word)


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day-of-month", 1, 31, special=r"L"),
    _Field("month", 1, 12, _MONTHS),
    _Field("day-of-week", 0, 7, _WEEKDAYS, special=rf"(?:[0-7]|{'|'.join(_WEEKDAYS)})#[1-5]|L[0-7]"),
)
_ELEMENT = re.compile(
    r"(?:\*|(?P<low>\d{1,2}|[A-Z]{3})(?:-(?P<high>\d{1,2}|[A-Z]{3}))?)(?:/(?P<step>\d{1,3}))?"
)


@dataclass(frozen=True)
class Cron:
    """The wall-clock times of one cron expression.

    `elapsed` says how it lives through a change of the clocks: True when its minute or hour field begins with
    `*`, so that it counts elapsed time; False when it names fixed local times (the rule of Debian's cron).
    """

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    days: str
    elapsed: bool

    @property
    def times_a_day(self) -> int:
        return len(self.hours) * len(self.minutes)

    @property
    def first_time(self) -> time:
        return time(self.hours[0], self.minutes[0])

    @property
    def last_time(self) -> time:
        return time(self.hours[-1], self.minutes[-1])

    def times_through(self, moment: time) -> int:
        """How many times of a matching day lie at or before `moment`."""
        whole_hours = bisect_left(self.hours, moment.hour)
        in_hour = bisect_right(self.minutes, moment.minute) if moment.hour in self.hours else 0
        return whole_hours * len(self.minutes) + in_hour

    def time_at(self, index: int) -> time:
        """The time of a matching day with this index, from 0."""
        hour, minute = divmod(index, len(self.minutes))
        return time(self.hours[hour], self.minutes[minute])

    def next_wall(self, wall: datetime) -> datetime | None:
        """The first matching time after `wall`, or None when there is none in fifty years."""
        day = wall.date()
        following = next_day(self.days, day - _ONE_DAY)
        if following == day:
            index = self.times_through(wall.time())
            if index < self.times_a_day:
                return datetime.combine(day, self.time_at(index))
            following = next_day(self.days, day)
        return None if following is None else datetime.combine(following, self.first_time)


def next_day(days: str, day: date) -> date | None:
    """The first day after `day` that matches three fields (day of month, month, day of week).

    When both day fields are restricted, either may match, as in Vixie's cron.
    """
    return day + _ONE_DAY if days == _EVERY_DAY else _next_day(days, day)


@lru_cache(maxsize=4096)
def _calendar(days: str) -> croniter:
    return croniter(f"0 0 {days}", datetime(2000, 1, 1))  # noqa: DTZ001 - wall-clock days have no zone


@lru_cache(maxsize=16384)
def _next_day(days: str, day: date) -> date | None:
    # A croniter's position changes as it is asked, so threads must not share one; its parsed fields do not.
    calendar = copy(_calendar(days))
    try:
        found: datetime = calendar.get_next(datetime, start_time=datetime.combine(day, time()))
    except CroniterBadDateError:
        return None
    return found.date()


def read_cron(fields: list[str]) -> Cron:
    """The cron that five fields in upper case spell.

    Raises InvalidInput, naming the field, also for what croniter accepts but reads otherwise than people do:
    `9-9` (every hour), `*/90` (every hour, not every 90 minutes), a backward range with a step, `H` and `R`
    (random), `W`, and the day forms `5#2` and `L5` beside a day of month (which it drops).
    """
    for field, text in zip(_FIELDS, fields, strict=True):
        for element in text.split(","):
            _check_element(field, element)
    minute, hour, *day_fields = fields
    days = " ".join(day_fields).replace("?", "*")
    _check_days(*days.split())
    try:
        expanded, _ = croniter.expand(f"{minute} {hour} {days}")
    except CroniterError as error:
        raise InvalidInput("The day-of-week field cannot mix plain weekdays with '#' or 'L'.") from error
    if "L" in day_fields[0] and expanded[2] == ["*"]:
        # croniter counts 'L' as a 31st day and would read "2-31,L" as every day.
        raise InvalidInput("The day-of-month field names all days but one, and 'L': leave 'L' out.")
    if _next_day(days, date(2000, 1, 1)) is None:
        raise InvalidInput("This schedule can never fire: no month it names has such a day.")
    return Cron(
        hours=_values(expanded[1], 24),
        minutes=_values(expanded[0], 60),
        days=days,
        elapsed=minute.startswith("*") or hour.startswith("*"),
    )


def _values(expanded: Sequence[int | str], size: int) -> tuple[int, ...]:
    return tuple(range(size)) if expanded == ["*"] else tuple(sorted({int(value) for value in expanded}))


def _check_days(day: str, _month: str, weekday: str) -> None:
    if day != "*" and ("#" in weekday or "L" in weekday):
        # croniter would silently drop the day of month.
        raise InvalidInput(
            "A cron with '#' or 'L' in its day-of-week field needs '*' as its day-of-month field."
        )


def _check_element(field: _Field, element: str) -> None:
    if re.fullmatch(field.special, element) or (element == "?" and field.name.startswith("day")):
        return
    match = _ELEMENT.fullmatch(element)
    if match is None:
        raise InvalidInput(_explain(field))
    words = [word for word in match.group("low", "high") if word is not None]
    if any(word.isalpha() and word not in field.names for word in words):
        raise InvalidInput(_explain(field))
    numbers = [field.number(word) for word in words]
    if any(not field.low <= number <= field.high for number in numbers):
        raise InvalidInput(_explain(field))
    step = match["step"]
    if step is not None and not 1 <= int(step) <= field.high:
        raise InvalidInput(
            f"The step after '/' in the {field.name} field must lie between 1 and {field.high}; "
            "for longer intervals write for example '@every 90m'."
        )
    if len(numbers) == 2:
        _check_range(field, *numbers, stepped=step is not None)


def _check_range(field: _Field, low: int, high: int, *, stepped: bool) -> None:
    same = low == high or (field.high == 7 and low == 7 and high == 0)
    if same:
        raise InvalidInput(
            f"The {field.name} field has a range that starts where it ends; write the number once."
        )
    if stepped and low > high:
        raise InvalidInput(
            f"The {field.name} field has a backward range with a step; list the values instead."
        )


def _explain(field: _Field) -> str:
    extra = {"month": " or JAN to DEC", "day-of-month": ", 'L' for the last day"}.get(field.name, "")
    if field.name == "day-of-week":
        extra = " or SUN to SAT, '5#2' for the second Friday, 'L5' for the last one"
    return (
        f"The {field.name} field of a cron takes {field.low} to {field.high}{extra}, "
        "in lists (1,2), ranges (1-5) and steps (*/2), or '*'."
    )
