"""How the dialect answers: in which form, and the documented shape of it (contract sections 1.4 and 1.5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from api.errors import ErrorAnswer
from api.once import Rebuild
from core.errors import InvalidInput

JSON = "application/json"
JSONL = "application/jsonl"
EVENTS = "text/event-stream"
CSV = "text/csv"
# What a caller may write for each form; anything else names no form of ours.
RANGES = {
    "": JSON,
    "*/*": JSON,
    "application/*": JSON,
    JSON: JSON,
    JSONL: JSONL,
    "application/x-ndjson": JSONL,
    EVENTS: EVENTS,
    CSV: CSV,
}
SAID = {
    400: "The request cannot be accepted; the message says why.",
    401: "No valid token.",
    403: "Another account's, or out of the token's scope.",
    404: "There is no such thing.",
    408: "It took too long; what was stored stays, and the work goes on.",
    409: "Not in this state.",
    413: "Too large.",
    415: "Not JSON.",
    422: "The Idempotency-Key was used for another request; or the work was done and failed.",
    429: "Too fast or too much; come back after Retry-After.",
    500: "A fault of ours.",
    503: "Come back after Retry-After; nothing was stored.",
}
# What FastAPI is told; api/openapi.py says which of them an operation has.
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": words} for status, words in SAID.items()
}
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def answers_in(*forms: str) -> Callable[[Endpoint], Endpoint]:
    """Declares the forms an endpoint can answer in beside JSON."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.forms = frozenset({JSON, *forms})  # type: ignore[attr-defined]
        return endpoint

    return mark


def takes_session_tokens(endpoint: Endpoint) -> Endpoint:
    """Declares that the token of a session opens an endpoint, for the session's own conversation."""
    endpoint.takes_session_tokens = True  # type: ignore[attr-defined]
    return endpoint


def also_answers(*statuses: int) -> Callable[[Endpoint], Endpoint]:
    """Declares the statuses an endpoint may answer beside those that follow from its method and its ids."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.also_answers = frozenset(statuses)  # type: ignore[attr-defined]
        return endpoint

    return mark


def replays(rebuild: Rebuild) -> Callable[[Endpoint], Endpoint]:
    """Declares how an endpoint's answer is told again under its Idempotency-Key, when ids do not suffice.

    `rebuild(session, replay)` answers the document from `replay.result`, which holds the ids, numbers and
    booleans of the first answer where they stood, and from `replay.body`, which is what was sent, again.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.rebuild = rebuild  # type: ignore[attr-defined]
        return endpoint

    return mark


def form_of(request: Request) -> str:
    """The form the caller asks for, of those the endpoint has: the first one named, JSON when none is.

    Raises:
        InvalidInput: it has none of them; 400, as the contract says.

    """
    forms = getattr(request.scope.get("endpoint"), "forms", frozenset({JSON}))
    for wanted in request.headers.get("accept", "*/*").split(","):
        form = RANGES.get(wanted.partition(";")[0].strip().lower())
        if form in forms:
            return str(form)
    raise InvalidInput(f"This address answers in {', '.join(sorted(forms))} only.")


async def serves(request: Request) -> None:
    """Refuses callers who accept no form of the endpoint's, before anything is done."""
    form_of(request)


def returns(shape: Any, *forms: str) -> dict[int | str, dict[str, Any]]:
    """The documented answer of a route. Documents are built by us, so answers are not checked again."""
    also = {form: {"schema": {"type": "string"}} for form in forms}
    return {200: {"model": shape, "description": "Done.", **({"content": also} if also else {})}}


def follows(shape: Any) -> dict[int | str, dict[str, Any]]:
    """The documented answer of a stream that is followed; asked for in JSON, what it begins with."""
    documented = returns(shape, JSONL)
    documented[200]["content"][JSONL]["schema"] = {"type": "object", "description": "One event a line."}
    return documented


def answer(document: Mapping[str, Any]) -> JSONResponse:
    return JSONResponse(document)


def event_line(kind: str, data: Any, **more: Any) -> bytes:
    """One event of a stream. ASCII only: the Node SDK decodes every chunk of bytes by itself."""
    return json.dumps({"type": kind, "data": data, **more}, separators=(",", ":")).encode() + b"\n"


def server_event(kind: str, data: Any) -> bytes:
    """The same for `text/event-stream`."""
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


class Told(Response):
    """A result that is there at once, as a stream of one event."""

    def __init__(self, document: Mapping[str, Any], form: str) -> None:
        write = event_line if form == JSONL else server_event
        super().__init__(write("result", document), media_type=form)
        self.document = document


def in_form(form: str, document: Mapping[str, Any]) -> Response:
    """A result that is there at once, in the form that was asked for."""
    return JSONResponse(document) if form == JSON else Told(document, form)
