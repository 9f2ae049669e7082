"""What an OpenAI-compatible server's refusal means: status, body and Retry-After become one ModelError.

The words are those of OpenAI, Azure, vLLM, Ollama, LiteLLM, OpenRouter, llama.cpp, and of Anthropic, Gemini,
Groq and Mistral behind doors of that kind (tests/unit/test_chat_failures.py has answers of each). Many say it
in the message alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Kind:
    """One thing that servers say: its codes, parts of its messages, and the error it is."""

    error: Callable[[], ModelError]
    codes: frozenset[str]
    words: tuple[str, ...] = ()


# The first that fits counts: what a text is refused for comes before what may pass by itself.
_KINDS = (
    _Kind(
        lambda: ContextTooLong("context_length"),
        frozenset(
            {
                *("context_length_exceeded", "exceed_context_size_error", "request_too_large"),
                *("context_window_exceeded", "model_context_window_exceeded", "contextwindowexceedederror"),
            }
        ),
        (
            *("maximum context length", "context size", "context window", "prompt is too long"),
            *("contextwindowexceeded", "exceeds the context length", "maximum model length"),
            *("exceeds the maximum number of tokens", "reduce the length of", "tokens must be reduced"),
            *("reduce your message size", "input is too long", "max_new_tokens` must be"),
        ),
    ),
    _Kind(
        lambda: ModelRefused("content_filter"),
        frozenset(
            {
                *("content_filter", "content_policy_violation", "responsibleaipolicyviolation"),
                *(
                    "contentpolicyviolationerror",
                    "invalid_prompt",
                    "moderation_blocked",
                    "data_inspection_failed",
                ),
            }
        ),
        (
            *("content management policy", "contentpolicyviolation", "violating our usage policy"),
            *("input was flagged", "flagged by", "blocked by content filter"),
        ),
    ),
    # Waiting brings no money: not retried, an operator has to act.
    _Kind(
        lambda: ModelQuota("no_credit", retryable=False),
        frozenset(
            {
                *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error"),
                *(
                    "budget_exceeded",
                    "insufficient_credits",
                    "insufficient_balance",
                    "payment_required",
                    "402",
                ),
            }
        ),
        (
            *("insufficient credits", "insufficient balance", "credit balance is too low"),
            *("budget has been exceeded", "exceededbudget", "requires more credits"),
        ),
    ),
    _Kind(
        lambda: ModelMisconfigured("no_tools"),
        frozenset(),
        (
            *("does not support tools", "support tool use", "does not support function calling"),
            *('auto" tool choice requires', "tool calling is not supported", "tools are not supported"),
        ),
    ),
    _Kind(
        lambda: ModelMisconfigured("no_images"),
        frozenset(),
        (
            *("support image input", "does not support images", "is not a multimodal model"),
            *("image input is not supported", "does not support image", "mmproj"),
        ),
    ),
    _Kind(
        lambda: ModelMisconfigured("model_not_found"),
        frozenset(
            {
                *("model_not_found", "deploymentnotfound", "model_decommissioned", "model_not_available"),
                *("notfounderror", "not_found_error", "key_model_access_denied", "invalid_model"),
            }
        ),
        (
            *("try pulling it", "invalid model name", "is not a valid model", "no endpoints found for"),
            "model does not exist",
        ),
    ),
    _Kind(
        lambda: ModelMisconfigured("api_key"),
        frozenset(
            {
                *("invalid_api_key", "authentication_error", "auth_error", "invalid_authentication"),
                *("unauthenticated", "token_not_found_in_db"),
            }
        ),
        (
            *("incorrect api key", "invalid api key", "api key not valid", "invalid subscription key"),
            *("no auth credentials", "no cookie auth credentials"),
        ),
    ),
    _Kind(
        lambda: ModelQuota("rate_limit"),
        frozenset(
            {
                *("rate_limit_exceeded", "rate_limit_error", "too_many_requests", "429", "ratelimitreached"),
                *("ratelimiterror", "throttling_error", "resource_exhausted", "rate_limited"),
            }
        ),
        ("ratelimiterror:",),
    ),
    # A model that made nonsense of a call, or is not there yet: the next try may find it well.
    _Kind(lambda: ModelUnavailable("tool_use_failed"), frozenset({"tool_use_failed"})),
    _Kind(
        lambda: ModelUnavailable("overloaded"),
        frozenset({"overloaded_error", "unavailable_error", "engine_overloaded", "server_overloaded"}),
        ("loading model", "currently loading", "maximum pending requests"),
    ),
)
# Request timeout, conflict and "too early" pass by themselves, as every 5xx does.
_PASSING_STATUSES = {408, 409, 425}
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
_STATUS = re.compile(r"[45][0-9]{2}")
_READ = 2000  # characters of a message


def failure_from_status(status: int, content: bytes, retry_after: timedelta | None) -> ModelError:
    """The error behind a status other than 200; `content` may be anything."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    known = _known(body, retry_after)
    if known is not None and (400 <= status < 500 or isinstance(known, ContextTooLong)):
        return known
    return _by_status(status, retry_after)


def _by_status(status: int, retry_after: timedelta | None = None) -> ModelError:
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
    """The error that an answer with status 200 holds in place of a completion, or in its midst; or None.

    A code that is a status means what the status would have meant.
    """
    if not body.get("error") and body.get("object") != "error":
        return None
    known = _known(body, None)
    if known is not None:
        return known
    statuses = sorted(code for code in _said(body)[0] if _STATUS.fullmatch(code) and code < "500")
    return _by_status(int(statuses[0])) if statuses else ModelUnavailable("error_body")


def _known(body: object, retry_after: timedelta | None) -> ModelError | None:
    codes, message = _said(body)
    for kind in _KINDS:
        if codes & kind.codes or any(words in message for words in kind.words):
            error = kind.error()
            if error.retryable:
                error.retry_after = retry_after
            return error
    return None


def _said(body: object) -> tuple[set[str], str]:
    """The codes and the message of an error body, in lower case; the message is matched, never kept.

    Gateways wrap: Gemini sends a list of one, FastAPI a `detail`, OpenRouter its provider's words in
    `metadata`.
    """
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error") or body.get("detail") or body if isinstance(body, dict) else None
    if isinstance(error, str):
        return set(), error[:_READ].lower()
    if not isinstance(error, dict):
        return set(), ""
    codes = {str(error[key])[:100].lower() for key in ("code", "type", "status") if error.get(key)}
    messages = [error.get("message")]
    for place in ("metadata", "innererror"):
        inner = error.get(place)
        if isinstance(inner, dict):
            messages += [inner.get("raw"), inner.get("code")]
    return codes, " ".join(str(words)[:_READ] for words in messages if words).lower()


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
