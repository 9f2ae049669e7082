"""What has happened in a conversation, as the frames of those who see it.

The order of a turn: what the user said, typing, what the bot said, its suggestions. A turn that ends without
an answer is told as an error; what it had said by then stays.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool

from api.generalbots import frames
from core.accounts import Caller
from core.context import Context
from core.errors import CrontalkError
from core.messages import SHOWN
from core.news import SPOKEN, Found
from core.sight import SCOPE, restored, seen_messages
from core.suggestions import suggestions_of
from core.turn_results import failed
from models import ErrorClass, Message, MessageType

log = structlog.get_logger()

NOWHERE = 2**31


@dataclass(frozen=True)
class Told:
    """A frame as it is sent; `message_id` and `seq` of a message, `ends` the run whose answer it is."""

    conversation_id: uuid.UUID
    text: str
    message_id: uuid.UUID | None = None
    seq: int = NOWHERE
    ends: uuid.UUID | None = None


def tell(found: Found, words: Mapping[uuid.UUID, str] | None = None) -> list[Told]:
    """The frames of what was found; `words`: of messages that are shown with their values."""
    place = found.conversation_id
    said = [row for row in found.messages if row.type in SPOKEN]
    told: list[Told] = []
    typing = typed = found.was_busy
    last = next((row.message_id for row in reversed(said) if row.type == MessageType.BOT), None)

    def add(frame: frames.Frame, **more: Any) -> None:
        told.append(Told(place, frames.written(frame).decode(), **more))

    for row in said:
        answers = row.type == MessageType.BOT and row.run_id is not None
        if answers and not typing:
            typing = typed = True
            add(frames.typing(place, active=True))
        if typing and not found.busy and row.message_id == last:
            typing = False
            add(frames.typing(place, active=False))
        ends = row.run_id if answers and row.step in {"reply", "partial"} else None
        add(message_frame(place, row, words), message_id=row.message_id, seq=row.seq, ends=ends)
        if row.type == MessageType.BOT and (found_here := suggestions_of(row.meta)):
            add(frames.suggestion(place, found_here), seq=row.seq)
    failed_now = found.failure is not None and found.failure != ErrorClass.TRUNCATED
    if failed_now and not typing and not found.busy and not typed:
        typing = True
        add(frames.typing(place, active=True))
    if found.busy is not typing:
        add(frames.typing(place, active=found.busy))
    if found.failure is not None and failed_now:
        add(frames.error("turn_failed", failed(ErrorClass(found.failure))["message"], place))
    return told


def message_frame(
    place: uuid.UUID, row: Row[Any], words: Mapping[uuid.UUID, str] | None = None
) -> frames.Frame:
    return frames.message(
        message_id=row.message_id,
        session_id=place,
        sender=row.type,
        content=(words or {}).get(row.message_id, row.text),
        at=row.created_at,
        seq=row.seq,
        attachments=(row.meta or {}).get("attachments"),
        incomplete=bool((row.meta or {}).get("incomplete")),
    )


async def restored_for(
    context: Context, caller: Caller | None, runs: Collection[uuid.UUID], found: Found
) -> Mapping[uuid.UUID, str]:
    """The texts that a caller sees with the values behind their tokens: answers to what was said on this very
    connection, and every one for whoever has the scope, which the audit remembers. Where that fails it is
    told as it is stored, since it is told once.
    """
    scope = caller is not None and SCOPE in caller.scopes
    rows = [row for row in found.messages if row.pii and (scope or row.run_id in runs)]
    if caller is None or not rows:
        return {}
    try:
        return await run_in_threadpool(_restored, context, caller, found.conversation_id, rows, scope)
    except CrontalkError as error:
        log.warning("values_not_restored", error=type(error).__name__)
        return {}


def _restored(
    context: Context, caller: Caller, place: uuid.UUID, rows: list[Row[Any]], scope: bool
) -> dict[uuid.UUID, str]:
    with context.transaction(caller.account_id, actor=caller.name) as session:
        if not scope:
            return {row.message_id: restored(session, row.text, row.pii, place) for row in rows}
        ids = [row.message_id for row in rows]
        shown = session.execute(SHOWN.where(Message.id.in_(ids))).all()
        return {one.id: one.text for one in seen_messages(session, shown)}
