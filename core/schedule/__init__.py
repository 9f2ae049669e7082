"""When is a task due: pure functions from a schedule's text and a time zone to instants.

    daily = parse("0 9 * * MON-FRI", "Europe/Berlin")
    next_after(daily, now)

`forms` reads the text, `cron` finds matching wall-clock times, `zones` maps wall-clock times to instants,
`occurrences` puts the three together, `words` says it to people. All
instants are aware and in UTC, coming in and going out.
"""

from core.schedule.forms import Form, Schedule, parse, read_instant
from core.schedule.occurrences import (
    Span,
    check_future,
    check_minimum,
    due_through,
    last_occurrences,
    next_after,
    preview,
)
from core.schedule.words import in_words
from core.schedule.zones import change_of_clocks

__all__ = [
    "Form",
    "Schedule",
    "Span",
    "change_of_clocks",
    "check_future",
    "check_minimum",
    "due_through",
    "in_words",
    "last_occurrences",
    "next_after",
    "parse",
    "preview",
    "read_instant",
]
