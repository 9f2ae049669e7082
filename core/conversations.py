"""Conversations: create, find, list, delete. The turns in them: core/talking.py."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import text as sql
from sqlalchemy.orm import Session

from core.bots import find_bot
from core.context import account_of, silence_after_commit
from core.rows import MetaFilter, OneOrMore, checked_text, own, own_ids, page
from core.runs import cancel_turns_of
from core.talking import channels_of
from models import Bot, Conversation, Task


def create_conversation(
    session: Session,
    *,
    bot_id: uuid.UUID | str | None = None,
    name: str | None = None,
    description: str | None = None,
    source: str = "api",
) -> Conversation:
    """An empty conversation with a bot; null is the account's default bot.

    Raises:
        InvalidInput, NotFound, NotAuthorized: the bot or a text.

    """
    conversation = Conversation(
        account_id=account_of(session),
        bot_id=find_bot(session, bot_id).id,
        name=checked_text(name, "The name", longest=1000),
        description=checked_text(description, "The description", longest=65536, empty=True),
        source=source,
        meta={},
    )
    session.add(conversation)
    session.flush()
    session.refresh(conversation)
    return conversation


def list_conversations(
    session: Session,
    *,
    task_id: OneOrMore | None = None,
    bot_id: OneOrMore | None = None,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Conversation]:
    """The account's conversations, newest first or `ascending`; of some tasks or bots where asked."""
    where = []
    if task_id is not None:
        where.append(Conversation.task_id.in_(own_ids(session, Task, task_id)))
    if bot_id is not None:
        where.append(Conversation.bot_id.in_(own_ids(session, Bot, bot_id)))
    return page(session, Conversation, *where, take=take, before=before, ascending=ascending, meta=meta)


def get_conversation(session: Session, conversation_id: uuid.UUID | str) -> Conversation:
    """The conversation.

    Raises:
        NotFound, NotAuthorized.

    """
    return own(session, Conversation, conversation_id)


def delete_conversation(session: Session, conversation_id: uuid.UUID | str) -> uuid.UUID:
    """Removes the conversation with its messages for good. A turn under way is cancelled.

    Its runs stay without their summaries, so that the task's history still counts them.
    """
    conversation = own(session, Conversation, conversation_id, lock=True)
    silence_after_commit(session, channels_of(session, [conversation.id]))
    cancel_turns_of(session, conversation.id)
    session.execute(
        sql("UPDATE runs SET summary = NULL WHERE conversation_id = :id"), {"id": conversation.id}
    )
    session.delete(conversation)
    session.flush()
    return conversation.id
