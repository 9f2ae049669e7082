"""How fast an account's requests may come: GCRA in Valkey, one call per request; and a user's, in windows.

The generic cell rate algorithm keeps one number per account and kind, the instant at which all that was let
in would have come at the even pace. Every API process counts in the same place. A Valkey that is away
counts nothing, and everybody is let in.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from core.rates import Rate
from core.valkey import Absence, second_database

PATIENCE = 0.5  # seconds that a request waits for the counter
# Microseconds since 1970 fit a double, but not Lua's own way to write one.
TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local step, burst, patience = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local following = due + step
local wait = following - burst - now
if wait > patience then
  return {0, 0, due - now, wait}
end
redis.call('SET', KEYS[1], string.format('%.0f', following), 'PX', math.ceil((following - now) / 1000) + 1)
return {1, math.max(0, math.floor((burst + now - following) / step)), following - now, math.max(0, wait)}
"""


# The instants of the calls in the window, the newest first; what is refused is not counted.
SLIDE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local count, length = tonumber(ARGV[1]), tonumber(ARGV[2])
local oldest = redis.call('LINDEX', KEYS[1], -1)
while oldest and tonumber(oldest) <= now - length do
  redis.call('RPOP', KEYS[1])
  oldest = redis.call('LINDEX', KEYS[1], -1)
end
local used = redis.call('LLEN', KEYS[1])
local free = oldest and tonumber(oldest) + length or now
local allowed = used < count and 1 or 0
if allowed == 1 and ARGV[3] == '1' then
  redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil(length / 1000) + 1)
  used = used + 1
  free = oldest and free or now + length
end
return {allowed, math.max(0, count - used), allowed == 1 and 0 or free - now, string.format('%.0f', free)}
"""


class Kind(StrEnum):
    """What a request costs: each kind has a rate of its own."""

    READ = "read"
    WRITE = "write"
    TURN = "turn"
    DELETE = "delete"


@dataclass(frozen=True)
class Decision:
    """Whether a request is let in, and how long it waits for its place before."""

    rate: Rate
    allowed: bool
    remaining: int
    reset: timedelta
    wait: timedelta


@dataclass(frozen=True)
class Window:
    """Whether a call is let in; `reset` is when its oldest leaves the window, in seconds since 1970."""

    rate: Rate
    allowed: bool
    remaining: int
    wait: timedelta
    reset: float


@dataclass(frozen=True)
class AccountLimits:
    """What an operator set for one account. Rates replace the installation's; None is no limit."""

    rates: Mapping[Kind, Rate | None] = field(default_factory=dict)
    quotas: Mapping[str, int] = field(default_factory=dict)


class RateLimits:
    """The counters, shared by all processes on one Valkey. Without an address nothing is counted."""

    def __init__(self, redis_url: str | None) -> None:
        self._client = _make_client(second_database(redis_url)) if redis_url else None
        self._take = self._client.register_script(TAKE) if self._client else None
        self._slide = self._client.register_script(SLIDE) if self._client else None
        self._absence = Absence("rates_not_counted")

    def take(
        self, account: uuid.UUID, kind: Kind | str, rate: Rate, patience: timedelta = timedelta(0)
    ) -> Decision | None:
        """Counts a request, unless it would wait longer than `patience`; None when nobody counts.

        A place that is waited for is taken: two that wait do not get the same one.
        """
        if self._take is None or self._absence.is_away():
            return None
        step = rate.microseconds
        numbers = [step, step * rate.count, patience // timedelta(microseconds=1)]
        try:
            allowed, remaining, reset, wait = self._take(keys=[f"rate:{account}:{kind}"], args=numbers)
        except Exception as error:  # noqa: BLE001 (whatever it is that fails, the rows are safe)
            self._absence.note(error)
            return None
        return Decision(
            rate, bool(allowed), remaining, timedelta(microseconds=reset), timedelta(microseconds=wait)
        )

    def slide(self, user: uuid.UUID | str, bucket: str, rate: Rate, now: bool = True) -> Window | None:
        """Counts a call of a user's in a sliding window: never more than `rate.count` in any `rate.seconds`.

        None when nobody counts. `now` False only looks.
        """
        if self._slide is None or self._absence.is_away():
            return None
        numbers = [rate.count, rate.seconds * 1_000_000, int(now)]
        try:
            allowed, remaining, wait, reset = self._slide(keys=[f"window:{bucket}:{user}"], args=numbers)
        except Exception as error:  # noqa: BLE001 (as above)
            self._absence.note(error)
            return None
        return Window(rate, bool(allowed), remaining, timedelta(microseconds=wait), int(reset) / 1_000_000)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _make_client(url: str) -> Any:
    """One more try at once: the first error may only tell of a connection that was closed."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(
        url, retry=again, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, max_connections=1000
    )
