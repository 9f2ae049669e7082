"""The policies of a task, as they are given: checked one by one, each refusal a sentence.

Durations are timedeltas, instants aware, money a number in the operator's currency (stored in millionths).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from core.errors import InvalidInput
from core.rows import checked_text
from models import CatchUp, ConversationMode, ErrorClass, Overlap

MILLION = 1_000_000
MOST_MONEY = 1_000_000_000
MOST_TOKENS = 1_000_000_000_000
MOST_STRINGS = 20
LONGEST_STRING = 1000
# What another attempt may mend. The others are decisions: no bot, no money, cancelled.
RETRYABLE = frozenset(
    {
        ErrorClass.ASSERTION,
        ErrorClass.EMPTY_OUTPUT,
        ErrorClass.INTERNAL_ERROR,
        ErrorClass.PROVIDER_ERROR,
        ErrorClass.QUOTA,
        ErrorClass.REFUSED,
        ErrorClass.TIMEOUT,
        ErrorClass.TRUNCATED,
    }
)

Check = Callable[[str, Any], Any]


def _whole(least: int, most: int) -> Check:
    """A whole number; 0 and None mean "no limit of its own"."""

    def check(name: str, value: Any) -> int | None:
        if value is None or (value == 0 and not isinstance(value, bool)):
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidInput(f"{name} must be a whole number from 0 to {most}.")
        return value

    return check


def _choice(values: type[StrEnum]) -> Check:
    def check(name: str, value: Any) -> str:
        if value is None:
            return next(iter(values)).value
        if value not in list(values):
            raise InvalidInput(f"{name} must be one of {', '.join(values)}.")
        return str(value)

    return check


def _duration(most: timedelta) -> Check:
    def check(name: str, value: Any) -> timedelta | None:
        if not value:
            return None
        if not isinstance(value, timedelta) or not timedelta(0) < value <= most:
            raise InvalidInput(f"{name} must be longer than nothing and at most {_words(most)}.")
        return value

    return check


def checked_instant(name: str, value: Any) -> datetime | None:
    """An instant in UTC, far enough from the ends of every calendar it is stored and shown in."""
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None or not 2000 <= value.year <= 9000:
        raise InvalidInput(f"{name} must be a time with its offset from UTC, from 2000 to 9000.")
    return value.astimezone(UTC)


def _money(name: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal(-1)
    if isinstance(value, bool) or not amount.is_finite() or not 0 <= amount <= MOST_MONEY:
        raise InvalidInput(f"{name} must be an amount of money from 0 to {MOST_MONEY}.")
    return int(amount * MILLION) or None


def _classes(name: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple | set | frozenset) or not set(value) <= RETRYABLE:
        raise InvalidInput(f"{name} must be a list of {', '.join(sorted(RETRYABLE))}.")
    return sorted(set(value))


def _assertions(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    known = {"contains": _strings, "not_contains": _strings, "min_length": _whole(1, 1_000_000)}
    if not isinstance(value, Mapping) or value.keys() - known.keys():
        raise InvalidInput(f"{name} knows {', '.join(known)}.")
    checked = {key: known[key](f"{name}: {key}", given) for key, given in value.items()}
    return {key: given for key, given in checked.items() if given}


def _strings(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list | tuple) or len(value) > MOST_STRINGS:
        raise InvalidInput(f"{name} must be a list of up to {MOST_STRINGS} texts.")
    return [str(checked_text(one, f"Each of {name}", longest=LONGEST_STRING)) for one in value]


def _words(span: timedelta) -> str:
    return f"{span.days} days" if span.days != 1 else "one day"


CHECKS: Mapping[str, Check] = {
    "overlap": _choice(Overlap),
    "catch_up": _choice(CatchUp),
    "catch_up_window": _duration(timedelta(days=366)),
    "catch_up_max": _whole(1, 1000),
    "jitter": _duration(timedelta(days=1)),
    "starts_at": checked_instant,
    "expires_at": checked_instant,
    "max_time_ms": _whole(1, 86_400_000),
    "max_iterations": _whole(1, 100_000),
    "max_calls": _whole(1, 100_000),
    "max_tokens": _whole(1, 1_000_000_000),
    "max_cost": _money,
    "max_tokens_per_day": _whole(1, MOST_TOKENS),
    "max_cost_per_day": _money,
    "max_attempts": _whole(1, 100),
    "retry_delay": _duration(timedelta(days=1)),
    "retry_on": _classes,
    "conversation_mode": _choice(ConversationMode),
    "session_duration": _duration(timedelta(days=366)),
    "assertions": _assertions,
    "max_consecutive_failures": _whole(1, 1000),
}


def checked_policies(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The policies among these fields, as they are stored.

    Raises:
        InvalidInput: the first that cannot be used.

    """
    checked = {name: check(name, fields[name]) for name, check in CHECKS.items() if name in fields}
    return checked | _conversation(checked)


def _conversation(checked: Mapping[str, Any]) -> dict[str, Any]:
    """Mode and duration belong together: a duration means `reuse`, and `reuse` needs one."""
    mode, span = checked.get("conversation_mode"), checked.get("session_duration")
    if mode is None and "session_duration" not in checked:
        return {}
    if mode is None:
        mode = ConversationMode.REUSE.value if span else ConversationMode.NEW.value
    if (mode == ConversationMode.REUSE) != (span is not None):
        raise InvalidInput("A session_duration belongs to the conversation_mode reuse, and the other way.")
    return {"conversation_mode": mode, "session_duration": span}


def failed_assertion(assertions: Mapping[str, Any], said: str) -> str | None:
    """Which of a task's assertions an answer does not keep; None when it keeps all. Case is ignored."""
    lower = said.casefold()
    if any(wanted.casefold() not in lower for wanted in assertions.get("contains", ())):
        return "contains"
    if any(banned.casefold() in lower for banned in assertions.get("not_contains", ())):
        return "not_contains"
    return "min_length" if len(said.strip()) < assertions.get("min_length", 0) else None
