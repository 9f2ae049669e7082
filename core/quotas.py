"""How much an account may use in a calendar month, UTC: what an operator set, against what was counted."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.sql import bindparam

from core.errors import InvalidInput, LimitReached
from core.limits import AccountLimits, Kind
from core.rates import Rate, parse_rate
from models import Account

BULK = "rate_bulk"
QUOTAS = ("messages", "tokens", "conversations")
FRESH = 5.0  # seconds for which an account that is far from its quota is not counted again
FAR = 1000  # and a tenth of the quota
KNOWN = 10_000  # accounts remembered by a process

USED = text(
    "SELECT COALESCE(sum(messages), 0) AS messages, COALESCE(sum(conversations), 0) AS conversations,"
    " COALESCE(sum(input_tokens + output_tokens), 0) AS tokens"
    " FROM usage_days WHERE account_id = :account AND day >= date_trunc('month', current_date)::date"
)
KEEP = text(
    "UPDATE accounts SET settings = jsonb_set(settings, '{limits}', :limits), updated_at = now()"
    " WHERE id = :account"
).bindparams(bindparam("limits", type_=JSONB))


@dataclass(frozen=True)
class _Count:
    month: tuple[int, int]
    at: float
    used: Mapping[str, int]


class Quotas:
    """What accounts have used this month, remembered for seconds while they are far from their quotas."""

    def __init__(self) -> None:
        self._counts: dict[uuid.UUID, _Count] = {}

    def over(
        self, session: Session, account: uuid.UUID, limits: AccountLimits, wanted: Iterable[str]
    ) -> str | None:
        """The first of the wanted quotas that is used up. Requests at one moment may overshoot it."""
        asked = {name: limits.quotas[name] for name in wanted if name in limits.quotas}
        if not asked:
            return None
        used = self._remembered(account, asked) or self._count(session, account)
        return next((name for name, most in asked.items() if used[name] >= most), None)

    def _remembered(self, account: uuid.UUID, asked: Mapping[str, int]) -> Mapping[str, int] | None:
        found = self._counts.get(account)
        if found is None or found.month != _this_month() or time.monotonic() - found.at > FRESH:
            return None
        left = {name: most - found.used[name] for name, most in asked.items()}
        far = all(left[name] > max(FAR, most // 10) for name, most in asked.items())
        return found.used if far else None

    def _count(self, session: Session, account: uuid.UUID) -> Mapping[str, int]:
        used = used_this_month(session, account)
        if len(self._counts) >= KNOWN:
            self._counts.clear()
        self._counts[account] = _Count(_this_month(), time.monotonic(), used)
        return used


def used_this_month(session: Session, account: uuid.UUID) -> Mapping[str, int]:
    """What an account has used since the month began (UTC), by the names of the quotas."""
    row = session.execute(USED, {"account": account}).one()
    return {name: int(getattr(row, name)) for name in QUOTAS}


def quota_reached(name: str) -> LimitReached:
    """The error of a quota that is used up: it says when the next month begins."""
    now = datetime.now(UTC)
    next_month = (now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0)
    return LimitReached(f"The account's {name} of this month are used up.", next_month - now)


def read_limits(stored: Any) -> AccountLimits:
    """The limits as `set_limits` stored them; what cannot be read is not a limit."""
    if not isinstance(stored, Mapping):
        return AccountLimits()
    rates = {kind: stored.get(f"rate_{kind}") for kind in Kind}
    quotas = {name: stored.get(f"{name}_per_month") for name in QUOTAS}
    return AccountLimits(
        {kind: parse_rate(words) for kind, words in rates.items() if isinstance(words, str)},
        {name: most for name, most in quotas.items() if isinstance(most, int)},
    )


def bulk_rate_of(session: Session, account: uuid.UUID, default: Rate | None) -> Rate | None:
    """How fast an account's bulk deletions may go together: its own rate, or the installation's."""
    found = session.get(Account, account)
    limits = found.settings.get("limits") if found else None
    own = limits.get(BULK) if isinstance(limits, Mapping) else None
    return parse_rate(own) if isinstance(own, str) else default


def set_limits(session: Session, account: Account, changes: Mapping[str, str]) -> dict[str, str | int]:
    """Changes an account's own limits; answers all of them. `default` takes one back.

    Names are `rate_read`, `rate_write`, `rate_turn`, `rate_delete`, `rate_bulk` (`10/s`, or `off`), and
    `messages_per_month`, `tokens_per_month`, `conversations_per_month` (a number).

    Raises:
        InvalidInput: a name or a value that is none.

    """
    limits = dict(account.settings.get("limits", {}))
    for name, words in changes.items():
        limits.pop(name, None)
        if words.strip().lower() != "default":
            limits[name] = _checked(name, words)
    if changes:
        session.execute(KEEP, {"account": account.id, "limits": limits})
        session.refresh(account)
    return limits


def _checked(name: str, words: str) -> str | int:
    if name in {BULK, *(f"rate_{kind}" for kind in Kind)}:
        try:
            rate = parse_rate(words)
        except ValueError as error:
            raise InvalidInput(f"The rate {error}.") from None
        return "off" if rate is None else str(rate)
    if name not in {f"{quota}_per_month" for quota in QUOTAS}:
        raise InvalidInput("There is no such limit.")
    if not re.fullmatch(r"[0-9]{1,15}", words.strip()):
        raise InvalidInput("A quota is a whole number of up to 15 digits, or default.")
    return int(words)


def _this_month() -> tuple[int, int]:
    today = datetime.now(UTC)
    return today.year, today.month
