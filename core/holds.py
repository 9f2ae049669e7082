"""Legal holds: what they are on is neither deleted nor anonymised before they are released.

A hold and whoever deletes find each other through a lock of the account that deletions share: a hold is
placed before or after a batch, never in the middle of it. What was gone before it is gone; from the answer
on nothing more goes.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.audit import Action, note_audit
from core.context import account_of, actor_of
from core.errors import Conflict, InvalidInput
from core.rows import MetaFilter, checked_text, own, page
from models import Bot, Contact, Conversation, LegalHold, Memory, Task

# Of a conversation c.
HELD = (
    "EXISTS (SELECT FROM legal_holds h WHERE h.account_id = c.account_id AND (h.conversation_id = c.id"
    " OR h.contact_id = c.contact_id OR h.task_id = c.task_id OR h.bot_id = c.bot_id"
    " OR num_nonnulls(h.bot_id, h.task_id, h.contact_id, h.conversation_id) = 0))"
)
NOT_HELD = f"NOT {HELD}"
IS_HELD = text(f"SELECT {HELD} FROM conversations c WHERE c.id = :id")  # noqa: S608 (a constant)
HELD_OF = text(f"SELECT c.id FROM conversations c WHERE c.id = ANY(CAST(:ids AS uuid[])) AND {HELD}")  # noqa: S608 (a constant)
OF_IT = f" OR EXISTS (SELECT FROM conversations c WHERE c.{{link}} = :id AND {HELD})"
# Whether a hold is on a bot, a task or a contact itself, or on the whole account. A held conversation needs
# its bot and its contact as well; a task leaves a tombstone.
IS_ON = {
    table: text(
        f"SELECT EXISTS (SELECT FROM legal_holds h WHERE h.account_id = :account AND (h.{link} = :id"  # noqa: S608 (constants)
        " OR num_nonnulls(h.bot_id, h.task_id, h.contact_id, h.conversation_id) = 0))"
        f"{'' if table is Task else OF_IT.format(link=link)}"
    )
    for table, link in ((Bot, "bot_id"), (Task, "task_id"), (Contact, "contact_id"))
}
# Of a memory m: by its bot, its contact or its account, or by the conversation it was made of.
HELD_MEMORY = (
    "(EXISTS (SELECT FROM legal_holds h WHERE h.account_id = m.account_id AND (h.contact_id = m.contact_id"  # noqa: S608 (a constant)
    " OR h.bot_id = m.bot_id OR num_nonnulls(h.bot_id, h.task_id, h.contact_id, h.conversation_id) = 0))"
    f" OR EXISTS (SELECT FROM conversations c WHERE c.id = m.conversation_id AND {HELD}))"
)
NOT_HELD_MEMORY = f"NOT {HELD_MEMORY}"
IS_HELD_MEMORY = text(f"SELECT {HELD_MEMORY} FROM memories m WHERE m.id = :id")  # noqa: S608 (a constant)
ANY = text("SELECT EXISTS (SELECT FROM legal_holds WHERE account_id = :account)")
# Taken before any row: who places a hold waits for the deletions under way, and they for nobody else.
SHARE = text("SELECT pg_advisory_xact_lock_shared(hashtextextended('legal_holds:' || :account, 0))")
ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('legal_holds:' || :account, 0))")
LINKS: dict[str, type[Bot | Task | Contact | Conversation]] = {
    "bot_id": Bot,
    "task_id": Task,
    "contact_id": Contact,
    "conversation_id": Conversation,
}
DESPITE, FREE = "despite_holds", "found_free"
LONGEST_REASON = 4000


def place_hold(
    session: Session, *, everything: bool = False, reason: str | None = None, **of: uuid.UUID | str | None
) -> LegalHold:
    """Holds a bot, a task, a contact, a conversation (`bot_id` …), or `everything` of the account.

    From here on nothing of it goes, not even by a deletion under way. Of one thing there may be several.

    Raises:
        InvalidInput: not exactly one of them; or the reason. NotFound, NotAuthorized.

    """
    given = {name: value for name, value in of.items() if value is not None}
    if len(given) + everything != 1 or given.keys() - LINKS.keys():
        raise InvalidInput("A hold is on one bot, task, contact or conversation, or on all of the account.")
    said = checked_text(reason or None, "The reason", longest=LONGEST_REASON)
    found: dict[str, Any] = {name: own(session, LINKS[name], value).id for name, value in given.items()}  # type: ignore[type-var]
    session.execute(ALONE, {"account": str(account_of(session))})
    hold = LegalHold(account_id=account_of(session), reason=said, placed_by=actor_of(session), **found)
    session.add(hold)
    session.flush()
    session.refresh(hold)
    note_audit(session, Action.PLACE_HOLD, hold.id, _on(hold))
    return hold


def release_hold(session: Session, hold_id: uuid.UUID | str) -> uuid.UUID:
    """Takes a hold away, with its reason; the audit keeps who placed and who released it, and on what.

    Raises:
        NotFound, NotAuthorized.

    """
    hold = own(session, LegalHold, hold_id, lock=True)
    note_audit(session, Action.RELEASE_HOLD, hold.id, _on(hold))
    session.delete(hold)
    session.flush()
    return hold.id


def list_holds(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[LegalHold]:
    """The account's holds, newest first or `ascending`."""
    return page(session, LegalHold, take=take, before=before, ascending=ascending, meta=meta)


def keep_holds(session: Session) -> None:
    """Lets no hold be placed before this transaction ends: what is not held now may go in it."""
    session.execute(SHARE, {"account": str(account_of(session))})


def any_hold(session: Session) -> bool:
    """Whether the account has holds at all."""
    return bool(session.scalar(ANY, {"account": account_of(session)}))


def found_free(session: Session, conversation_id: uuid.UUID) -> None:
    """Remembers that this transaction has seen, behind `keep_holds`, that no hold is on a conversation."""
    session.info[FREE] = conversation_id


def is_free(session: Session, conversation_id: uuid.UUID | str) -> bool:
    """Whether this transaction has seen so."""
    return bool(session.info.get(FREE) == conversation_id)


def is_held(session: Session, conversation_id: uuid.UUID) -> bool:
    """Whether a hold is on a conversation, by whatever it is linked to; it stays so behind `keep_holds`."""
    return bool(session.scalar(IS_HELD, {"id": conversation_id}))


def held_of(session: Session, conversation_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Which of these conversations a hold is on."""
    return set(session.scalars(HELD_OF, {"ids": list(conversation_ids)}))


def refuse_held(session: Session, conversation_id: uuid.UUID) -> None:
    """Raises Conflict for a conversation that a hold is on, by whatever it is linked to."""
    keep_holds(session)
    if not session.info.get(DESPITE) and is_held(session, conversation_id):
        raise Conflict("The conversation is under a legal hold; nothing of it goes before that is released.")


def refuse_held_thing(session: Session, thing: Bot | Task | Contact) -> None:
    """Raises Conflict for a bot, a task or a contact with a hold of its own, its account's, or that of a
    conversation which would lose it.
    """
    keep_holds(session)
    if session.info.get(DESPITE) or not any_hold(session):
        return
    if session.scalar(IS_ON[type(thing)], {"account": account_of(session), "id": thing.id}):
        noun = type(thing).__name__.lower()
        raise Conflict(
            f"The {noun}, or a conversation of it, is under a legal hold; it stays until its release."
        )


def refuse_held_memory(session: Session, memory: Memory) -> None:
    """Raises Conflict for a memory that a hold is on, by whatever it is of or was made of."""
    keep_holds(session)
    if not session.info.get(DESPITE) and session.scalar(IS_HELD_MEMORY, {"id": memory.id}):
        raise Conflict("The memory is under a legal hold; it stays as it is until that is released.")


def refuse_holds(session: Session) -> None:
    """Raises Conflict for an account with any hold."""
    keep_holds(session)
    if any_hold(session):
        raise Conflict("The account has legal holds; it does not go before they are released.")


def despite_holds(session: Session) -> None:
    """Lets this transaction delete again what a backup has brought back: when it went, nothing held it."""
    session.info[DESPITE] = True


def _on(hold: LegalHold) -> dict[str, Any]:
    links = {"botId": hold.bot_id, "taskId": hold.task_id, "contactId": hold.contact_id}
    links["conversationId"] = hold.conversation_id
    return {name: str(value) for name, value in links.items() if value is not None} or {"all": True}
