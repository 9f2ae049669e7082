"""Imported bots: none that is there already is changed, however much alike they are."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.bots import create_bot
from core.errors import InvalidInput
from core.import_columns import NAME, cut
from core.import_keys import Entry, Keys
from core.import_rows import Outcome
from core.importers.records import Bot, Reject
from models import Bot as Row
from models import ImportKind, Job

# What makes a bot answer as it does: one that has all of it in common is the same.
ALIKE = ("backstory", "model", "privacy", "moderation")
TAKEN = text("SELECT EXISTS (SELECT FROM bots WHERE account_id = :account AND name = :name)")
MOST_NAMES = 100


def store_bots(session: Session, keys: Keys, job: Job, bots: Sequence[Bot]) -> Outcome:
    """Makes those that were not imported before, or links to the one of the same name that answers alike.

    Where another bot has the name, the new one is called `name (2)`.
    """
    out = Outcome()
    keyed = {keys.key(ImportKind.BOT, bot.key): bot for bot in bots}
    known = keys.known(ImportKind.BOT, keyed, {})
    entries = []
    for key, bot in keyed.items():
        if key in known:
            out.counts["known"] += 1
            continue
        try:
            target, made = _found_or_made(session, job.account_id, bot)
        except InvalidInput:
            out.rejects.append(Reject(bot.row, "bad_bot"))
            out.failed.add(bot.row)
            continue
        entries.append(Entry(key, 1, target, made=made))
        out.counts["bots"] += made
        out.wrote.add(bot.row)
    keys.store(job.id, ImportKind.BOT, entries)
    return out


def _found_or_made(session: Session, account: uuid.UUID, bot: Bot) -> tuple[uuid.UUID, bool]:
    name = cut(bot.name, NAME)
    with session.begin_nested():
        there = _alike(session, account, name, bot.fields)
        if there is not None:
            return there, False
        return create_bot(session, name=_free(session, account, name), **bot.fields).id, True


def _alike(
    session: Session, account: uuid.UUID, name: str | None, fields: Mapping[str, Any]
) -> uuid.UUID | None:
    """The one bot with this name that answers alike; it stays until the transaction ends."""
    if name is None:
        return None
    mine = select(Row).where(Row.account_id == account, Row.name == name)
    told = [
        row.id
        for row in session.scalars(mine.limit(MOST_NAMES).with_for_update(read=True, key_share=True))
        if all((getattr(row, one) or None) == (fields.get(one) or None) for one in ALIKE)
    ]
    return told[0] if len(told) == 1 else None


def _free(session: Session, account: uuid.UUID, name: str | None) -> str | None:
    """The name, or the first of `name (2)`, `name (3)` … that no bot has."""
    if name is None:
        return None
    base = cut(name, NAME - 10)
    for free in (name, *(f"{base} ({number})" for number in range(2, MOST_NAMES))):
        if not session.scalar(TAKEN, {"account": account, "name": free}):
            return free
    return name
