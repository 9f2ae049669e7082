"""Bots: who answers, with which backstory, model and knowledge."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.chat.model_name import model_string
from core.context import account_of
from core.errors import Conflict, InvalidInput
from core.fields import find_named
from core.holds import refuse_held_thing
from core.meta import checked_meta, merged_meta
from core.naming import page_named
from core.rows import MetaFilter, checked_text, database_now, own
from models import Bot, Dataset, Skillset, Visibility

BACKSTORY_BYTES = 64 * 1024
KNOWLEDGE = frozenset({"dataset_id", "skillset_id"})
# What a clone takes over: all but the id, the times and being the default.
CLONED = (
    "name",
    "description",
    "backstory",
    "model",
    "dataset_id",
    "skillset_id",
    "privacy",
    "moderation",
    "visibility",
    "alias",
    "meta",
)
# Before the tasks change, as whoever fires or edits them does: so no task fires with a bot that is going.
LOCK_CLOCKS = text(
    "SELECT 1 FROM task_clocks WHERE task_id IN (SELECT id FROM tasks WHERE bot_id = :id)"
    " ORDER BY task_id FOR UPDATE"
)

Check = Callable[[Any], Any]


def create_bot(session: Session, **fields: Any) -> Bot:
    """A new bot of the session's account. Fields: see CHECKS; the ids are those of a dataset and a skillset.

    Raises:
        InvalidInput: a field that is unknown, too long, not text, or a malformed model name.
        NotFound, NotAuthorized: the dataset or the skillset.

    """
    bot = Bot(**{"account_id": account_of(session), "meta": {}, **_checked(session, fields)})
    session.add(bot)
    session.flush()
    session.refresh(bot)
    return bot


def update_bot(session: Session, bot_id: uuid.UUID | str, **fields: Any) -> Bot:
    """Changes the given fields only; null clears. Runs that have not begun answer as the bot is then.

    Raises:
        InvalidInput, NotFound, NotAuthorized: as `create_bot`.

    """
    checked = _checked(session, {name: value for name, value in fields.items() if name != "meta"})
    bot = own(session, Bot, bot_id, lock=True)
    if "meta" in fields:
        checked["meta"] = merged_meta(bot.meta, fields["meta"])
    for name, value in checked.items():
        setattr(bot, name, value)
    bot.updated_at = database_now(session)
    session.flush()
    return bot


def clone_bot(session: Session, bot_id: uuid.UUID | str) -> Bot:
    """Another bot like this one; its conversations, tasks and ratings stay where they are.

    Raises:
        NotFound, NotAuthorized.

    """
    bot = own(session, Bot, bot_id)
    clone = Bot(account_id=bot.account_id, **{name: getattr(bot, name) for name in CLONED})
    session.add(clone)
    session.flush()
    session.refresh(clone)
    return clone


def delete_bot(session: Session, bot_id: uuid.UUID | str) -> uuid.UUID:
    """Removes the bot with its ratings and memories for good. Its conversations and tasks stay without a bot.

    A task without a bot keeps its schedule; what is due of it is written down as skipped (`no_bot`).

    Raises:
        Conflict: it is the account's default bot, or a legal hold is on it. NotFound, NotAuthorized.

    """
    bot = own(session, Bot, bot_id)
    if bot.is_default:
        raise Conflict("The default bot cannot be deleted.")
    refuse_held_thing(session, bot)
    session.execute(LOCK_CLOCKS, {"id": bot.id})
    session.delete(bot)
    session.flush()
    return bot.id


def list_bots(
    session: Session,
    *,
    named: str | None = None,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Bot]:
    """The account's bots, newest first or `ascending`; those with this in their names where asked."""
    return page_named(session, Bot, named, take=take, before=before, ascending=ascending, meta=meta)


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
    return find_named(session, Bot, name_or_id)


def get_bot(session: Session, bot_id: uuid.UUID | str) -> Bot:
    """The bot with this id.

    Raises:
        NotFound, NotAuthorized.

    """
    return own(session, Bot, bot_id)


def _checked(session: Session, fields: Mapping[str, Any]) -> dict[str, Any]:
    unknown = fields.keys() - CHECKS.keys() - KNOWLEDGE
    if unknown:
        raise InvalidInput(f"A bot has no field {min(unknown)}.")
    checked = {name: check(fields[name]) for name, check in CHECKS.items() if name in fields}
    dataset, skillset = fields.get("dataset_id"), fields.get("skillset_id")
    if "dataset_id" in fields:
        checked["dataset_id"] = None if dataset is None else own(session, Dataset, dataset).id
    if "skillset_id" in fields:
        checked["skillset_id"] = None if skillset is None else own(session, Skillset, skillset).id
    return checked


def _text(label: str, longest: int, *, empty: bool = True) -> Check:
    return lambda value: checked_text(value, label, longest=longest, empty=empty)


def _flag(label: str) -> Check:
    def check(value: Any) -> bool:
        if value is not None and not isinstance(value, bool):
            raise InvalidInput(f"{label} must be true or false.")
        return bool(value)

    return check


def _visibility(value: Any) -> str:
    if value is None:
        return Visibility.PRIVATE.value
    if value not in list(Visibility):
        raise InvalidInput(f"The visibility must be one of {', '.join(Visibility)}.")
    return str(value)


CHECKS: Mapping[str, Check] = {
    "name": _text("The name", 1000, empty=False),
    "description": _text("The description", BACKSTORY_BYTES),
    "backstory": _text("The backstory", BACKSTORY_BYTES),
    "model": model_string,
    "privacy": _flag("The privacy"),
    "moderation": _flag("The moderation"),
    "visibility": _visibility,
    "alias": _text("The alias", 1000, empty=False),
    "meta": checked_meta,
}
