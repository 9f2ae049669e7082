"""Requests: an ability's template filled with arguments and sent to one place, and what came back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin

from core.outbound import (
    Allowance,
    Answer,
    OutboundBroken,
    OutboundError,
    OutboundRefused,
    OutboundTimeout,
    OutboundUnreachable,
    Place,
    parse_place,
    request,
)
from core.secrets import SecretValue
from core.skills.request_answers import answer_document
from core.skills.request_checks import BODILESS, FORM, checked_request, content_type, is_text
from core.skills.request_json import compact, storable
from core.skills.request_templates import (
    ABSENT,
    SECRET,
    bad_argument,
    filled_header,
    filled_query,
    filled_text,
    filled_url,
    filled_value,
    names_in,
)
from core.skills.skill import SkillFailed

__all__ = ["call_request", "checked_request"]

MOST_READ = 1024 * 1024
MOST_REDIRECTS = 3
NOT_MODIFIED = 304
KEEPS_METHOD = frozenset({307, 308})
REDIRECTS = KEEPS_METHOD | {301, 302, 303}
_LOCATION = re.compile(r"[\x21-\x7e]+")
_RETRYABLE = (OutboundTimeout, OutboundUnreachable, OutboundBroken)
# What a request that got no answer is to the model; by the error's code, or by its kind.
_FAILURES: dict[str | type[OutboundError], tuple[str, str]] = {
    "header": ("argument", "An argument cannot stand in a header."),
    "too_large": ("argument", "The request is too large to be sent."),
    "tls": ("tls", "The server could not prove who it is."),
    "encoded": ("encoded", "The answer is compressed, and nobody asked for that."),
    "answer_too_large": ("too_large", "The answer is too large to be read."),
    OutboundRefused: ("refused", "The request's address is not one that may be called."),
    OutboundUnreachable: ("connect", "The server cannot be reached."),
    OutboundTimeout: ("timeout", "The server took too long."),
    OutboundBroken: ("broken", "The server gave no proper answer."),
}
_LASTING = frozenset({"argument", "tls", "encoded", "too_large", "refused"})


@dataclass(frozen=True)
class _Filled:
    """A request as it is sent."""

    method: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def call_request(
    allowance: Allowance,
    document: Mapping[str, Any],
    arguments: Mapping[str, Any],
    secret: SecretValue | None,
    *,
    key: str,
    within: timedelta,
    wanted: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Sends a checked request, filled with arguments, under an Idempotency-Key, and answers what came back.

    `{"status": 200, "body": JSON or text}`, with `truncated` where the body was cut; it can be stored, and
    does not say the secret again. 4xx is an answer. `wanted` is asked at least twice a second; what it
    raises ends the request.

    Raises:
        SkillFailed: it was not sent, or there is no answer: argument, no_secret, refused, redirect, connect,
            tls, timeout, broken, encoded, too_large, not_json, http_5xx; without a word of either.
        Whatever `wanted` raises.

    """
    filled = _filled(document, storable(arguments), secret)
    filled.headers["Idempotency-Key"] = key
    if "timeout" in document:
        within = min(within, timedelta(milliseconds=document["timeout"]))
    options = {"allowance": allowance, "body_limit": MOST_READ, **({"wanted": wanted} if wanted else {})}
    try:
        answer = _sent(filled, within, options)
    except OutboundError as error:
        raise _failure(error) from None
    if answer.status >= 500:
        sentence = f"The server failed with status {answer.status}."
        raise SkillFailed(f"http_{answer.status}", sentence, retryable=True)
    return answer_document(answer, document.get("answer"), secret)


def _filled(document: Mapping[str, Any], arguments: Mapping[str, Any], secret: SecretValue | None) -> _Filled:
    url = filled_url(document["url"], arguments)
    query = filled_query(document.get("query", {}), arguments)
    if query:
        url += ("&" if "?" in url else "?") + query
    kind, body = _filled_body(document, arguments)
    headers = _filled_headers(document, arguments, secret)
    if kind is not None and content_type(headers) is None:
        headers["Content-Type"] = kind
    return _Filled(document["method"], url, headers, body)


def _filled_headers(
    document: Mapping[str, Any], arguments: Mapping[str, Any], secret: SecretValue | None
) -> dict[str, str]:
    templates: Mapping[str, str] = document.get("headers", {})
    headers = {}
    for name, template in templates.items():
        value = filled_header(template, arguments, secret.shown if secret else None)
        if value is not None:
            headers[name] = value
    shown = SECRET in names_in(list(templates.values()))
    stated = any(name.lower() == "authorization" for name in templates)
    if secret is not None and secret.authorization is not None and not shown and not stated:
        headers["Authorization"] = secret.authorization
    return headers


def _filled_body(document: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[str | None, bytes]:
    """The Content-Type of the body, unless the headers state another, and its bytes."""
    template = document.get("body")
    if template is None:
        return None, b""
    if is_text(template):
        is_form = content_type(document.get("headers", {})) == FORM
        return "text/plain; charset=utf-8", filled_text(template, arguments, encoded=is_form).encode()
    value = filled_value(template, arguments)
    return (None, b"") if value is ABSENT else ("application/json", compact(value).encode())


def _sent(filled: _Filled, within: timedelta, options: Mapping[str, Any]) -> Answer:
    """The answer at the end of its redirects; each stays where the request was sent, and is judged anew."""
    end = time.monotonic() + within.total_seconds()
    url = filled.url
    first = _place(url)
    for _ in range(MOST_REDIRECTS + 1):
        answer = request(
            filled.method,
            url,
            body=filled.body,
            headers=filled.headers,
            within=timedelta(seconds=end - time.monotonic()),
            **options,
        )
        if answer.error_code != "redirect" or answer.status == NOT_MODIFIED:
            return answer
        url = _followed(filled.method, url, first, answer)
    raise _redirected()


def _place(url: str) -> Place:
    try:
        return parse_place(url)
    except OutboundRefused:
        raise bad_argument("With these arguments the request has no proper address.") from None


def _followed(method: str, url: str, first: Place, answer: Answer) -> str:
    location = answer.headers.get("location", "")
    allowed = REDIRECTS if method in BODILESS else KEEPS_METHOD
    if answer.status not in allowed or not _LOCATION.fullmatch(location):
        raise _redirected()
    try:
        target = urljoin(url, location).partition("#")[0]
        place = parse_place(target)
    except (ValueError, OutboundRefused):
        raise _redirected() from None
    if (place.scheme, place.host, place.port) != (first.scheme, first.host, first.port):
        raise _redirected()
    return target


def _redirected() -> SkillFailed:
    return SkillFailed("redirect", "The server sent the request elsewhere, where it is not to go.")


def _failure(error: OutboundError) -> SkillFailed:
    code, sentence = _FAILURES.get(error.code) or _FAILURES[type(error)]
    return SkillFailed(code, sentence, retryable=code not in _LASTING)
