"""What has happened, told to open pages by ids alone (server-sent events): each asks for what it shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.dashboard.cookies import Visitor, may_still_look
from api.paper import watching
from core.accounts import Caller
from core.errors import CrontalkError

router = APIRouter()

BEAT = 15.0  # seconds; proxies close what is silent for longer
PACE = 0.4  # from one telling to the next
MOST = 200  # ids in one telling; beyond it a page asks for all it shows
HELLO = b"retry: 3000\n\n"  # milliseconds until a browser that was cut off comes back
HEARTBEAT = b":\n\n"


@router.get("/live")
async def tell(request: Request, visitor: Visitor) -> Response:
    """The ids of conversations and jobs to which something has happened, `*` for any of them; without end."""
    return StreamingResponse(_lines(request, visitor), media_type="text/event-stream")


async def _lines(request: Request, visitor: Caller) -> AsyncIterator[bytes]:
    async with watching(request, visitor.account_id) as watch:
        yield HELLO
        asked = time.monotonic()
        while not watch.ended:
            changed = await watch.wait(BEAT)
            if time.monotonic() - asked >= BEAT:
                asked = time.monotonic()
                try:
                    await run_in_threadpool(may_still_look, request)
                except CrontalkError:
                    return  # the browser asks again, and is told why
            if changed is None or len(changed) > MOST:
                yield b"data: *\n\n"
            elif changed:
                yield f"data: {' '.join(map(str, changed))}\n\n".encode()
            else:
                yield HEARTBEAT
            await asyncio.sleep(PACE)
