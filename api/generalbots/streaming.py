"""Pieces of an answer while the model speaks: an extension, for a connection that has asked for them.

They are what the live channel of the run tells (core/telling.py). The whole message follows in any case, from
its row, and ends them.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from sqlalchemy import text
from starlette.concurrency import run_in_threadpool

from api.chatbotkit.turns import Told
from api.generalbots import frames
from api.generalbots.sockets import Socket
from api.live import Ears, heard
from core.accounts import Caller
from core.context import Context
from core.live import BEGIN
from core.sight import Sight, sight_of
from core.suggestions import pieces_of

LOOK = 1.0
CONFIGURED = text(
    "SELECT b.meta -> 'suggestions' FROM conversations c JOIN bots b ON b.id = c.bot_id WHERE c.id = :id"
)


async def stream_answer(
    context: Context, ears: Ears, socket: Socket, *, place: uuid.UUID, run: uuid.UUID
) -> None:
    """Sends the pieces of a run's answer until the message is there, which cancels this, or for too long."""
    caller = socket.caller
    assert caller is not None  # noqa: S101 (who says something is signed in)
    account, channel, after = caller.account_id, str(run), BEGIN
    sight, spoken = await run_in_threadpool(_sight, context, caller, place, run)
    told = Told(sight)
    until = time.monotonic() + context.settings.turn_time.total_seconds()
    with ears.listening(account, channel) as event:
        while time.monotonic() < until:
            words = await ears.read(account, channel, after)
            for after, word in words:  # noqa: B007 (where the next look begins)
                for kind, data in told.events(word):
                    if kind == "token" and (piece := spoken(data["token"])):
                        socket.push(frames.delta(place, piece))
            if not words:
                await heard(event, LOOK)


def _sight(
    context: Context, caller: Caller, place: uuid.UUID, run: uuid.UUID
) -> tuple[Sight, Callable[[str], str]]:
    """What the caller may see of the answer, and what of its pieces is told."""
    with context.reading(caller.account_id) as session:
        return sight_of(session, run), pieces_of(session.scalar(CONFIGURED, {"id": place}))
