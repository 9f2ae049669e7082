"""Memories: kept, found, forgotten. Bots do it by their abilities (core/skills), people by the API.

A bot's memories of a contact are its own and the contact's: it finds them in every conversation with that
contact, and in no other. What a turn remembers is derived from its conversation and goes with what it was
made of, as a checkpoint does (core/messages.py, core/sweeping.py, core/anonymous_rows.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, text
from sqlalchemy.orm import Session

from core.context import Context, account_of
from core.erasures import note_erasure
from core.errors import Conflict, InvalidInput
from core.fields import checked_fields, kept, update_row
from core.holds import NOT_HELD_MEMORY, keep_holds, refuse_held_memory
from core.leaving import Leaving
from core.policies import checked_instant
from core.rows import MetaFilter, OneOrMore, checked_text, database_now, not_found, own, own_ids, page
from core.search import within_time
from core.shields import shield_for
from models import LONGEST_MEMORY, Bot, Contact, ErasureKind, Memory, new_id

MOST = 1000  # of one bot and one contact
FOUND = 100  # of a search at most
LONGEST_SEARCH = 2000
MOST_WORDS = 50
EXPIRED = 500  # that go in one batch
FIELDS = {"name": "name", "description": "description", "text": "text", "meta": "meta"}
LINKS = ("bot_id", "contact_id", "expires_at")
COUNT = text(
    "SELECT count(*) FROM memories WHERE account_id = :account"
    " AND bot_id IS NOT DISTINCT FROM CAST(:bot AS uuid)"
    " AND contact_id IS NOT DISTINCT FROM CAST(:contact AS uuid)"
)
# Counting and adding is one thing at a time.
ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended(:scope, 0))")
# Lexemes as a query of one word each, any of which may match: people ask in sentences.
WORDS = text(
    "SELECT string_agg('(' || word || ')', ' | ')"
    " FROM (SELECT CAST(plainto_tsquery('simple', lexeme) AS text) AS word"
    "  FROM unnest(to_tsvector('simple', :search)) ORDER BY positions[1] LIMIT :most) AS words"
    " WHERE word <> ''"
)
OVER = text(
    "SELECT m.account_id, CAST(array_agg(m.id) AS text) AS ids FROM (SELECT * FROM memories m"  # noqa: S608 (constants)
    f" WHERE m.expires_at <= now() AND {NOT_HELD_MEMORY} ORDER BY m.expires_at LIMIT :most) AS m"
    " GROUP BY m.account_id"
)
EXPIRE = text(
    "DELETE FROM memories m WHERE m.id = ANY(CAST(:ids AS uuid[])) AND m.expires_at <= now()"  # noqa: S608 (a constant)
    f" AND {NOT_HELD_MEMORY}"
)
THERE = or_(Memory.expires_at.is_(None), Memory.expires_at > func.now())


def scope_of(account: uuid.UUID, bot_id: uuid.UUID | None, contact_id: uuid.UUID | None) -> str:
    """The name of the lock that guards how many memories a bot and a contact have."""
    return f"memories:{account}:{bot_id}:{contact_id}"


def create_memory(
    session: Session,
    *,
    bot_id: uuid.UUID | str | None = None,
    contact_id: uuid.UUID | str | None = None,
    expires_at: Any = None,
    **fields: Any,
) -> Memory:
    """What somebody wants remembered. Fields: see FIELDS; of a bot, a contact, both or neither.

    Under the privacy of its bot, its contact and its account it is stored anonymous.

    Raises:
        InvalidInput, NotFound, NotAuthorized. Conflict: there are MOST already.
        PrivacyFailed: it could not be looked at.

    """
    bot = None if bot_id is None else kept(session, Bot, bot_id).id
    contact = None if contact_id is None else kept(session, Contact, contact_id).id
    memory = Memory(id=new_id(), account_id=account_of(session), bot_id=bot, contact_id=contact, meta={})
    memory.expires_at = _checked_end(session, expires_at)
    values = _checked({"text": None, **fields})
    session.execute(ALONE, {"scope": scope_of(memory.account_id, bot, contact)})
    return keep_memory(session, memory, values, _leaving(session, memory))


def keep_memory(session: Session, memory: Memory, values: dict[str, Any], leave: Leaving) -> Memory:
    """Stores a memory whose scope is locked, with these fields made fit to be kept.

    Raises:
        InvalidInput: the text is longer than LONGEST_MEMORY with its entities replaced.
        Conflict: there are MOST already. PrivacyFailed.

    """
    _refuse_a_crowd(session, memory.account_id, memory.bot_id, memory.contact_id)
    for name, value in _protected(values, leave).items():
        setattr(memory, name, value)
    session.add(memory)
    session.flush()
    session.refresh(memory)
    return memory


def update_memory(session: Session, memory_id: uuid.UUID | str, **fields: Any) -> Memory:
    """Changes the given fields, as `create_memory` knows them; null clears, meta is merged.

    Raises:
        InvalidInput, NotFound, NotAuthorized, PrivacyFailed: as `create_memory`.
        Conflict: there are MOST already where it comes to; or a legal hold is on it, and it would have
            another text, bot, contact or end.

    """
    memory = get_memory(session, memory_id)
    if {"text", *LINKS} & fields.keys():
        refuse_held_memory(session, memory)
    links = _links(session, fields)
    memory = own(session, Memory, memory.id, lock=True)
    place = [links.get(name, getattr(memory, name)) for name in ("bot_id", "contact_id")]
    moved = place != [memory.bot_id, memory.contact_id]
    if moved:
        session.execute(ALONE, {"scope": scope_of(memory.account_id, *place)})
        _refuse_a_crowd(session, memory.account_id, *place)
    said = {name: value for name, value in fields.items() if name not in {"meta", *LINKS}}
    before = {name: getattr(memory, name) for name in ("name", "description", "text")} if moved else {}
    merged = {"meta": fields["meta"]} if "meta" in fields else {}
    with session.no_autoflush:  # nothing is written before it was looked at
        for name, value in links.items():
            setattr(memory, name, value)
        leave = _leaving(session, memory)
        memory.meta = leave.tree(memory.meta) if moved else memory.meta
        update_row(session, memory, _protected({**before, **_checked(said), **merged}, leave))
    session.refresh(memory)
    return memory


def _links(session: Session, fields: dict[str, Any]) -> dict[str, Any]:
    """Of an update what it is of, and until when, as far as that is given."""
    links: dict[str, Any] = {}
    if "bot_id" in fields:
        links["bot_id"] = None if fields["bot_id"] is None else kept(session, Bot, fields["bot_id"]).id
    if "contact_id" in fields:
        given = fields["contact_id"]
        links["contact_id"] = None if given is None else kept(session, Contact, given).id
    if "expires_at" in fields:
        links["expires_at"] = _checked_end(session, fields["expires_at"])
    return links


def get_memory(session: Session, memory_id: uuid.UUID | str) -> Memory:
    """Raises NotFound, also once its time is over; NotAuthorized."""
    memory = own(session, Memory, memory_id)
    if memory.expires_at is not None and memory.expires_at <= database_now(session):
        raise not_found(Memory)
    return memory


def list_memories(
    session: Session,
    *,
    bot_id: OneOrMore | None = None,
    contact_id: OneOrMore | None = None,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Memory]:
    """The account's memories, newest first or `ascending`; of some bots or contacts where asked.

    Raises:
        NotFound, NotAuthorized: what is filtered by.

    """
    where = [THERE, *_of(session, bot_id, contact_id)]
    return page(session, Memory, *where, take=take, before=before, ascending=ascending, meta=meta)


def search_memories(
    session: Session,
    search: str,
    *,
    bot_id: OneOrMore | None = None,
    contact_id: OneOrMore | None = None,
) -> list[Memory]:
    """Memories that have any of the words, best first; of some bots or contacts where asked.

    Raises:
        InvalidInput: the search, or it takes too long. NotFound, NotAuthorized: what is filtered by.

    """
    of = _of(session, bot_id, contact_id)
    with within_time(session, search):
        return found(session, search, *of, most=FOUND)


def found(session: Session, search: str, *where: ColumnElement[bool], most: int) -> list[Memory]:
    """The best of the account's memories of which `where` holds; none when the search has no words.

    Raises:
        InvalidInput: too long, or no text.

    """
    asked = checked_text(search, "The search", longest=LONGEST_SEARCH, empty=True) or ""
    words = session.execute(WORDS, {"search": asked, "most": MOST_WORDS}).scalar_one()
    if words is None:
        return []
    wanted = func.to_tsquery(text("'simple'::regconfig"), words)
    query = (
        select(Memory)
        .where(Memory.account_id == account_of(session), THERE, *where)
        .where(Memory.search.bool_op("@@")(wanted))
        .order_by(func.ts_rank(Memory.search, wanted).desc(), Memory.id.desc())
        .limit(most)
    )
    return list(session.scalars(query))


def delete_memory(session: Session, memory_id: uuid.UUID | str) -> uuid.UUID:
    """Removes a memory for good, with a receipt.

    Raises:
        NotFound, NotAuthorized. Conflict: a legal hold is on what it is of.

    """
    memory = own(session, Memory, memory_id)
    refuse_held_memory(session, memory)
    session.delete(memory)
    session.flush()
    note_erasure(session, ErasureKind.MEMORY, memory.id)
    return memory.id


def expire_memories(context: Context) -> int:
    """Removes memories whose time is over and that no legal hold is on; answers how many, up to a batch."""
    with context.transaction() as session:
        over = session.execute(OVER, {"most": EXPIRED}).all()
    gone = 0
    for account, ids in over:
        with context.transaction(account) as session:
            keep_holds(session)
            gone += int(session.execute(EXPIRE, {"ids": ids}).rowcount)  # type: ignore[attr-defined]
    return gone


def _of(
    session: Session, bot_id: OneOrMore | None, contact_id: OneOrMore | None
) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if bot_id is not None:
        where.append(Memory.bot_id.in_(own_ids(session, Bot, bot_id)))
    if contact_id is not None:
        where.append(Memory.contact_id.in_(own_ids(session, Contact, contact_id)))
    return where


def _refuse_a_crowd(
    session: Session, account: uuid.UUID, bot: uuid.UUID | None, contact: uuid.UUID | None
) -> None:
    if session.execute(COUNT, {"account": account, "bot": bot, "contact": contact}).scalar_one() >= MOST:
        raise Conflict(f"There are {MOST} memories here already; forget some of them first.")


def _leaving(session: Session, memory: Memory) -> Leaving:
    bot, contact = memory.bot_id, memory.contact_id
    return Leaving(shield_for(session, memory.account_id, memory.id, bot=bot, contact=contact, kept={}))


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = fields.keys() - FIELDS.keys()
    if unknown:
        raise InvalidInput(f"A memory has no field {min(unknown)}.")
    checked = checked_fields(fields)
    if "text" in fields:
        checked["text"] = checked_memory(fields["text"])
    return checked


def checked_memory(value: Any) -> str:
    """The text of a memory.

    Raises:
        InvalidInput: none, empty, too long, or not storable.

    """
    words = checked_text(value, "The text", longest=4 * LONGEST_MEMORY)
    if words is None:
        raise InvalidInput("The text must not be empty.")
    if len(words) > LONGEST_MEMORY:
        raise InvalidInput(f"The text of a memory has up to {LONGEST_MEMORY} characters.")
    return words


def _protected(values: dict[str, Any], leave: Leaving) -> dict[str, Any]:
    """The fields as they may be kept."""
    safe: dict[str, Any] = {
        name: leave.label(values[name]) for name in ("name", "description", "text") if name in values
    }
    if len(safe.get("text") or "") > LONGEST_MEMORY:
        raise InvalidInput(f"The text is longer than {LONGEST_MEMORY} characters with its entities replaced.")
    return {**values, **safe, **({"meta": leave.tree(values["meta"])} if values.get("meta") else {})}


def _checked_end(session: Session, value: Any) -> Any:
    end = checked_instant("The end of a memory", value)
    if end is not None and end <= database_now(session):
        raise InvalidInput("A memory expires in the future.")
    return end
