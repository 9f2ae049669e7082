"""Bots: who answers, with which backstory and model."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.chat.model_name import parse_model
from core.context import account_of
from core.errors import InvalidInput
from core.rows import MetaFilter, checked_text, own, page
from models import Bot

BACKSTORY_BYTES = 64 * 1024


def create_bot(
    session: Session,
    *,
    name: str | None = None,
    description: str | None = None,
    backstory: str | None = None,
    model: str | None = None,
) -> Bot:
    """A new bot of the session's account.

    Raises:
        InvalidInput: a field too long or not text, or a malformed model name.

    """
    if model is not None:
        parse_model(model)
    bot = Bot(
        account_id=account_of(session),
        name=checked_text(name, "The name", longest=1000),
        description=checked_text(description, "The description", longest=BACKSTORY_BYTES, empty=True),
        backstory=checked_text(backstory, "The backstory", longest=BACKSTORY_BYTES, empty=True),
        model=model,
        meta={},
    )
    session.add(bot)
    session.flush()
    session.refresh(bot)
    return bot


def list_bots(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Bot]:
    """The account's bots, newest first or `ascending`."""
    return page(session, Bot, take=take, before=before, ascending=ascending, meta=meta)


def find_bot(session: Session, name_or_id: uuid.UUID | str | None) -> Bot:
    """The bot with this id, or the only one with this name; None means the default bot.

    Raises:
        NotFound, NotAuthorized: as `own`.
        InvalidInput: several bots have this name, or there is no default bot.

    """
    mine = select(Bot).where(Bot.account_id == account_of(session))
    if name_or_id is None:
        bot = session.scalars(mine.where(Bot.is_default)).one_or_none()
        if bot is None:
            raise InvalidInput("The account has no default bot; name one.")
        return bot
    name = checked_text(str(name_or_id), "The bot's name", longest=1000, empty=True)
    named = list(session.scalars(mine.where(Bot.name == name).limit(2)))
    if len(named) > 1:
        raise InvalidInput("Several bots have this name; use the id.")
    return named[0] if named else own(session, Bot, name_or_id)


def get_bot(session: Session, bot_id: uuid.UUID | str) -> Bot:
    """The bot with this id.

    Raises:
        NotFound, NotAuthorized.

    """
    return own(session, Bot, bot_id)
