"""The occurrences of a schedule: the next one, a preview, and how many are due.

The rule for a change of the clocks: a cron whose minute or hour field begins with `*` counts elapsed time.
It runs in both passes when the clocks go back, and what the clocks jump over does not exist for it. Every
other cron and `HH:MM` name fixed local times, which fire once: one that the clocks jump over fires at the
first valid instant after the jump (several of them, and a regular occurrence at that instant, make one
firing), one that comes twice fires the first time. A zone that jumps over a whole day (Pacific/Apia, 30
December 2011) is no exception: what was due on that day fires at the midnight after it, once, and the next
day's own times follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from core.errors import InvalidInput
from core.schedule.cron import Cron, next_day
from core.schedule.forms import Form, Schedule
from core.schedule.zones import change_between, first_instant, keeps_time, passes, wall_clock

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_LAST_YEAR = 9000  # far enough from the end of Python's calendar that no arithmetic reaches it
_MOST_STEPS = 20_000
_MOST_DAYS = 1_500


@dataclass(frozen=True)
class Span:
    """The occurrences from `first` to `last`, both included.

    `exact` is False when there were too many to count: then `count` is a lower bound. It takes more than
    twenty years of an every-minute schedule, so it means that `first` is wrong.
    """

    first: datetime
    last: datetime
    count: int
    exact: bool = True


def next_after(schedule: Schedule, instant: datetime) -> datetime | None:
    """The first due instant strictly after `instant`, or None when there is none.

    For intervals this is `instant` + interval: pass the previous occurrence, never the clock, and the grid
    does not drift. Raises ValueError for a naive `instant`.
    """
    if instant.tzinfo is None:
        raise ValueError("An instant carries its offset from UTC.")
    instant = instant.astimezone(UTC)
    if instant.year > _LAST_YEAR:
        return None
    if schedule.interval is not None:
        return instant + schedule.interval
    if schedule.moment is not None:
        return schedule.moment if schedule.moment > instant else None
    if schedule.cron is None:
        return None
    found = _next_in_minute(schedule, instant.replace(second=0, microsecond=0))
    if found is not None and found <= instant:
        # Before 1972 some zones were off UTC by odd seconds, and their minutes begin within ours.
        return _next_cron(schedule.cron, schedule.tz, instant)
    return found


@lru_cache(maxsize=32768)
def _next_in_minute(schedule: Schedule, minute: datetime) -> datetime | None:
    return None if schedule.cron is None else _next_cron(schedule.cron, schedule.tz, minute)


def _next_cron(cron: Cron, zone: ZoneInfo, instant: datetime) -> datetime | None:
    return _next_elapsed(cron, zone, instant) if cron.elapsed else _next_fixed(cron, zone, instant)


def _next_fixed(cron: Cron, zone: ZoneInfo, instant: datetime) -> datetime | None:
    # first_instant never decreases as the wall clock advances, so nothing at or before the wall-clock time of
    # `instant` can still be due, and the first that lies after `instant` is the next.
    for wall in _walls_after(cron, wall_clock(zone, instant)):
        due = first_instant(zone, wall)
        if due > instant:
            return due
    return None


def _next_elapsed(cron: Cron, zone: ZoneInfo, instant: datetime) -> datetime | None:
    wall = wall_clock(zone, instant)
    found = _next_shown(cron, zone, wall, instant)
    first, second = passes(zone, wall)
    if not first < second or wall.fold:
        return found
    # On the first of two passes, times that lie behind will come again.
    change = change_between(zone, first, second)
    if found is not None and found < change:
        return found
    return _next_shown(cron, zone, wall_clock(zone, change) - _MINUTE, instant)


def _next_shown(cron: Cron, zone: ZoneInfo, wall: datetime, instant: datetime) -> datetime | None:
    """The first instant after `instant` at which the wall clock shows a matching time after `wall`."""
    for shown in _walls_after(cron, wall):
        first, second = passes(zone, shown)
        if first <= second and second > instant:
            return first if first > instant else second
    return None


def _walls_after(cron: Cron, wall: datetime) -> Iterator[datetime]:
    following = cron.next_wall(wall)
    while following is not None:
        yield following
        following = cron.next_wall(following)


def _occurrences_after(schedule: Schedule, instant: datetime) -> Iterator[datetime]:
    following = next_after(schedule, instant)
    while following is not None:
        yield following
        following = next_after(schedule, following)


def preview(schedule: Schedule, instant: datetime, n: int) -> list[datetime]:
    """The next `n` due instants after `instant`, or as many as there are."""
    return list(islice(_occurrences_after(schedule, instant), n))


def due_through(schedule: Schedule, first: datetime, now: datetime) -> Span:
    """The occurrences from `first`, which is due, through `now`.

    `first` counts as one even if it no longer is, because the rules of its zone have changed since it was
    computed. Intervals cost arithmetic; crons cost a step per day that has occurrences, whatever their
    number, and at most 20,000 steps. Raises ValueError when `first` is not due yet.
    """
    first, now = first.astimezone(UTC), now.astimezone(UTC)
    if first > now:
        raise ValueError("The first occurrence of a span must be due.")
    if schedule.interval is not None:
        passed = (now - first) // schedule.interval
        return Span(first, first + passed * schedule.interval, passed + 1)
    if schedule.cron is None:
        return Span(first, first, 1)
    count, last, steps = 1, first, 0
    while (following := next_after(schedule, last)) is not None and following <= now:
        if steps == _MOST_STEPS:
            return Span(first, _last_through(schedule, following, now), count, exact=False)
        more, last = _through_stretch(schedule.cron, schedule.tz, following, now)
        count, steps = count + more, steps + 1
    return Span(first, last, count)


def _through_stretch(cron: Cron, zone: ZoneInfo, due: datetime, now: datetime) -> tuple[int, datetime]:
    """How many occurrences lie in [due, now] within a stretch of local time, and the last one.

    The stretch is the local day of `due` or, when the clocks change on it, the hour, or else `due` alone.
    """
    wall = wall_clock(zone, due)
    hour = wall.replace(minute=0, second=0, fold=0)
    for start, length in ((hour.replace(hour=0), _DAY), (hour, _HOUR)):
        offset = keeps_time(zone, start - _MINUTE, start + length)
        if offset is not None:
            end = min(wall_clock(zone, now), start + length - _MINUTE)
            before, through = cron.times_through(wall.time()) - 1, cron.times_through(end.time())
            last = datetime.combine(start.date(), cron.time_at(through - 1), tzinfo=UTC)
            return through - before, last - offset
    return 1, due


def _last_through(schedule: Schedule, due: datetime, now: datetime) -> datetime:
    """The last occurrence at or before `now`, given one that is: looked for ever further back."""
    back = 2 * _MINUTE
    while (found := next_after(schedule, max(due, now - back) - _MINUTE)) is None or found > now:
        back *= 2
    for following in _occurrences_after(schedule, found):
        if following > now:
            break
        found = following
    return found


def last_occurrences(schedule: Schedule, first: datetime, now: datetime, most: int) -> list[datetime]:
    """The last `most` occurrences from `first`, which is due, through `now`; oldest first.

    Costs a few steps for each that is answered, however long ago the first was.
    """
    if schedule.interval is not None:
        passed = (now - first) // schedule.interval
        return [first + step * schedule.interval for step in range(max(0, passed - most + 1), passed + 1)]
    last = due_through(schedule, first, now).last
    if most == 1 or last == first:
        return [last]
    back = 2 * _MINUTE
    while (found := _from(schedule, max(first, last - back), now)) and len(found) < most:
        if last - back <= first:
            break
        back *= 4
    return found[-most:]


def _from(schedule: Schedule, start: datetime, now: datetime) -> list[datetime]:
    """Every occurrence in [start, now]."""
    following, found = next_after(schedule, start - timedelta(microseconds=1)), []
    while following is not None and following <= now:
        found.append(following)
        following = next_after(schedule, following)
    return found


def check_minimum(schedule: Schedule, minimum: timedelta) -> None:
    """Raise InvalidInput when two consecutive occurrences can lie closer than `minimum`.

    Crons are measured on the wall clock: that 02:30 falls together with 03:00, or a day has 23 hours, once a
    year, is no reason to refuse a schedule.
    """
    closest = schedule.interval if schedule.cron is None else _closest(schedule.cron, minimum)
    if closest is not None and closest < minimum:
        raise InvalidInput(
            f"Two runs of this schedule can lie {closest} apart; the least time allowed here is {minimum}."
        )


def _closest(cron: Cron, minimum: timedelta) -> timedelta:
    """A time between two consecutive occurrences below `minimum` if there is one, else one not below."""
    start = date(2000, 1, 1)
    times = [datetime.combine(start, cron.time_at(index)) for index in range(cron.times_a_day)]
    closest = min((after - before for before, after in pairwise(times)), default=timedelta.max)
    overnight = times[0] - times[-1]
    if overnight + _DAY >= minimum:
        return closest  # not even two days in a row come too close
    day = next_day(cron.days, start)
    for _ in range(_MOST_DAYS):
        following = day and next_day(cron.days, day)
        if not day or not following or closest < minimum:
            break
        closest, day = min(closest, overnight + (following - day)), following
    return closest


def check_future(schedule: Schedule, now: datetime) -> None:
    """Raise InvalidInput when the schedule has no occurrence after `now`; `never` is meant to have none."""
    if schedule.form is Form.NEVER or next_after(schedule, now) is not None:
        return
    if schedule.form is Form.DATE:
        raise InvalidInput("The date of the schedule lies in the past.")
    raise InvalidInput("This schedule never fires again.")
