"""Ratings: votes on bots, conversations and messages."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput, NotFound
from core.rows import MetaFilter, checked_text, own, page
from core.shields import shield_for, shield_of
from models import Bot, Contact, Conversation, Message, Rating, new_id

MOST = 100
LONGEST_REASON = 64 * 1024
# A vote of the same sign on the same thing within this time is the same vote, sent again.
SAME_VOTE = timedelta(hours=1)


def upvote_value(value: Any) -> int:
    """1 to 100; null is 100.

    Raises:
        InvalidInput: anything else.

    """
    return _value(value, 1, MOST, MOST)


def downvote_value(value: Any) -> int:
    """-100 to -1; null is -100.

    Raises:
        InvalidInput: anything else.

    """
    return _value(value, -MOST, -1, -MOST)


def rate(
    session: Session,
    value: int,
    reason: str | None = None,
    *,
    bot: Bot | None = None,
    conversation: Conversation | None = None,
    message: Message | None = None,
) -> Rating | None:
    """Records a vote of -100 to 100 on one of the three; None when it is a repeated one.

    A vote of the same sign on the same thing within an hour is recorded once: the row that is voted on is
    locked from here to the commit. A conversation's contact is the one who voted.

    Raises:
        InvalidInput: the value or the reason. NotFound: the thing has gone.

    """
    _value(value, -MOST, MOST, 0)
    said = checked_text(reason, "The reason", longest=LONGEST_REASON, empty=True)
    if message is not None and conversation is None:
        conversation = session.get_one(Conversation, message.conversation_id)
    thing = next(thing for thing in (message, conversation, bot) if thing is not None)
    if _is_repeated(session, thing, value):
        return None
    if said:
        said = _protected(session, said, bot, conversation)
    rating = Rating(
        account_id=account_of(session),
        bot_id=bot.id if bot else None,
        contact_id=conversation.contact_id if conversation else None,
        conversation_id=conversation.id if conversation else None,
        message_id=message.id if message else None,
        value=value,
        reason=said,
    )
    session.add(rating)
    session.flush()
    session.refresh(rating)
    return rating


def _protected(session: Session, said: str, bot: Bot | None, conversation: Conversation | None) -> str | None:
    """A reason as it may be stored. That of a vote on a bot is no conversation's: its tokens mean nothing."""
    if conversation is not None:
        shield = shield_of(session, conversation.id)
    else:
        of_bot = bot.id if bot else None
        shield = shield_for(session, account_of(session), new_id(), bot=of_bot, contact=None, kept={})
    if shield is None:
        return said
    kept = shield.label(said)
    if conversation is not None:
        shield.keep()
    return kept


def list_ratings(
    session: Session,
    *,
    contact_id: uuid.UUID | str,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Rating]:
    """What a contact thought, newest first or `ascending`.

    Raises:
        NotFound, NotAuthorized: the contact.

    """
    of_contact = Rating.contact_id == own(session, Contact, contact_id).id
    return page(session, Rating, of_contact, take=take, before=before, ascending=ascending, meta=meta)


def _is_repeated(session: Session, thing: Bot | Conversation | Message, value: int) -> bool:
    """Whether the same was said within the hour; who asks next waits until this one has committed."""
    table = type(thing)
    # FOR NO KEY UPDATE: votes wait for each other, and nobody who only links to the row waits for them.
    locked = select(table.id).where(table.id == thing.id).with_for_update(key_share=True)
    if session.scalar(locked) is None:
        raise NotFound(f"There is no such {table.__name__.lower()}.")
    about = {
        Bot: (Rating.bot_id == thing.id, Rating.conversation_id.is_(None)),
        Conversation: (Rating.conversation_id == thing.id, Rating.message_id.is_(None)),
        Message: (Rating.message_id == thing.id,),
    }
    earlier = select(Rating.id).where(
        *about[table],
        func.sign(Rating.value) == (1 if value > 0 else -1),
        Rating.created_at > func.now() - SAME_VOTE,
    )
    return session.scalar(earlier.limit(1)) is not None


def _value(value: Any, least: int, most: int, default: int) -> int:
    number = default if value is None else value
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most or number == 0:
        raise InvalidInput(f"A vote's value must be a whole number from {least} to {most}, and not 0.")
    return number
