"""Token buckets in PostgreSQL: a rate that is exact over all workers, since who takes holds the row.

What is taken is taken in the transaction of the work it is for: work that is rolled back costs nothing. A
bucket starts with one token and holds half a second's worth, so that a pause is not made up for.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.rates import Rate

BURST = 0.5  # seconds' worth
STROKE = 0.2  # seconds' worth that is waited for: few batches cost a database less than many

MAKE = text(
    "INSERT INTO rate_buckets (account_id, kind, tokens, updated_at)"
    " VALUES (:account, :kind, 1, clock_timestamp()) ON CONFLICT DO NOTHING"
)
# Whoever waited for the lock reads the row, and the clock, as they are then.
OPEN = text(
    "SELECT tokens, GREATEST(0, extract(epoch FROM clock_timestamp() - updated_at))::float8 AS elapsed,"
    " GREATEST(updated_at, clock_timestamp()) AS now,"
    " updated_at > clock_timestamp() + interval '1 second' AS ahead"
    " FROM rate_buckets WHERE account_id = :account AND kind = :kind FOR UPDATE"
)
TAKE = text(
    "UPDATE rate_buckets SET tokens = :left, updated_at = :now WHERE account_id = :account AND kind = :kind"
)
# A clock that was set back has this bucket wait for a time that may be years away.
SET_BACK = text(
    "UPDATE rate_buckets SET updated_at = clock_timestamp() WHERE account_id = :account AND kind = :kind"
    " RETURNING updated_at"
)
FORGET = text("DELETE FROM rate_buckets WHERE account_id = :account AND kind = :kind")


@dataclass(frozen=True)
class Grant:
    """How many may be worked on now; with none, how long until it is worth asking again."""

    count: int
    wait: timedelta = timedelta(0)


def refilled(tokens: float, elapsed: float, per_second: float) -> float:
    """What a bucket holds `elapsed` seconds after it held `tokens`."""
    return min(max(1.0, per_second * BURST), tokens + elapsed * per_second)


def granted(available: float, per_second: float, most: int) -> Grant:
    """What may be taken of a bucket: all of it up to `most`, once it is worth a batch."""
    worth = max(1, min(most, int(per_second * STROKE)))
    # A double that is a hair below a whole number is that number.
    whole = int(available + 1e-9)
    if whole >= worth:
        return Grant(min(most, whole))
    return Grant(0, timedelta(seconds=(worth - available) / per_second))


class Buckets:
    """The buckets that hold for one piece of work, locked until its transaction ends."""

    def __init__(self, session: Session, account: uuid.UUID, rates: Sequence[tuple[str, Rate]]) -> None:
        """`rates` by the kind of bucket, always in the same order: it is the order of the locks."""
        self._session = session
        self._account = account
        self._rates = [(kind, rate.count / rate.seconds) for kind, rate in rates]
        self._open = [self._opened(kind, per_second) for kind, per_second in self._rates]

    def grant(self, most: int) -> Grant:
        """How many, up to `most`, all of them allow now."""
        found = Grant(most)
        for (_, per_second), (available, _) in zip(self._rates, self._open, strict=True):
            one = granted(available, per_second, most)
            found = Grant(min(found.count, one.count), max(found.wait, one.wait))
        return found

    def take(self, count: int) -> None:
        """Takes what was used, at most what was granted; what may be taken next follows from what is left."""
        if not count:
            return
        self._open = [(available - count, now) for available, now in self._open]
        for (kind, _), (left, now) in zip(self._rates, self._open, strict=True):
            place = {"account": self._account, "kind": kind}
            self._session.execute(TAKE, {**place, "left": left, "now": now})

    def _opened(self, kind: str, per_second: float) -> tuple[float, object]:
        place = {"account": self._account, "kind": kind}
        row = self._session.execute(OPEN, place).one_or_none()
        if row is None:
            self._session.execute(MAKE, place)
            row = self._session.execute(OPEN, place).one()
        if row.ahead:
            return row.tokens, self._session.execute(SET_BACK, place).scalar_one()
        return refilled(row.tokens, row.elapsed, per_second), row.now


def forget_bucket(session: Session, account: uuid.UUID, kind: str) -> None:
    """Takes a bucket away that nobody will ask again."""
    session.execute(FORGET, {"account": account, "kind": kind})
