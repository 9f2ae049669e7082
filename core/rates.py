"""How fast: a number of requests per second, minute, hour or day. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
FORM = re.compile(r"([1-9][0-9]{0,8})/([smhd])")
OFF = "off"


@dataclass(frozen=True)
class Rate:
    """So many requests in so many seconds; all of them may come at once, then each at its distance."""

    count: int
    seconds: int

    @property
    def microseconds(self) -> int:
        """From one request to the next; at least one."""
        return max(1, self.seconds * 1_000_000 // self.count)

    def __str__(self) -> str:
        unit = next(unit for unit, seconds in UNITS.items() if seconds == self.seconds)
        return f"{self.count}/{unit}"


@lru_cache(maxsize=256)
def parse_rate(words: str) -> Rate | None:
    """`10/s`, `600/m`, `5000/h`, `9/d`; `off` is no limit.

    Raises:
        ValueError: anything else.

    """
    if words.strip().lower() == OFF:
        return None
    found = FORM.fullmatch(words.strip())
    if found is None:
        raise ValueError("must be a number per s, m, h or d, such as 600/m, or off")
    return Rate(int(found[1]), UNITS[found[2]])
