"""What an OpenAI-compatible server's refusal means: status, body and Retry-After become one ModelError."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from core.chat.provider import (
    ContextTooLong,
    ModelError,
    ModelMisconfigured,
    ModelQuota,
    ModelRefused,
    ModelUnavailable,
)

_TOO_LONG_CODES = {"context_length_exceeded", "exceed_context_size_error", "request_too_large"}
# vLLM, llama.cpp and others say it in the message only.
_TOO_LONG_WORDS = ("maximum context length", "context size", "context window", "prompt is too long")
_FILTER_CODES = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}
# Waiting brings no money: not retried, an operator has to act.
_NO_CREDIT_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_RATE_CODES = {"rate_limit_exceeded", "rate_limit_error", "too_many_requests", "429"}
# Request timeout, conflict and "too early" pass by themselves, as every 5xx does.
_PASSING_STATUSES = {408, 409, 425}
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")


def failure_from_status(status: int, content: bytes, retry_after: timedelta | None) -> ModelError:
    """The error behind a status other than 200; `content` may be anything."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    known = _known(body, retry_after)
    if known is not None and 400 <= status < 500:
        return known
    code = f"http_{status}"
    if status == 429:
        return ModelQuota(code, retry_after=retry_after)
    if status == 402:
        return ModelQuota(code, retryable=False)
    if status == 413:
        return ContextTooLong(code)
    if status >= 500 or status in _PASSING_STATUSES:
        return ModelUnavailable(code, retry_after=retry_after)
    return ModelMisconfigured(code)


def failure_from_body(body: dict[str, Any]) -> ModelError | None:
    """The error that an answer with status 200 holds in place of a completion, or None."""
    if not body.get("error") and body.get("object") != "error":
        return None
    return _known(body, None) or ModelUnavailable("error_body")


def _known(body: object, retry_after: timedelta | None) -> ModelError | None:
    codes, message = _said(body)
    if codes & _TOO_LONG_CODES or any(words in message for words in _TOO_LONG_WORDS):
        return ContextTooLong("context_length")
    if codes & _FILTER_CODES:
        return ModelRefused("content_filter")
    if codes & _NO_CREDIT_CODES:
        return ModelQuota("no_credit", retryable=False)
    if codes & _RATE_CODES:
        return ModelQuota("rate_limit", retry_after=retry_after)
    return None


def _said(body: object) -> tuple[set[str], str]:
    """The codes and the message of an error body, in lower case; the message is matched, never kept."""
    error = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(error, str):
        return set(), error[:2000].lower()
    if not isinstance(error, dict):
        return set(), ""
    codes = {str(error[key])[:100].lower() for key in ("code", "type", "status") if error.get(key)}
    return codes, str(error.get("message", ""))[:2000].lower()


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """How long a Retry-After header asks to wait: seconds or an HTTP date; None when it is neither.

    A date that has passed means no wait. Absurd values stay as they are, up to what a timedelta holds.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        try:
            return timedelta(seconds=float(text))
        except OverflowError:
            return timedelta.max
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(timedelta(0), moment - now)
