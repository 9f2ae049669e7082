"""Cross-origin requests: a page may talk in a conversation, with the bearer token it was given.

In ChatBotKit's dialect a page of any origin may, as its widgets do; in General Bots', where a contact's token
opens all its conversations, one of an origin that the operator lists (`CRONTALK_ORIGINS`).
No cookie opens anything below the API, so a foreign page can do nothing with its visitor's login; and none is
ever told that it may send credentials. Pages and all other routes stay closed to other origins.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

OPEN_BELOW = ("/api/v1/conversation/", "/v1/conversation/")
LISTED = "/api/conversations"
METHODS = "GET, POST"
METHODS_LISTED = "GET, POST, PATCH"
SENT = "authorization, content-type, accept, x-timezone, idempotency-key"
SHOWN = (
    "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, X-RateLimit-Limit, X-RateLimit-Remaining,"
    " X-RateLimit-Reset, Retry-After, X-Failure-Code, X-Request-Id, Idempotency-Replayed"
)
MINUTES = 10


def cross_origin_headers(scope: Scope) -> Mapping[str, str]:
    """What an answer says to a page of another origin; nothing where no origin is named or none may come."""
    if _is_listed(scope):
        vary, allowed = {"Vary": "Origin"}, _allowed(scope)
    else:
        vary, allowed = {}, "*" if scope["path"].startswith(OPEN_BELOW) else None
    origin = Headers(scope=scope).get("origin")
    if origin is None or allowed is None:
        return vary
    return {**vary, "Access-Control-Allow-Origin": allowed, "Access-Control-Expose-Headers": SHOWN}


def preflight(scope: Scope) -> Response | None:
    """The answer to a browser that asks whether it may ask; None when this is no such question."""
    headers = Headers(scope=scope)
    asks = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
    if not asks or "Access-Control-Allow-Origin" not in cross_origin_headers(scope):
        return None
    allowed = {
        "Access-Control-Allow-Methods": METHODS_LISTED if _is_listed(scope) else METHODS,
        "Access-Control-Allow-Headers": SENT,
        "Access-Control-Max-Age": str(MINUTES * 60),
    }
    return Response(status_code=204, headers=allowed)


def _is_listed(scope: Scope) -> bool:
    path: str = scope["path"]
    return path == LISTED or path.startswith(f"{LISTED}/")


def _allowed(scope: Scope) -> str | None:
    """The origin that asks, if the operator lists it."""
    listed = scope["app"].state.context.settings.origins.split(",")
    origin = Headers(scope=scope).get("origin")
    return "*" if "*" in listed else origin if origin and origin in listed else None
