"""What a connection's user says, stored: by the verbs of core/conversing.py, in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.generalbots.frames import Say
from api.generalbots.telling import Sights, is_private, sights_of
from api.pace import Doorkeeper, refuse_quota
from core.accounts import Caller
from core.context import Context
from core.conversing import Reach, bot_named, say, start, user_of
from core.errors import Contended, InvalidInput, LimitReached, NotAuthenticated, NotAuthorized
from core.idempotency import begin, finish, make_key
from core.resuming import Missed, missed
from core.sight import SCOPE
from core.standing import standing
from core.turn_requests import ALL
from models import Conversation, ConversationStatus, Message

SOURCE = "websocket"
ATTEMPTS = 3


@dataclass(frozen=True)
class Stored:
    """A message as it was stored; `run_id` answers it."""

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    at: datetime
    seq: int
    run_id: uuid.UUID | None
    again: bool = False


@dataclass(frozen=True)
class Words:
    """The messages of a `Missed` that are shown with their values."""

    missed: Missed
    sights: Sights = field(repr=False)


def store(
    context: Context,
    doorkeeper: Doorkeeper,
    caller: Caller,
    frame: Say,
    *,
    place: str | uuid.UUID | None,
    bot: str | None,
) -> Stored:
    """Stores what a frame says: in its conversation, or in the one the connection goes on with.

    Without one it is the newest with the bot that people began, or a new one. A frame with an `id` of the
    client's own is stored once, however often it is sent within a day.

    Raises:
        What `start` and `say` raise; NotAuthenticated: the token opens nothing any more.
        NotAuthorized: it may not write. LimitReached: a rate or a quota.

    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _store(context, doorkeeper, caller, frame, place=place, bot=bot)
        except Contended:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError


def _store(
    context: Context,
    doorkeeper: Doorkeeper,
    caller: Caller,
    frame: Say,
    *,
    place: str | uuid.UUID | None,
    bot: str | None,
) -> Stored:
    with context.transaction(caller.account_id, actor=caller.name) as session:
        if not standing(session, [caller.token_id]):
            raise NotAuthenticated("The token is missing, unknown, expired or revoked.")
        if "write" not in caller.scopes:
            raise NotAuthorized("This token may not write.")
        key = make_key(frame.id, f"ws:{user_of(caller)}", _digest(frame)) if frame.id else None
        earlier = begin(session, key) if key else None
        if earlier is not None:
            return _told_again(session, earlier)
        refuse_quota(session, doorkeeper, caller.account_id, caller.limits)
        stored = _said(session, Reach.of(caller), frame, place, bot)
        if key:
            finish(session, key, {"messageId": str(stored.message_id)})
        return stored


def _said(
    session: Session, reach: Reach, frame: Say, place: str | uuid.UUID | None, bot: str | None
) -> Stored:
    listened = ALL if frame.deltas else None
    if isinstance(place, uuid.UUID):  # it may have been deleted since it was spoken in
        place = session.scalar(select(Conversation.id).where(Conversation.id == place))
    conversation: uuid.UUID | str | None = frame.session_id or reach.conversation_id or place
    conversation = conversation or _latest(session, reach, bot)
    if conversation is None:
        conversation = start(session, reach, bot=bot, source=SOURCE).conversation.id
    said = say(session, reach, conversation, frame.content, attachments=frame.attachments, listened=listened)
    row = said.message
    return Stored(row.id, row.conversation_id, row.created_at, row.seq, said.run_id)


def _latest(session: Session, reach: Reach, bot: str | None) -> uuid.UUID | None:
    chosen = bot_named(session, bot)
    query = select(Conversation.id).where(
        Conversation.account_id == chosen.account_id,
        Conversation.bot_id == chosen.id,
        Conversation.status == ConversationStatus.ACTIVE,
        Conversation.task_id.is_(None),
        Conversation.contact_id == reach.contact_id
        if reach.contact_id
        else Conversation.contact_id.is_(None),
    )
    return session.scalar(query.order_by(Conversation.id.desc()).limit(1))


def _digest(frame: Say) -> str:
    try:
        return orjson.dumps([frame.session_id, frame.content, list(frame.attachments)]).decode()
    except orjson.JSONEncodeError:
        raise InvalidInput("An attachment is nested too deeply.") from None


def _told_again(session: Session, earlier: dict[str, str]) -> Stored:
    message = session.get(Message, uuid.UUID(earlier["messageId"]))
    if message is None:
        raise LimitReached("This message was deleted meanwhile.", timedelta(seconds=1))
    return Stored(message.id, message.conversation_id, message.created_at, message.seq, None, again=True)


def bring_up(context: Context, caller: Caller, after: Sequence[str]) -> Words:
    """What the user has missed, as they may see it."""
    with context.transaction(caller.account_id, actor=caller.name) as session:
        found = missed(session, Reach.of(caller), after)
        hidden = [row.message_id for _, row in found.messages if is_private(row)]
        return Words(found, sights_of(session, hidden) if hidden and SCOPE in caller.scopes else {})
