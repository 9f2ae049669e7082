"""Turns that act: a run at work in a conversation, and its actions carried out as a worker does."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from core.context import Context
from core.settlement import LOCK_CONVERSATION
from core.skills.actions import ACTIONS
from core.skills.skill import Acting, SkillFailed
from core.talking import complete
from core.work import claim
from tests.factories import a_bot, a_contact, a_conversation

MINUTE = timedelta(minutes=1)
LOCK_RUN = text("SELECT 1 FROM runs WHERE id = :id FOR UPDATE")


def a_turn(
    context: Context,
    account: uuid.UUID,
    *,
    bot: uuid.UUID | None = None,
    contact: uuid.UUID | None = None,
    said: str = "Please do it.",
    **fields: Any,
) -> Acting:
    """A turn at work in a conversation of its own, with a bot; with a contact where it is told one."""
    bot = bot or a_bot(context, account, name=f"helper {uuid.uuid4()}").id
    conversation = a_conversation(context, account, bot_id=bot, contact_id=contact, **fields)
    return a_turn_in(context, account, conversation.id, said=said, bot_id=bot, contact_id=contact)


def a_turn_in(
    context: Context, account: uuid.UUID, conversation: uuid.UUID, *, said: str = "Please.", **acting: Any
) -> Acting:
    """The same in a conversation that is there."""
    with context.transaction(account) as session:
        run = complete(session, conversation, said)
    with context.transaction() as session:
        assert claim(session, run.id, lease=MINUTE, run_time=MINUTE, worker="tests", delivery=None)
    return Acting(account_id=account, conversation_id=conversation, run_id=run.id, **acting)


def a_turn_with_a_contact(context: Context, account: uuid.UUID, **fields: Any) -> Acting:
    return a_turn(context, account, contact=a_contact(context, account).id, **fields)


@contextmanager
def at_work(context: Context, acting: Acting):
    """The transaction that an action is part of: the conversation is locked, and then the run."""
    with context.transaction(acting.account_id) as session:
        session.execute(LOCK_CONVERSATION, {"id": acting.conversation_id})
        session.execute(LOCK_RUN, {"id": acting.run_id})
        yield session


def act(
    context: Context,
    acting: Acting,
    name: str,
    document: Mapping[str, Any] | None = None,
    /,
    **arguments: Any,
) -> Any:
    """What an action answers, its document checked as when it was saved."""
    checked = ACTIONS[name].checked({"type": name, **(document or {})})
    with at_work(context, acting) as session:
        return ACTIONS[name].act(session, acting, checked, arguments)


class _Undone(Exception):
    pass


def undone(
    context: Context,
    acting: Acting,
    name: str,
    document: Mapping[str, Any] | None = None,
    /,
    **arguments: Any,
) -> None:
    """Carries an action out in a transaction that is rolled back, as one whose commit did not come."""
    checked = ACTIONS[name].checked({"type": name, **(document or {})})
    with suppress(_Undone), at_work(context, acting) as session:
        ACTIONS[name].act(session, acting, checked, arguments)
        raise _Undone


def failed(
    context: Context,
    acting: Acting,
    name: str,
    document: Mapping[str, Any] | None = None,
    /,
    **arguments: Any,
) -> str:
    """The code with which it fails; what the transaction did beside it is committed."""
    checked = ACTIONS[name].checked({"type": name, **(document or {})})
    with at_work(context, acting) as session, pytest.raises(SkillFailed) as failure:
        ACTIONS[name].act(session, acting, checked, arguments)
    for value in arguments.values():
        assert not (isinstance(value, str) and len(value) > 6 and value in str(failure.value))
    assert failure.value.retryable is (failure.value.code == "busy")
    return failure.value.code
