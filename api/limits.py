"""What a request may weigh and hold, checked before anything else reads it."""

from __future__ import annotations

import re

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer_to, error_for, is_conversations
from api.once import STREAMED
from api.strict_json import read_object
from core.errors import InvalidInput

READING = frozenset({"GET", "HEAD", "OPTIONS"})
JSON_BELOW = ("/api/", "/v1/")
FORM = "application/x-www-form-urlencoded"
# Where files come in: by link, whatever they are; and in the API, where JSON may hold a small one.
LINKED = re.compile(r"/upload/[^/]+")
UPLOAD = re.compile(r"(?:/api)?/v1/(?:conversation/[^/]+/attachment|Attachment/[^/]+|file/[^/]+|job)/upload")
MESSAGE = re.compile(r"/api/conversations/[^/]+/messages")
UPLOAD_JSON = 6_200_000  # a data URL of 4.5 MB
SPILLED = 16 * 1024 * 1024  # of a body that is too large, read so that its client hears the refusal
SPILL_TIME = 2.0  # seconds


class _Refused(Exception):
    """A body that is not let in."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RequestLimits:
    """ASGI middleware: bodies up to `max_body` bytes, however they are framed; JSON below the API.

    What is sent to the conversations API is handed on unread: who is refused is not told of its faults.
    Below the API otherwise an empty body, whatever its type, is handed on as `{}`: the SDKs send both. A
    file is handed on as it comes, unread: whoever takes it in counts its bytes.
    """

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        self.app = app
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READING:
            await self.app(scope, receive, send)
            return
        try:
            if _is_file(scope):
                _refuse_compressed(Headers(scope=scope))
                await self.app({**scope, STREAMED: True}, receive, _closing_when_refused(send))
                return
            body = await self._checked_body(scope, receive)
        except _Refused as refusal:
            if refusal.status == 413:
                await _spill(Headers(scope=scope), receive)
            # What is left of the body is not read, so the connection cannot serve another request.
            closing = {"Connection": "close"}
            await error_for(scope, refusal.status, str(refusal), None, closing)(scope, receive, send)
        except InvalidInput as error:
            status, message, code, headers = answer_to(error)
            await error_for(scope, status, message, code, headers)(scope, receive, send)
        else:
            if (
                scope["path"].startswith(JSON_BELOW)
                and not body.strip()
                and not is_conversations(scope["path"])
            ):
                scope, body = _with_json_type(scope), b"{}"
            await self.app(scope, _replay(body, receive), send)

    async def _checked_body(self, scope: Scope, receive: Receive) -> bytes:
        headers = Headers(scope=scope)
        _refuse_compressed(headers)
        holds_file = UPLOAD.fullmatch(scope["path"]) or MESSAGE.fullmatch(scope["path"])
        most = max(self.max_body, UPLOAD_JSON) if holds_file else self.max_body
        body = await _bounded(headers, receive, most)
        if is_conversations(scope["path"]):
            return body
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["path"].startswith(JSON_BELOW):
            if body.strip() and kind != "application/json":
                raise _Refused(415, "The body must be JSON, with content-type application/json.")
            read_object(body)
        elif body and kind != FORM:
            raise _Refused(415, f"The body must be a form, with content-type {FORM}.")
        return body


def _is_file(scope: Scope) -> bool:
    """Whether the body is a file, to be streamed: raw or in a form, not JSON and not empty."""
    if LINKED.fullmatch(scope["path"]):
        return True
    headers = Headers(scope=scope)
    empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return bool(UPLOAD.fullmatch(scope["path"])) and not empty and kind != "application/json"


def _refuse_compressed(headers: Headers) -> None:
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise _Refused(415, "Compressed bodies are not read; send the body as it is.")


async def _bounded(headers: Headers, receive: Receive, most: int) -> bytes:
    declared = headers.get("content-length", "")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > most):
        raise _too_large(most)
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(400, "The body broke off.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


async def _spill(headers: Headers, receive: Receive) -> None:
    """Reads a little more of a refused body and forgets it.

    A connection that is closed while its client still writes is reset, and the client, which has read
    nothing yet, never learns why. One that asks before it sends (`Expect`) is told at once, and one that
    has far more to say is cut short.
    """
    declared = headers.get("content-length", "")
    if "expect" in headers or (declared.isdigit() and (len(declared) > 18 or int(declared) > SPILLED)):
        return
    left = SPILLED
    with anyio.move_on_after(SPILL_TIME):
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body"):
                return


def _too_large(most: int) -> _Refused:
    return _Refused(413, f"The body is larger than {most} bytes.")


def _closing_when_refused(send: Send) -> Send:
    """What is left of a refused file is not read, so the connection cannot serve another request."""

    async def forward(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            MutableHeaders(scope=message)["Connection"] = "close"
        await send(message)

    return forward


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
