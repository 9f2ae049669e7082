"""How fast a caller may ask: the kind of a request, its place in the account's rate, what is told of it."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from core.accounts import Caller
from core.errors import LimitReached
from core.limits import AccountLimits, Decision, Kind, RateLimits, Window
from core.quotas import Quotas, quota_reached
from core.rates import Rate
from core.settings import Settings

WAIT = timedelta(seconds=2)  # that a delete waits for its place, so that a loop over deletes loses nothing
TURNS = frozenset({"send", "receive", "complete", "compact", "dispatch", "trigger"})
TURN_QUOTAS = ("messages", "tokens")
# What a request uses up. Tasks that run on schedule have budgets of their own instead.
QUOTAS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r".*/(receive|complete|compact|dispatch)", TURN_QUOTAS),
    (r".*/trigger", (*TURN_QUOTAS, "conversations")),
    (r".*/send|.*/message/create|.*/message/batch/create", ("messages",)),
    (r".*/conversation/create|.*/bot/[^/]+/session/create", ("conversations", "messages")),
)


@dataclass
class Told:
    """What one request's answer will say beside itself; shared by all attempts at the request."""

    headers: dict[str, str] = field(default_factory=dict)
    counted: bool = False


@dataclass(frozen=True)
class Doorkeeper:
    """The counters of an API process."""

    settings: Settings
    rates: RateLimits
    quotas: Quotas

    def take(self, caller: Caller, kind: Kind) -> Decision | None:
        """Counts a request of the caller's account; None when this kind has no limit, or nobody counts."""
        rate = self.rate_of(caller, kind)
        if rate is None:
            return None
        return self.rates.take(caller.account_id, kind, rate, WAIT if kind is Kind.DELETE else timedelta(0))

    def slide(self, user: uuid.UUID, bucket: str) -> Window | None:
        """Counts a call of a user's in one of the windows of the conversations API, as `take` does."""
        rate: Rate | None = getattr(self.settings, f"rate_chat_{bucket}")
        return None if rate is None else self.rates.slide(user, bucket, rate)

    def rate_of(self, caller: Caller, kind: Kind) -> Rate | None:
        """The rate in force for the caller's account: its own, or the installation's; None: no limit."""
        if kind in caller.limits.rates:
            return caller.limits.rates[kind]
        rate: Rate | None = getattr(self.settings, f"rate_{kind}")
        return rate


def make_doorkeeper(settings: Settings) -> Doorkeeper:
    return Doorkeeper(settings, RateLimits(settings.redis_url), Quotas())


def told(scope: MutableMapping[str, Any]) -> Told:
    """What the answer of this request will say; the outermost layer made it."""
    found: Told = scope.setdefault("told", Told())
    return found


def kind_of(method: str, path: str) -> Kind:
    last = path.rsplit("/", 1)[-1]
    if method == "GET":
        return Kind.READ
    if last == "delete":
        return Kind.DELETE
    return Kind.TURN if last in TURNS else Kind.WRITE


def quotas_of(method: str, path: str) -> tuple[str, ...]:
    """The quotas a request draws on."""
    if method != "POST":
        return ()
    return next((names for form, names in QUOTAS if re.fullmatch(form, path)), ())


def rate_headers(decision: Decision) -> dict[str, str]:
    """The limit, what is left of it, and the seconds until all of it is there again."""
    numbers = {
        "Limit": decision.rate.count,
        "Remaining": decision.remaining,
        "Reset": math.ceil(decision.reset.total_seconds()),
    }
    return {
        f"{prefix}{name}": str(number)
        for prefix in ("RateLimit-", "X-RateLimit-")
        for name, number in numbers.items()
    }


def refuse_rate(doorkeeper: Doorkeeper, caller: Caller) -> None:
    """Counts a turn of the account's; raises LimitReached where they come too fast."""
    decision = doorkeeper.take(caller, Kind.TURN)
    if decision is not None and not decision.allowed:
        raise too_fast(decision, Kind.TURN)


def refuse_quota(session: Session, doorkeeper: Doorkeeper, account: uuid.UUID, limits: AccountLimits) -> None:
    """Raises LimitReached where the account's quota for turns is used up."""
    name = doorkeeper.quotas.over(session, account, limits, TURN_QUOTAS)
    if name is not None:
        raise quota_reached(name)


def too_fast(decision: Decision, kind: Kind) -> LimitReached:
    return LimitReached(f"The account asks too fast: {decision.rate} for kind {kind}.", decision.wait)
