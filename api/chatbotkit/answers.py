"""How the dialect answers: plain JSON, the documented shape of it, and which Accept it can serve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from api.errors import ErrorAnswer
from core.errors import InvalidInput

JSON_RANGES = frozenset({"", "*/*", "application/*", "application/json"})
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "model": ErrorAnswer,
        "description": "400 not acceptable, 401 no valid token, 403 another account's, 404 unknown,"
        " 405 wrong method, 409 not in this state, 413 too large, 415 not JSON, 429 too fast.",
    },
    "5XX": {"model": ErrorAnswer, "description": "503 come back after Retry-After; nothing was stored."},
}


def returns(shape: Any) -> dict[int | str, dict[str, Any]]:
    """The documented answer of a route. Documents are built by us, so answers are not checked again."""
    return {200: {"model": shape, "description": "Done."}}


def answer(document: Mapping[str, Any]) -> JSONResponse:
    return JSONResponse(document)


def takes_json(request: Request) -> None:
    """Refuses callers who accept no JSON: nothing here answers in another form.

    Raises:
        InvalidInput: as the contract says (section 1.5), 400.

    """
    ranges = request.headers.get("accept", "*/*").split(",")
    if JSON_RANGES.isdisjoint(one.partition(";")[0].strip().lower() for one in ranges):
        raise InvalidInput("This address answers in application/json only.")
