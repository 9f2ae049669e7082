"""Errors as answers: our tree, the framework's own and what nobody foresaw, in the dialect's one shape.

The shape is `{message, code}` (ChatBotKit's contract, section 1.7), and `{error, message}` for the
conversations API. No answer and no log line repeats what was sent.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.dashboard.errors import error_page, wants_page
from core.blobs import TooLarge
from core.errors import (
    Conflict,
    Contended,
    CrontalkError,
    InvalidInput,
    KeyReused,
    LimitReached,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    PrivacyFailed,
    Unavailable,
)

log = structlog.get_logger()

# The first class an error is an instance of decides.
ANSWERS: tuple[tuple[type[CrontalkError], int, str], ...] = (
    (TooLarge, 413, "CONTENT_TOO_LARGE"),
    (InvalidInput, 400, "BAD_REQUEST"),
    (NotAuthenticated, 401, "NOT_AUTHENTICATED"),
    (NotAuthorized, 403, "NOT_AUTHORIZED"),
    (NotFound, 404, "NOT_FOUND"),
    (Conflict, 409, "CONFLICT"),
    (KeyReused, 422, "UNPROCESSABLE_ENTITY"),
    (LimitReached, 429, "LIMITS_REACHED"),
    (PrivacyFailed, 503, "SERVICE_UNAVAILABLE"),
    (Unavailable, 503, "SERVICE_UNAVAILABLE"),
)
CODES = {status: code for _, status, code in ANSWERS} | {
    405: "METHOD_NOT_ALLOWED",
    408: "TIMEOUT",
    415: "UNSUPPORTED_MEDIA_TYPE",
    500: "INTERNAL_SERVER_ERROR",
}
# The same below the conversations API, by the names of its own contract (section 2.2).
CONVERSATIONS = "/api/conversations"
NAMES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    422: "key_reused",
    429: "rate_limited",
    503: "unavailable",
}
UNFORESEEN = "Something went wrong here; the log has the details under the request id."
RETRY_AFTER = 1


class ErrorAnswer(BaseModel):
    """Every answer that is not 200."""

    message: str = Field(description="A sentence for people.")
    code: str = Field(description=f"One of {', '.join(CODES.values())}.")


def error_answer(
    status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    return JSONResponse(
        {"message": message, "code": code or CODES.get(status, f"ERROR_{status}")}, status, headers
    )


def is_conversations(path: str) -> bool:
    """Whether an address is of the conversations API."""
    return path == CONVERSATIONS or path.startswith(f"{CONVERSATIONS}/")


def error_name(method: str, status: int) -> str:
    """What the conversations API calls a status."""
    if status in {400, 415}:
        return "invalid_message" if method == "POST" else "invalid_request"
    return NAMES.get(status, "internal_error")


def error_for(
    scope: MutableMapping[str, Any],
    status: int,
    message: str,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """An error in the shape of the dialect that was spoken to."""
    if not is_conversations(scope["path"]):
        return error_answer(status, message, code, headers)
    kept = {name: value for name, value in (headers or {}).items() if name != "X-Failure-Code"}
    return JSONResponse({"error": error_name(scope["method"], status), "message": message}, status, kept)


def answer_to(error: CrontalkError) -> tuple[int, str, str, dict[str, str]]:
    """Status, sentence, code and headers of an error of our tree."""
    for kind, status, code in ANSWERS:
        if isinstance(error, kind):
            return status, str(error), code, _headers(error, code)
    return 500, UNFORESEEN, "INTERNAL_SERVER_ERROR", {}


def _headers(error: CrontalkError, code: str) -> dict[str, str]:
    if isinstance(error, NotAuthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, NotAuthorized):
        return {"X-Failure-Code": code}
    if isinstance(error, LimitReached):
        wait = error.retry_after.total_seconds() if error.retry_after else RETRY_AFTER
        return {"X-Failure-Code": code, "Retry-After": str(max(RETRY_AFTER, math.ceil(wait)))}
    if isinstance(error, Unavailable):
        return {"Retry-After": str(RETRY_AFTER)}
    return {}


def install(app: FastAPI) -> None:
    """Maps the tree once for the whole app."""
    app.add_exception_handler(CrontalkError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _frameworks)


def _answer(
    request: Request, status: int, message: str, code: str | None, headers: dict[str, str]
) -> Response:
    if wants_page(request):
        return error_page(status, message, headers)
    return error_for(request.scope, status, message, code, headers)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, CrontalkError)  # noqa: S101 (installed for this class)
    request.scope["state"]["contended"] = isinstance(error, Contended)
    if isinstance(error, Unavailable):
        log.warning("unavailable", error=type(error.__cause__ or error).__name__)
    status, message, code, headers = answer_to(error)
    return _answer(request, status, message, code, headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (as above)
    return _answer(request, 400, "; ".join(map(_sentence, error.errors())), None, {})


def _sentence(fault: dict[str, Any]) -> str:
    """Where and why, without pydantic's `input` and `ctx`, which hold what was sent."""
    place = ".".join(str(part) for part in fault["loc"] if part not in {"body", "query", "path"})
    return f"{place or 'body'}: {fault['msg']}"


async def _frameworks(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (as above)
    words = {404: "There is nothing at this address.", 405: "This address does not take this method."}
    message = words.get(error.status_code, f"{HTTPStatus(error.status_code).phrase}.")
    return _answer(request, error.status_code, message, None, dict(error.headers or {}))
