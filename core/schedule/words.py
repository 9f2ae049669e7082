"""A schedule in words: what a list shows beside, or instead of, five fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

from core.schedule.cron import ALIASES
from core.schedule.forms import Form, Schedule

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MOST_TIMES = 6
_NUMBERS = re.compile(r"\d{1,2}(?:,\d{1,2})*")
_STEP = re.compile(r"\*/(\d{1,3})")
_RANGE = re.compile(r"(\d{1,2})-(\d{1,2})")
_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def in_words(schedule: Schedule) -> str:
    """`every day at 09:00`, `every 5 minutes, Monday to Friday`; a cron beyond these words is itself."""
    if schedule.form == Form.NEVER:
        return "never by itself"
    if schedule.interval is not None:
        return f"every {span(schedule.interval)}"
    if schedule.moment is not None:
        local = schedule.moment.astimezone(schedule.tz)
        return f"once, on {local.day} {local:%b %Y} at {local:%H:%M}"
    if schedule.form == Form.TIME:
        return f"every day at {schedule.text}"
    fields = ALIASES.get(schedule.text, schedule.text).split()
    return _cron(fields) or f"cron {schedule.text}"


def span(length: timedelta) -> str:
    """`hour`, `15 minutes`, `1 day 12 hours`: what follows after "every"."""
    left, parts = round(length.total_seconds()), []
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            parts.append((count, unit))
    if len(parts) == 1 and parts[0][0] == 1:
        return parts[0][1]
    return " ".join(f"{count} {unit}{'s' * (count != 1)}" for count, unit in parts)


def _cron(fields: Sequence[str]) -> str | None:
    minute, hour, day, month, weekday = fields
    when = _time(minute, hour)
    days = _days(day, weekday)
    months = "" if month == "*" else _listed(month, (None, *MONTHS))
    if when is None or days is None or months is None:
        return None
    if not days and not months and when.startswith("at "):
        return f"every day {when}"
    return ", ".join([when, *([days] if days else []), *([f"in {months}"] if months else [])])


def _time(minute: str, hour: str) -> str | None:
    minutes, hours = _numbers(minute), _numbers(hour)
    if minutes and hours:
        times = [f"{h:02}:{m:02}" for h in hours for m in minutes]
        return f"at {_joined(times)}" if len(times) <= MOST_TIMES else None
    often = _often(minute)
    between = _RANGE.fullmatch(hour)
    step = _STEP.fullmatch(hour)
    if hour == "*":
        return often or (f"every hour at {_past(minutes)}" if minutes else None)
    if between and often:
        return f"{often} from {int(between[1]):02}:00 to {int(between[2]):02}:59"
    if between and minutes:
        return f"every hour from {int(between[1]):02} to {int(between[2]):02} at {_past(minutes)}"
    if step and minutes and 24 % int(step[1]) == 0:
        return f"every {step[1]} hours at {_past(minutes)}"
    return None


def _often(minute: str) -> str | None:
    step = _STEP.fullmatch(minute)
    if minute == "*" or (step and int(step[1]) == 1):
        return "every minute"
    return f"every {step[1]} minutes" if step and 60 % int(step[1]) == 0 else None


def _days(day: str, weekday: str) -> str | None:
    of_month = "" if day == "*" else _of_month(day)
    of_week = "" if weekday == "*" else _listed(weekday, DAYS)
    if of_month is None or of_week is None:
        return None
    if of_month and of_week:
        return f"{of_month} or on {of_week}"
    return of_month or of_week


def _of_month(day: str) -> str | None:
    if day == "L":
        return "on the last day of the month"
    days = _numbers(day)
    return f"on day {_joined([str(one) for one in days])} of the month" if days else None


def _listed(field: str, names: Sequence[str | None]) -> str | None:
    """`Monday to Friday`, `January and July`; None for anything with steps or numbers of its own."""
    found = []
    for part in field.split(","):
        ends = [_name(one, names) for one in part.split("-")]
        if None in ends or len(ends) > 2:
            return None
        found.append(" to ".join(str(end) for end in ends))
    return _joined(found)


def _name(word: str, names: Sequence[str | None]) -> str | None:
    if word.isdecimal():
        return names[int(word)] if int(word) < len(names) else None
    return next((name for name in names if name and name[:3].upper() == word), None)


def _numbers(field: str) -> list[int]:
    return [int(one) for one in field.split(",")] if _NUMBERS.fullmatch(field) else []


def _past(minutes: Sequence[int]) -> str:
    return _joined([f":{one:02}" for one in minutes])


def _joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
