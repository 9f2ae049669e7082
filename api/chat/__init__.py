"""The chat page: the WebSocket as people see it, on its own or in a frame of another page.

It is the same for everybody: which bot, and with which token, its script reads from its address, of which
the part that may hold a token never leaves the browser. What people and bots say is shown as text alone.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from api.auth import context_of
from api.dashboard.assets import PLACES
from api.generalbots.origins import ancestors
from api.pace import told

FOLDER = Path(__file__).resolve().parent
PAGE = (FOLDER / "chat.html").read_text(encoding="utf-8").replace("/icon.svg", PLACES["icon.svg"])
SCRIPT = (FOLDER / "chat.js").read_bytes()
STYLE = (FOLDER / "chat.css").read_bytes()
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none';"
    " frame-ancestors {ancestors}"
)

router = APIRouter()


@router.get("/chat")
async def chat(request: Request) -> Response:
    """With the default bot, for anybody where the operator lets visitors in."""
    headers = told(request.scope).headers
    headers["Content-Security-Policy"] = POLICY.format(ancestors=ancestors(context_of(request).settings))
    return HTMLResponse(PAGE)


@router.get("/chat/{bot}")
async def chat_with(request: Request, bot: str) -> Response:
    """With a bot, by a session's token that is pasted, or stands in the fragment."""
    del bot
    return await chat(request)


@router.get("/static/chat.js")
async def script() -> Response:
    return Response(SCRIPT, media_type="text/javascript")


@router.get("/static/chat.css")
async def style() -> Response:
    return Response(STYLE, media_type="text/css")
