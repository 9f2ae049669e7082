"""Durations of retention: whole days, weeks or years, as people write them down."""

from __future__ import annotations

import re
from typing import Any

from core.errors import InvalidInput

FORM = re.compile(r"([1-9][0-9]{0,5})(d|w|y)")
DAYS = {"d": 1, "w": 7, "y": 365}
MOST = 36_500


def read_days(value: Any, name: str) -> int:
    """`30d`, `12w`, `1y` as days; a week has 7 of them and a year 365.

    Raises:
        InvalidInput: another form, or more than a hundred years.

    """
    found = FORM.fullmatch(value) if isinstance(value, str) else None
    days = int(found[1]) * DAYS[found[2]] if found else 0
    if not 0 < days <= MOST:
        raise InvalidInput(f"{name} is a duration such as 30d, 12w or 1y, at most 100y.")
    return days
