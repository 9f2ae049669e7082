"""Rules of repetition (RFC 5545) as schedules that mean the same, where there is one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from core.errors import InvalidInput
from core.importers.records import Unreadable
from core.schedule import parse

_DAYS = {"MO": "MON", "TU": "TUE", "WE": "WED", "TH": "THU", "FR": "FRI", "SA": "SAT", "SU": "SUN"}
_START = re.compile(r"DTSTART(?:;TZID=([^:;]{1,64}))?(?:;VALUE=DATE-TIME)?:(\d{8}T\d{6})(Z?)")
_UNDERSTOOD = frozenset(
    {
        "FREQ",
        "INTERVAL",
        "BYMINUTE",
        "BYHOUR",
        "BYDAY",
        "BYMONTHDAY",
        "BYMONTH",
        "BYSECOND",
        "WKST",
        "UNTIL",
        "COUNT",
    }
)
LONGEST = 2000


@dataclass(frozen=True)
class Rule:
    """A schedule, its zone where the rule names one, and the end it has."""

    schedule: str
    timezone: str | None
    until: datetime | None


def read_rule(text: str, timezone: str | None) -> Rule:
    """The schedule of a rule.

    Raises:
        Unreadable: `rrule_unsupported`, `bad_schedule`.

    """
    if len(text) > LONGEST:
        raise Unreadable("rrule_unsupported")
    start, zone = None, timezone
    fields: dict[str, str] = {}
    for line in text.upper().split():
        if line.startswith("DTSTART"):
            found = _START.fullmatch(line)
            if found is None:
                raise Unreadable("rrule_unsupported")
            start, zone = _moment(found[2]), "UTC" if found[3] else _zone(text, found[1]) or timezone
        else:
            fields.update(_fields(line.removeprefix("RRULE:")))
    schedule = _schedule(fields, start)
    try:
        return Rule(parse(schedule, zone).text, zone, _until(fields.get("UNTIL")))
    except InvalidInput:
        raise Unreadable("bad_schedule") from None


def _zone(text: str, upper: str | None) -> str | None:
    """As it was written: names of zones have small letters."""
    at = text.upper().find(f"TZID={upper}") if upper else -1
    return text[at + 5 : at + 5 + len(upper)] if upper and at >= 0 else None


def _fields(line: str) -> dict[str, str]:
    fields = dict(part.split("=", 1) for part in line.split(";") if "=" in part)
    if not fields.keys() <= _UNDERSTOOD or fields.get("BYSECOND", "0") != "0":
        raise Unreadable("rrule_unsupported")
    return fields


def _schedule(fields: dict[str, str], start: datetime | None) -> str:
    frequency, every = fields.get("FREQ", ""), fields.get("INTERVAL", "1")
    if "COUNT" in fields:
        if fields["COUNT"] == "1" and start and len(fields) <= 2 + ("INTERVAL" in fields):
            return start.isoformat()
        raise Unreadable("rrule_unsupported")
    if frequency == "MINUTELY" and fields.keys() <= {"FREQ", "INTERVAL", "WKST", "UNTIL", "BYSECOND"}:
        return f"@every {every}m"
    minute = fields.get("BYMINUTE") or (str(start.minute) if start else None)
    if frequency == "HOURLY" and minute and not fields.keys() & {"BYDAY", "BYMONTHDAY", "BYMONTH", "BYHOUR"}:
        if every == "1":
            return f"{minute} * * * *"
        if "BYMINUTE" not in fields:
            return f"@every {every}h"
    hour = fields.get("BYHOUR") or (str(start.hour) if start else None)
    if every != "1" or hour is None:
        raise Unreadable("rrule_unsupported")
    return _daily(frequency, minute or "0", hour, fields, start)


def _daily(frequency: str, minute: str, hour: str, fields: dict[str, str], start: datetime | None) -> str:
    """Both BYDAY and BYMONTHDAY mean both in a rule, and either in a cron."""
    day, month, week = fields.get("BYMONTHDAY"), fields.get("BYMONTH"), fields.get("BYDAY")
    if (day and week) or (day and "-" in day):
        raise Unreadable("rrule_unsupported")
    days = _week(week) if week else None
    if frequency == "WEEKLY" and not days and not day:
        days = start.strftime("%a").upper() if start else None
    elif frequency in {"MONTHLY", "YEARLY"} and not day and not days:
        day = str(start.day) if start else None
    if frequency == "YEARLY" and not month:
        month = str(start.month) if start else None
    complete = {
        "DAILY": True,
        "WEEKLY": days is not None,
        "MONTHLY": day is not None,
        "YEARLY": day is not None and month is not None,
    }
    if not complete.get(frequency):
        raise Unreadable("rrule_unsupported")
    return f"{minute} {hour} {day or '*'} {month or '*'} {days or '*'}"


def _week(value: str) -> str:
    if not all(day in _DAYS for day in value.split(",")):
        raise Unreadable("rrule_unsupported")
    return ",".join(_DAYS[day] for day in value.split(","))


def _moment(value: str) -> datetime:
    try:
        return datetime.strptime(value[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC).replace(tzinfo=None)
    except ValueError:
        raise Unreadable("bad_schedule") from None


def _until(value: str | None) -> datetime | None:
    if not value:
        return None
    return _moment(value.rstrip("Z") if "T" in value else f"{value}T235959").replace(tzinfo=UTC)
