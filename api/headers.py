"""The outermost layer: strict headers and a request id on every answer, and no exception leaves it."""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.cors import cross_origin_headers, preflight
from api.errors import UNFORESEEN, error_for
from api.pace import Told, told

log = structlog.get_logger()

API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


class StrictAnswers:
    """ASGI middleware. An exception becomes a 500 that says nothing, logged by its class alone.

    Its text may hold row contents, and a server that sees the exception would log it with its traceback.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = str(uuid.uuid4())
        scope["told"] = Told()
        started = False

        async def send_strictly(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _set_headers(MutableHeaders(scope=message), scope, request_id)
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await (preflight(scope) or self.app)(scope, receive, send_strictly)
            except Exception as error:  # noqa: BLE001 (the last line of defence)
                log.error("request_failed", error=type(error).__name__, where=_where(error))
                if started:
                    raise RuntimeError("the answer broke off") from None
                await error_for(scope, 500, UNFORESEEN)(scope, receive, send_strictly)


def _set_headers(headers: MutableHeaders, scope: Scope, request_id: str) -> None:
    page = headers.get("content-type", "").startswith("text/html")
    headers["Content-Security-Policy"] = PAGE_POLICY if page else API_POLICY
    # Under no-referrer a browser sends `Origin: null` with our own forms, and outside of https and
    # localhost nothing else tells them from another site's (Fetch standard, "append a request Origin").
    headers["Referrer-Policy"] = "same-origin" if page else "no-referrer"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if not (scope["path"].startswith("/assets/") and "cache-control" in headers):
        headers["Cache-Control"] = "no-store"
    headers["X-Request-Id"] = request_id
    headers.update({**told(scope).headers, **cross_origin_headers(scope)})
    if scope.get("scheme") == "https":
        headers["Strict-Transport-Security"] = "max-age=31536000"


def _where(error: BaseException) -> str:
    """The innermost place in code: file and line, no values."""
    trace: Any = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else "unknown"
