"""What a matcher finds: a candidate, before the sweep decides between those that overlap."""

from __future__ import annotations

from collections.abc import Callable

# Score, begin, end, kind. A plain tuple: there are many, and most live for microseconds.
Found = tuple[float, int, int, str]
Matcher = Callable[[str, list[Found]], None]
