"""Conversations and the turns in them: send, receive, complete, delete."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import text as sql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.bots import find_bot
from core.context import account_of, hint_after_commit, settings_of
from core.database import violated
from core.errors import Conflict
from core.messages import append
from core.rows import MetaFilter, OneOrMore, checked_text, database_now, own, own_ids, page
from core.runs import cancel_turns_of
from models import Action, Bot, Conversation, Message, MessageType, Run, RunState, Task, Trigger, new_id


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


def send(session: Session, conversation_id: uuid.UUID | str, text: str) -> Message:
    """Stores a user message. Never answers, and needs no free turn."""
    conversation = own(session, Conversation, conversation_id)
    return append(session, conversation.id, MessageType.USER, text)


def receive(session: Session, conversation_id: uuid.UUID | str) -> Run:
    """Asks for a bot message from the stored history; the run ends with it.

    Raises:
        Conflict: a turn is under way.

    """
    return _turn(session, conversation_id, Action.RECEIVE, None)


def complete(session: Session, conversation_id: uuid.UUID | str, text: str | None = None) -> Run:
    """Stores a user message and asks for the answer, in one; without text it continues.

    Raises:
        Conflict: a turn is under way; nothing was stored.

    """
    return _turn(session, conversation_id, Action.COMPLETE, text)


def delete_conversation(session: Session, conversation_id: uuid.UUID | str) -> uuid.UUID:
    """Removes the conversation with its messages for good. A turn under way is cancelled.

    Its runs stay without their summaries, so that the task's history still counts them.
    """
    conversation = own(session, Conversation, conversation_id, lock=True)
    cancel_turns_of(session, conversation.id)
    session.execute(
        sql("UPDATE runs SET summary = NULL WHERE conversation_id = :id"), {"id": conversation.id}
    )
    session.delete(conversation)
    session.flush()
    return conversation.id


def _turn(session: Session, conversation_id: uuid.UUID | str, action: Action, text: str | None) -> Run:
    conversation = own(session, Conversation, conversation_id, lock=True)
    run = Run(
        id=new_id(),
        account_id=conversation.account_id,
        conversation_id=conversation.id,
        trigger=Trigger.API,
        action=action,
        state=RunState.PENDING,
        deadline_at=database_now(session) + settings_of(session).turn_time,
    )
    try:
        with session.begin_nested():
            session.add(run)
            session.flush()
    except IntegrityError as error:
        if violated(error) == "uq_runs_active_turn":
            raise Conflict("A turn is under way in this conversation.") from error
        raise
    if text is not None:
        append(session, conversation.id, MessageType.USER, text, run_id=run.id, step="prompt")
    hint_after_commit(session, run.id, action)
    session.refresh(run)
    return run
