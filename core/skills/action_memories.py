"""Actions on memories: what a bot keeps of a contact from one conversation to the next.

A bot's memories of the acting contact; where there is none, what the bot keeps of all conversations without
one. What was said under privacy is remembered anonymous (core/leaving.py).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, or_, select, text
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.leaving import leaving, without_tokens
from core.memories import THERE, checked_memory, delete_memory, found, keep_memory, scope_of
from core.skills.action import (
    Action,
    Json,
    action,
    alone,
    an_id,
    at_once,
    checked_document,
    hold_off_holds,
    keep_company,
    missing,
    schema,
    whole,
)
from core.skills.skill import Acting, SkillFailed
from models import LONGEST_MEMORY, Memory, new_id

RECALLED = 10
MOST_RECALLED = 50
# What it may have been made of: everything up to here.
PLACE = text("SELECT next_seq - 1 FROM conversations WHERE id = :id AND account_id = :account")
LOCK = text("SELECT id FROM memories WHERE id = :id FOR UPDATE NOWAIT")


def _remember(session: Session, acting: Acting, document: Json, arguments: Json) -> Any:
    del document
    _refuse_nobody(acting)
    account, words = account_of(session), checked_memory(arguments["text"])
    keep_company(session, acting)
    alone(session, scope_of(account, acting.bot_id, acting.contact_id))
    memory = Memory(
        id=new_id(), account_id=account, bot_id=acting.bot_id, contact_id=acting.contact_id, meta={}
    )
    if acting.conversation_id is not None:
        memory.seq = session.scalar(PLACE, {"id": acting.conversation_id, "account": account})
        if memory.seq is None:
            raise missing("conversation")
        memory.conversation_id, memory.run_id = acting.conversation_id, acting.run_id
    leave = leaving(session, acting.conversation_id)
    same = session.scalars(
        select(Memory).where(*_own(acting, session), THERE, Memory.text == leave.text(words))
    )
    if (known := same.first()) is not None:
        return {"id": str(known.id), "text": known.text}
    kept = keep_memory(session, memory, {"text": words}, leave)
    return {"id": str(kept.id), "text": kept.text}


def _recall(session: Session, acting: Acting, document: Json, arguments: Json) -> Any:
    _refuse_nobody(acting)
    most = document.get("most") or RECALLED
    search = arguments.get("search")
    if search is not None and not isinstance(search, str):
        raise InvalidInput("The search is a text.")
    where = _seen(acting, session)
    matching = found(session, search, *where, most=most) if search else []
    if not matching:
        newest = select(Memory).where(*where, THERE).order_by(Memory.id.desc()).limit(most)
        rows = list(session.scalars(newest))
    else:
        rows = matching
    return {"found": bool(matching), "memories": [_shown(row) for row in rows]}


def _forget(session: Session, acting: Acting, document: Json, arguments: Json) -> Any:
    del document
    _refuse_nobody(acting)
    wanted = an_id(arguments["id"], "memory")
    mine = select(Memory.id).where(*_own(acting, session), Memory.id == wanted)
    hold_off_holds(session)
    if session.scalar(mine) is None or at_once(session, LOCK, id=wanted) is None:
        raise missing("memory")
    return {"id": str(delete_memory(session, wanted))}


def _refuse_nobody(acting: Acting) -> None:
    if acting.bot_id is None and acting.contact_id is None:
        raise SkillFailed("nobody", "This conversation has neither a bot nor a contact to remember for.")


def _own(acting: Acting, session: Session) -> list[ColumnElement[bool]]:
    """What is kept here."""
    return [
        Memory.account_id == account_of(session),
        Memory.bot_id.is_not_distinct_from(acting.bot_id),
        Memory.contact_id.is_not_distinct_from(acting.contact_id),
    ]


def _seen(acting: Acting, session: Session) -> list[ColumnElement[bool]]:
    """What is recalled here: also what people have written down of the contact for every bot."""
    account, bot, contact = _own(acting, session)
    return [account, or_(bot, Memory.bot_id.is_(None)) if acting.contact_id else bot, contact]


def _shown(memory: Memory) -> dict[str, Any]:
    at = memory.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": str(memory.id), "text": without_tokens(memory.text), "createdAt": at}


ACTIONS: dict[str, Action] = {
    "memory.remember": action(
        "Remembers something about this person for other conversations: a sentence or a few.",
        schema(
            {
                "text": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": LONGEST_MEMORY,
                    "description": "What is to be remembered, such as: Prefers tea without milk.",
                }
            },
            "text",
        ),
        checked_document,
        _remember,
    ),
    "memory.recall": action(
        "Finds what was remembered about this person; the newest where nothing fits, or without a search.",
        schema({"search": {"type": "string", "maxLength": 500, "description": "Words that it may have."}}),
        lambda document: checked_document(document, most=whole("The most", 1, MOST_RECALLED)),
        _recall,
    ),
    "memory.forget": action(
        "Forgets something for good, by the id that recalling has told.",
        schema({"id": {"type": "string", "description": "The id of the memory."}}, "id"),
        checked_document,
        _forget,
    ),
}
