"""The forms a schedule can be written in, and what each of them means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from core.errors import InvalidInput
from core.schedule.cron import ALIASES, Cron, read_cron
from core.schedule.zones import find_zone, first_instant

MAX_LENGTH = 200
MAX_INTERVAL = timedelta(days=366)

# The elapsed times ChatBotKit gives these names (contracts/chatbotkit.md 4.1).
NAMED_INTERVALS = {
    "quarterhourly": timedelta(minutes=15),
    "halfhourly": timedelta(minutes=30),
    "hourly": timedelta(hours=1),
    "twicedaily": timedelta(hours=12),
    "daily": timedelta(days=1),
    "twiceweekly": timedelta(days=3.5),
    "weekly": timedelta(days=7),
    "twicemonthly": timedelta(days=15),
    "monthly": timedelta(days=30),
}

_EVERY = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,8})h)?(?:(\d{1,8})m)?(?:(\d{1,8})s)?")
_TIME = re.compile(r"(\d{1,2}):(\d{2})")
_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?"
)
_RFC_2822 = re.compile(
    r"(?:(?P<weekday>[A-Z]{3}), ?)?\d{1,2} [A-Z]{3} \d{4} \d{2}:\d{2}(?::\d{2})?"
    r"(?: (?:[+-]\d{4}|GMT|UTC?|Z))?"
)
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


class Form(StrEnum):
    """How a schedule repeats."""

    NEVER = "never"
    INTERVAL = "interval"
    CRON = "cron"
    TIME = "time"
    DATE = "date"


@dataclass(frozen=True)
class Schedule:
    """A schedule in one zone, as `parse` made it; equal when text and zone are.

    `parse(schedule.text, schedule.zone)` gives it back. By form one of `interval` (elapsed time from the
    previous occurrence), `cron` (CRON and TIME) and `moment` (DATE) is set.
    """

    text: str
    zone: str
    form: Form = field(compare=False)
    tz: ZoneInfo = field(repr=False, compare=False)
    interval: timedelta | None = field(default=None, repr=False, compare=False)
    cron: Cron | None = field(default=None, repr=False, compare=False)
    moment: datetime | None = field(default=None, repr=False, compare=False)


@lru_cache(maxsize=16384)
def parse(text: str, timezone: str | None) -> Schedule:
    """Read a schedule; `timezone` is an IANA name, None means UTC.

    Raises InvalidInput, with a sentence that says what to change, for a text in none of the forms, for a cron
    that can never fire and for an unknown zone. The forms are tried in the order of contracts/chatbotkit.md
    4.1. A date in the past is read all the same: `check_future` refuses it.
    """
    zone = find_zone(timezone)
    plain = " ".join(_printable(text).split())
    if plain == "never":
        return Schedule(plain, zone.key, Form.NEVER, zone)
    if plain in NAMED_INTERVALS:
        return Schedule(plain, zone.key, Form.INTERVAL, zone, interval=NAMED_INTERVALS[plain])
    if plain.startswith("@"):
        return _read_at(plain.lower(), zone)
    upper = plain.upper()
    if _TIME.fullmatch(plain):
        return _read_time(plain, zone)
    if _ISO.fullmatch(upper) or _RFC_2822.fullmatch(upper):
        return Schedule(upper, zone.key, Form.DATE, zone, moment=_read_moment(upper, zone))
    return _read_fields(upper, zone)


def read_instant(text: str, timezone: str | None) -> datetime:
    """A date or date-time as an instant, or epoch milliseconds; local to the zone without an offset.

    Raises InvalidInput for anything else.
    """
    plain = text.strip()
    if plain.isascii() and plain.isdecimal() and len(plain) > 8:
        try:
            return datetime.fromtimestamp(int(plain) / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            plain = ""
    if not _ISO.fullmatch(plain.upper()):
        raise InvalidInput("A time is written as 2030-12-25T10:00 or 2030-12-25T10:00:00Z.")
    return _read_moment(plain.upper(), find_zone(timezone))


def _printable(text: str) -> str:
    if len(text) > MAX_LENGTH:
        raise InvalidInput(f"A schedule has at most {MAX_LENGTH} characters.")
    if not (text.isascii() and text.isprintable()):
        raise InvalidInput(
            "A schedule is one line of plain ASCII characters, without tabs or control characters."
        )
    if not text.strip():
        raise InvalidInput("The schedule is empty; leave it out for a task without one.")
    return text


def _read_at(text: str, zone: ZoneInfo) -> Schedule:
    if text in ALIASES:
        return Schedule(text, zone.key, Form.CRON, zone, cron=read_cron(ALIASES[text].split()))
    name, _, rest = text.partition(" ")
    if name == "@every":
        duration = rest.replace(" ", "")
        return Schedule(
            f"@every {duration}", zone.key, Form.INTERVAL, zone, interval=_read_duration(duration)
        )
    if name == "@reboot":
        raise InvalidInput("'@reboot' is not a time; a task cannot be scheduled for it.")
    known = ", ".join(ALIASES)
    raise InvalidInput(
        f"Of the schedules that begin with '@' there are {known} and, for example, '@every 90s'."
    )


def _read_duration(text: str) -> timedelta:
    match = _EVERY.fullmatch(text)
    if not text or match is None:
        raise InvalidInput(
            "'@every' takes whole days, hours, minutes and seconds, in this order: '@every 1h30m'."
        )
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    interval = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not timedelta(0) < interval <= MAX_INTERVAL:
        raise InvalidInput(
            f"The interval of '@every' must be longer than nothing and at most {MAX_INTERVAL.days}d."
        )
    return interval


def _read_time(text: str, zone: ZoneInfo) -> Schedule:
    hour, minute = (int(part) for part in text.split(":"))
    if hour > 23 or minute > 59:
        raise InvalidInput("A daily time lies between 00:00 and 23:59.")
    cron = read_cron([str(minute), str(hour), "*", "*", "*"])
    return Schedule(f"{hour:02}:{minute:02}", zone.key, Form.TIME, zone, cron=cron)


def _read_moment(text: str, zone: ZoneInfo) -> datetime:
    """The instant of a date or date-time; local to `zone` when it has no offset of its own."""
    rfc = _RFC_2822.fullmatch(text)
    try:
        moment = parsedate_to_datetime(text) if rfc else datetime.fromisoformat(text)
        if rfc and text.endswith("-0000"):
            moment = moment.replace(tzinfo=UTC)  # RFC 2822: UTC, from a machine that knows no zone
        found = first_instant(zone, moment) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput("The schedule looks like a date, but there is no such day or time.") from error
    if rfc and rfc["weekday"] not in {None, _WEEKDAYS[moment.weekday()]}:
        raise InvalidInput("The weekday and the date of the schedule do not belong together.")
    return found


def _read_fields(text: str, zone: ZoneInfo) -> Schedule:
    fields = text.split()
    if len(fields) == 5:
        return Schedule(text, zone.key, Form.CRON, zone, cron=read_cron(fields))
    if len(fields) in {6, 7}:
        raise InvalidInput(
            "A cron has 5 fields (minute, hour, day of month, month, day of week), "
            f"this one has {len(fields)}; for seconds write for example '@every 30s'."
        )
    names = ", ".join(["never", *NAMED_INTERVALS])
    raise InvalidInput(
        f"A schedule is one of {names} (in lower case), a cron of 5 fields, a time such as 09:30, "
        "a date or date-time such as 2030-12-25T10:00:00Z, or '@every 90s'."
    )
