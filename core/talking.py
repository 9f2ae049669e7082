"""Turns as callers ask for them: send, receive, complete, compact, dispatch. A worker carries them out."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.context import account_of, publish_after_commit, settings_of
from core.database import violated
from core.entities import Entity
from core.errors import Conflict, InvalidInput
from core.keys import seal
from core.messages import Written, append
from core.publisher import Hint
from core.rows import checked_text, own
from core.turn_requests import ALL, END, TurnRequest
from core.usage import count_usage
from models import Action, Conversation, MessageType, Run, RunState, Trigger, new_id

CHANNEL_LENGTHS = range(16, 201)
PLAIN = TurnRequest()
# A channel names one turn for as long as what was said on it can be read; then it may be used again.
RELEASE_CHANNEL = sql(
    "UPDATE runs SET channel = NULL WHERE account_id = :account AND channel = :channel"
    " AND finished_at < now() - interval '1 hour'"
)
# The one active turn of a conversation is `uq_runs_active_turn`: whoever comes second stores nothing.
BEGIN = insert(Run).on_conflict_do_nothing(
    index_elements=[Run.conversation_id], index_where=sql("state IN ('pending', 'running')")
)
SINCE_SUMMARY = sql(
    "SELECT count(*) FROM messages WHERE conversation_id = :id AND seq > COALESCE("
    " (SELECT max(seq) FROM messages WHERE conversation_id = :id AND type = 'checkpoint'), 0)"
)


def send(
    session: Session, conversation_id: uuid.UUID | str, text: str, entities: tuple[Entity, ...] = ()
) -> Written:
    """Stores a user message. Never answers, and needs no free turn."""
    conversation = own(session, Conversation, conversation_id)
    written = append(session, conversation.id, MessageType.USER, text, entities=entities)
    count_usage(session, conversation.account_id, messages=1)
    return written


def receive(
    session: Session,
    conversation_id: uuid.UUID | str,
    request: TurnRequest = PLAIN,
    *,
    listened: str | None = None,
) -> Run:
    """Asks for a bot message from the stored history; the run ends with it.

    `listened`: somebody waits for it on the live channel of the run's id, for ALL events or for its END.

    Raises:
        Conflict: a turn is under way.

    """
    conversation = own(session, Conversation, conversation_id, lock=True)
    return _turn(session, conversation, Action.RECEIVE, None, request, listened=listened)


def complete(
    session: Session,
    conversation_id: uuid.UUID | str,
    text: str | None = None,
    request: TurnRequest = PLAIN,
    *,
    entities: tuple[Entity, ...] = (),
    listened: str | None = None,
) -> Run:
    """Stores a user message and asks for the answer, in one; without text it continues.

    Raises:
        Conflict: a turn is under way; nothing was stored.

    """
    conversation = own(session, Conversation, conversation_id, lock=True)
    return _turn(session, conversation, Action.COMPLETE, text, request, entities=entities, listened=listened)


def compact(session: Session, conversation_id: uuid.UUID | str) -> Run | None:
    """Asks for a summary, which from then on stands for what was said before; None when there is no need.

    The messages stay; the model is shown the summary and what follows it.

    Raises:
        Conflict: a turn is under way.

    """
    conversation = own(session, Conversation, conversation_id, lock=True)
    if session.execute(SINCE_SUMMARY, {"id": conversation.id}).scalar_one() < 2:
        return None
    return _turn(session, conversation, Action.RECEIVE, None, TurnRequest(compacts=True), listened=END)


def dispatch(
    session: Session,
    conversation_id: uuid.UUID | str | None,
    text: str | None,
    request: TurnRequest,
    channel: str | None = None,
    *,
    entities: tuple[Entity, ...] = (),
) -> tuple[Run, str]:
    """A turn in the background that speaks on a channel: the run and the channel's name.

    Without a conversation it is of the messages the request brings, kept sealed until it ends. The same
    channel twice is the same turn, for an hour after it has ended.

    Raises:
        InvalidInput: a channel's name has 16 to 200 characters.
        NotFound, NotAuthorized: the conversation.
        Conflict: a turn is under way; or the installation has no key to seal with.

    """
    name = checked_channel(channel) if channel else str(uuid.uuid4())
    account = account_of(session)
    if conversation_id is not None:
        own(session, Conversation, conversation_id)
    session.execute(RELEASE_CHANNEL, {"account": account, "channel": name})
    same = select(Run).where(Run.account_id == account, Run.channel == name)
    earlier = session.scalars(same).one_or_none()
    if earlier is not None:
        return earlier, name
    conversation = None
    if conversation_id is not None:
        conversation = own(session, Conversation, conversation_id, lock=True)
    try:
        with session.begin_nested():
            run = _turn(
                session,
                conversation,
                Action.COMPLETE,
                text,
                request,
                entities=entities,
                listened=ALL,
                channel=name,
            )
    except IntegrityError as error:
        if violated(error) != "uq_runs_channel":
            raise
        run = session.scalars(same).one()
    return run, name


def checked_channel(name: Any) -> str:
    """A channel's name.

    Raises:
        InvalidInput: it has not 16 to 200 characters, or some that no name has.

    """
    if not isinstance(name, str) or len(name) not in CHANNEL_LENGTHS or not name.isprintable():
        raise InvalidInput("The id of a channel has 16 to 200 printable characters.")
    return checked_text(name, "The id of a channel", longest=800) or ""


def channels_of(session: Session, conversation_ids: Sequence[uuid.UUID]) -> list[str]:
    """The live channels on which the turns of conversations speak or spoke."""
    query = select(Run.id, Run.channel).where(
        Run.conversation_id.in_(conversation_ids), Run.trigger == Trigger.API
    )
    return [
        channel or str(run_id)
        for run_id, channel in session.execute(query.order_by(Run.id.desc()).limit(1000))
    ]


def _turn(
    session: Session,
    conversation: Conversation | None,
    action: Action,
    text: str | None,
    request: TurnRequest,
    *,
    entities: tuple[Entity, ...] = (),
    listened: str | None = None,
    channel: str | None = None,
) -> Run:
    """A run of a conversation that is locked, with the message it answers."""
    run = begin_turn(session, conversation, action, request, listened=listened, channel=channel)
    if run is None:
        raise Conflict("A turn is under way in this conversation.")
    if text is not None and conversation is not None:
        append(
            session, conversation.id, MessageType.USER, text, run_id=run.id, step="prompt", entities=entities
        )
        count_usage(session, run.account_id, messages=1)
    return run


def begin_turn(
    session: Session,
    conversation: Conversation | None,
    action: Action,
    request: TurnRequest = PLAIN,
    *,
    listened: str | None = None,
    channel: str | None = None,
) -> Run | None:
    """A run of a conversation that is locked; None where a turn is under way, and then nothing was stored."""
    account = account_of(session)
    run_id, content = new_id(), request.content()
    values = {
        "id": run_id,
        "account_id": account,
        "conversation_id": conversation.id if conversation else None,
        "trigger": Trigger.API,
        "action": action,
        "state": RunState.PENDING,
        "deadline_at": func.now() + settings_of(session).turn_time,
        "channel": channel,
        "params": request.params() | ({"listened": listened} if listened else {}),
        "request": None if content is None else seal(session, account, content, f"run.request:{run_id}"),
        "hinted_at": func.now(),
        "hints": 1,
    }
    run = session.scalars(BEGIN.values(values).returning(Run)).one_or_none()
    if run is None:
        return None
    publish_after_commit(session, Hint(run.id, action, run.queue, run.hints))
    return run
