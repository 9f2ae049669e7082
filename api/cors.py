"""Cross-origin requests: a page of any origin may talk in a conversation, with the bearer token it was given.

No cookie opens anything below the API, so a foreign page can do nothing with its visitor's login; and it is
never told that it may send credentials. Pages and all other routes stay closed to other origins.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

OPEN_BELOW = ("/api/v1/conversation/", "/v1/conversation/")
METHODS = "GET, POST"
SENT = "authorization, content-type, accept, x-timezone, idempotency-key"
SHOWN = (
    "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, X-RateLimit-Limit, X-RateLimit-Remaining,"
    " X-RateLimit-Reset, Retry-After, X-Failure-Code, X-Request-Id, Idempotency-Replayed"
)
MINUTES = 10


def cross_origin_headers(scope: Scope) -> Mapping[str, str]:
    """What an answer says to a page of another origin; nothing where no origin is named or none may come."""
    if not scope["path"].startswith(OPEN_BELOW) or "origin" not in Headers(scope=scope):
        return {}
    return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": SHOWN}


def preflight(scope: Scope) -> Response | None:
    """The answer to a browser that asks whether it may ask; None when this is no such question."""
    headers = Headers(scope=scope)
    asks = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
    if not asks or not cross_origin_headers(scope):
        return None
    allowed = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": SENT,
        "Access-Control-Max-Age": str(MINUTES * 60),
    }
    return Response(status_code=204, headers=allowed)
