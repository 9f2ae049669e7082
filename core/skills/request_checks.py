"""The document of a request, checked when it is saved: what passes is sent as it was meant, or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from core.errors import InvalidInput
from core.outbound import Allowance, OutboundRefused, parse_place, refuse_unsendable
from core.skills.request_json import clean
from core.skills.request_templates import (
    SECRET,
    Slot,
    filled_query,
    filled_url,
    names_in,
    pieces_of,
    split_url,
)

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
BODILESS = frozenset({"GET", "HEAD"})
KEYS = ("type", "method", "url", "query", "headers", "body", "timeout", "answer")
ANSWERS = ("json", "text")
LONGEST = 64 * 1024
DEPTH = 32
HEADERS = 32
QUERY = 64
TIMEOUTS = range(100, 600_001)  # milliseconds
FORM = "application/x-www-form-urlencoded"
# What the client writes itself, and what speaks to the connection instead of the program behind it.
OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_LINE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_STAND_IN = "x"


def checked_request(
    document: Any, parameters: Mapping[str, Any] | None, allowance: Allowance | None = None
) -> dict[str, Any]:
    """A request's document as it is stored. `parameters`: the JSON schema whose properties may fill it.

    With an allowance also refused: where nothing of this installation will ever be sent.

    Raises:
        InvalidInput: in a sentence that does not repeat what was sent.

    """
    if not isinstance(document, Mapping) or document.get("type") != "request":
        raise InvalidInput('A request must be an object whose type is "request".')
    _refuse_unstorable(document)
    if not document.keys() <= set(KEYS):
        raise InvalidInput(f"A request has {', '.join(KEYS)}, and nothing else.")
    given = {name: document[name] for name in KEYS if document.get(name) is not None}
    checked = {**given, "method": _method(given.get("method", "GET"))}
    _check_url(given.get("url"), allowance)
    _check_query(given.get("query", {}))
    _check_headers(given.get("headers", {}))
    _check_body(checked)
    _check_rest(given)
    _check_names(given, frozenset((parameters or {}).get("properties") or {}))
    return checked


def content_type(headers: Mapping[str, str]) -> str | None:
    """The media type that a template's headers state, in lower case."""
    stated = [value for name, value in headers.items() if name.lower() == "content-type"]
    return stated[0].partition(";")[0].strip().lower() if stated else None


def _refuse_unstorable(document: Mapping[str, Any]) -> None:
    try:
        words = json.dumps(document, ensure_ascii=False, allow_nan=False)
        too_deep = _depth(document) > DEPTH
    except (TypeError, ValueError, RecursionError):
        raise InvalidInput("A request must be JSON.") from None
    if len(words.encode(errors="replace")) > LONGEST:
        raise InvalidInput(f"A request is at most {LONGEST} bytes of JSON.")
    if clean(words) != words or "\\u0000" in words or too_deep:
        raise InvalidInput(
            f"A request holds no NUL and no half of a surrogate pair, and nests up to {DEPTH} levels."
        )


def _depth(value: Any) -> int:
    if isinstance(value, Mapping | list):
        inner = value.values() if isinstance(value, Mapping) else value
        return 1 + max(map(_depth, inner), default=0)
    return 0


def _method(method: Any) -> str:
    if not isinstance(method, str) or method.upper() not in METHODS:
        raise InvalidInput(f"The method must be one of {', '.join(METHODS)}.")
    return method.upper()


def _check_url(url: Any, allowance: Allowance | None) -> None:
    if not isinstance(url, str):
        raise InvalidInput("A request needs a url.")
    if not _VISIBLE.fullmatch(url):
        raise InvalidInput("The url must be ASCII without spaces.")
    try:
        place = parse_place(filled_url(url, _StandIns()))
        if allowance is not None:
            refuse_unsendable(place, allowance)
    except OutboundRefused as refused:
        raise InvalidInput(str(refused)) from None


def _check_query(query: Any) -> None:
    if not isinstance(query, Mapping) or len(query) > QUERY:
        raise InvalidInput(f"The query must be an object of up to {QUERY} names.")
    if not all(isinstance(value, str | int | float) for value in query.values()):
        raise InvalidInput("A value of the query must be a text, a number or a boolean.")
    filled_query(query, _StandIns())


def _check_headers(headers: Any) -> None:
    if not isinstance(headers, Mapping) or len(headers) > HEADERS:
        raise InvalidInput(f"The headers must be an object of up to {HEADERS} names.")
    names = [name.lower() for name in headers]
    if len(set(names)) < len(names):
        raise InvalidInput("A header is named once, however its letters are written.")
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise InvalidInput("A header's name is letters, digits and dashes.")
        if name.lower() in OURS:
            raise InvalidInput(f"The header {name} is not a request's to set.")
        if not isinstance(value, str) or not _LINE.fullmatch(value):
            raise InvalidInput("A header's value must be one line of ASCII, without spaces around it.")
        if name.lower() == "content-type" and any(names_in(value)):
            raise InvalidInput("The Content-Type must be written out.")


def _check_body(checked: Mapping[str, Any]) -> None:
    body, stated = checked.get("body"), content_type(checked.get("headers", {}))
    if body is None:
        return
    if checked["method"] in BODILESS:
        raise InvalidInput("A GET or HEAD request has no body.")
    if not is_text(body):
        if stated is not None and not stated.endswith("json"):
            raise InvalidInput("A body that is no text is JSON, and so must be its Content-Type.")
    elif any(names_in(body)) and stated not in {None, "text/plain", FORM}:
        # Within any other language an argument's words could be more than words.
        raise InvalidInput(
            "Parameters fill a body of text as text/plain or as a form; JSON is written as such."
        )


def is_text(body: Any) -> bool:
    """Whether a body is sent as the text it is; one slot alone is a JSON value."""
    return isinstance(body, str) and not (len(pieces := pieces_of(body)) == 1 and isinstance(pieces[0], Slot))


def _check_rest(given: Mapping[str, Any]) -> None:
    timeout = given.get("timeout", TIMEOUTS.start)
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout not in TIMEOUTS:
        raise InvalidInput(f"The timeout must be {TIMEOUTS.start} to {TIMEOUTS[-1]} milliseconds.")
    if given.get("answer", ANSWERS[0]) not in ANSWERS:
        raise InvalidInput(f"The answer must be {' or '.join(ANSWERS)}.")


def _check_names(given: Mapping[str, Any], known: frozenset[str]) -> None:
    _, path, query = split_url(given["url"])
    elsewhere = {*names_in([path, query]), *names_in(given.get("query", {})), *names_in(given.get("body"))}
    if SECRET in elsewhere:
        raise InvalidInput("The secret is shown in a header and nowhere else.")
    in_headers = set(names_in(given.get("headers", {})))
    if not elsewhere | in_headers - {SECRET} <= known:
        raise InvalidInput("A request names only parameters that the ability has.")
    if SECRET in known and SECRET in in_headers:
        raise InvalidInput("A parameter named secret cannot be told from the secret; give it another name.")


class _StandIns(dict[str, Any]):
    """An argument for every name."""

    def get(self, _name: str, _default: Any = None) -> str:
        return _STAND_IN
