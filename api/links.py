"""One-time links: a file in or out, without a token of the account's. They stand outside of the dialects.

What opens them stands in their address, so nothing here writes an address down.
"""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from api.auth import context_of
from api.streams import on_thread, pieces_of, sent, write_all
from core.tickets import give_back, take_download, take_upload

router = APIRouter()


def link_to(request: Request, kind: str, token: str) -> str:
    """The address of a link: below CRONTALK_PUBLIC_URL, or where the caller has found us."""
    base = context_of(request).settings.public_url or str(request.base_url)
    return f"{base.rstrip('/')}/{kind}/{token}"


@router.api_route("/upload/{token}", methods=["PUT", "POST"])
async def upload(request: Request, token: str) -> JSONResponse:
    """Takes the bytes that an upload was asked for. An upload that fails may be tried again."""
    context = context_of(request)
    declared = request.headers.get("content-length", "")
    announced = int(declared) if declared.isdecimal() and len(declared) < 18 else None
    taken = await on_thread(partial(take_upload, context, token, announced))
    await write_all(taken.writing, pieces_of(request), partial(give_back, context, taken))
    return JSONResponse({})


@router.get("/download/{token}")
def download(request: Request, token: str) -> Response:
    """Gives the content out, once."""
    context = context_of(request)
    return sent(context, take_download(context, token))
