"""What a request may weigh and hold, checked before anything else reads it."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer_to, error_answer
from api.strict_json import read_object
from core.errors import InvalidInput

READING = frozenset({"GET", "HEAD", "OPTIONS"})
JSON_BELOW = ("/api/", "/v1/")
FORM = "application/x-www-form-urlencoded"


class _Refused(Exception):
    """A body that is not let in."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RequestLimits:
    """ASGI middleware: bodies up to `max_body` bytes, however they are framed; JSON below the API.

    Below the API an empty body, whatever its type, is handed on as `{}`: the SDKs send both.
    """

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        self.app = app
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READING:
            await self.app(scope, receive, send)
            return
        try:
            body = await self._checked_body(scope, receive)
        except _Refused as refusal:
            # What is left of the body is not read, so the connection cannot serve another request.
            closing = {"Connection": "close"}
            await error_answer(refusal.status, str(refusal), None, closing)(scope, receive, send)
        except InvalidInput as error:
            status, message, code, headers = answer_to(error)
            await error_answer(status, message, code, headers)(scope, receive, send)
        else:
            if scope["path"].startswith(JSON_BELOW) and not body.strip():
                scope, body = _with_json_type(scope), b"{}"
            await self.app(scope, _replay(body, receive), send)

    async def _checked_body(self, scope: Scope, receive: Receive) -> bytes:
        headers = Headers(scope=scope)
        if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise _Refused(415, "Compressed bodies are not read; send the body as it is.")
        body = await self._bounded(headers, receive)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["path"].startswith(JSON_BELOW):
            if body.strip() and kind != "application/json":
                raise _Refused(415, "The body must be JSON, with content-type application/json.")
            read_object(body)
        elif body and kind != FORM:
            raise _Refused(415, f"The body must be a form, with content-type {FORM}.")
        return body

    async def _bounded(self, headers: Headers, receive: Receive) -> bytes:
        declared = headers.get("content-length", "")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > self.max_body):
            raise self._too_large()
        chunks, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refused(400, "The body broke off.")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self.max_body:
                raise self._too_large()
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)

    def _too_large(self) -> _Refused:
        return _Refused(413, f"The body is larger than {self.max_body} bytes.")


def _with_json_type(scope: Scope) -> Scope:
    others = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-type"]
    return {**scope, "headers": [*others, (b"content-type", b"application/json")]}


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hands the body on in one piece, then the client's own messages."""
    handed_on = False

    async def next_message() -> Message:
        nonlocal handed_on
        if handed_on:
            return await receive()
        handed_on = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message
