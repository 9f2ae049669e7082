"""What has happened in a conversation, as the frames of those who see it.

The order of a turn: what the user said, typing, what the bot said, its suggestions. A turn that ends without
an answer is told as an error; what it had said by then stays.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Row
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.generalbots import frames
from core.accounts import Caller
from core.context import Context
from core.errors import CrontalkError
from core.messages import SHOWN
from core.news import SPOKEN, Found
from core.sight import SCOPE, restored_with, seen_messages
from core.suggestions import suggestions_of
from core.turn_results import failed
from models import ErrorClass, Message, MessageType

log = structlog.get_logger()

NOWHERE = 2**31


@dataclass(frozen=True)
class Seen:
    """What a caller sees of a message instead of what is stored: with the values behind its tokens."""

    text: str = field(repr=False)
    meta: Mapping[str, Any] | None = field(repr=False)


Sights = Mapping[uuid.UUID, Seen]


@dataclass(frozen=True)
class Told:
    """A frame as it is sent; `message_id` and `seq` of a message, `ends` the run whose answer it is."""

    conversation_id: uuid.UUID
    text: str
    message_id: uuid.UUID | None = None
    seq: int = NOWHERE
    ends: uuid.UUID | None = None


def tell(found: Found, sights: Sights | None = None) -> list[Told]:
    """The frames of what was found; `sights`: of messages that are shown with their values."""
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
        add(message_frame(place, row, sights), message_id=row.message_id, seq=row.seq, ends=ends)
        if row.type == MessageType.BOT and (found_here := suggestions_of(_meta_of(row, sights))):
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


def message_frame(place: uuid.UUID, row: Row[Any], sights: Sights | None = None) -> frames.Frame:
    seen, meta = (sights or {}).get(row.message_id), _meta_of(row, sights)
    return frames.message(
        message_id=row.message_id,
        session_id=place,
        sender=row.type,
        content=seen.text if seen else row.text,
        at=row.created_at,
        seq=row.seq,
        attachments=meta.get("attachments"),
        incomplete=bool(meta.get("incomplete")),
    )


def _meta_of(row: Row[Any], sights: Sights | None) -> Mapping[str, Any]:
    seen = (sights or {}).get(row.message_id)
    return (seen.meta if seen else row.meta) or {}


async def restored_for(
    context: Context, caller: Caller | None, runs: Collection[uuid.UUID], found: Found
) -> Sights:
    """The messages that a caller sees with the values behind their tokens: answers to what was said on this
    very connection, and every one for whoever has the scope, which the audit remembers. Where that fails it
    is told as it is stored, since it is told once.
    """
    scope = caller is not None and SCOPE in caller.scopes
    rows = [row for row in found.messages if is_private(row) and (scope or row.run_id in runs)]
    if caller is None or not rows:
        return {}
    try:
        return await run_in_threadpool(_restored, context, caller, found.conversation_id, rows, scope)
    except CrontalkError as error:
        log.warning("values_not_restored", error=type(error).__name__)
        return {}


def _restored(
    context: Context, caller: Caller, place: uuid.UUID, rows: list[Row[Any]], scope: bool
) -> Sights:
    with context.transaction(caller.account_id, actor=caller.name) as session:
        if scope:
            return sights_of(session, [row.message_id for row in rows])
        return {
            row.message_id: Seen(*restored_with(session, row.text, row.pii, row.meta, place)) for row in rows
        }


def is_private(row: Row[Any]) -> bool:
    """Whether something of a message may be behind tokens: of its text, or of what stands in its meta."""
    return bool(row.pii) or (row.pii_state is not None and "[" in str(row.meta or ""))


def sights_of(session: Session, ids: Sequence[uuid.UUID]) -> Sights:
    """Messages as whoever has the scope sees them, which the audit remembers."""
    shown = session.execute(SHOWN.where(Message.id.in_(ids))).all()
    return {one.id: Seen(one.text, one.meta) for one in seen_messages(session, shown)}
