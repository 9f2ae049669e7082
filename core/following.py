"""Follow-ups: what people say while a turn is under way is answered by one turn after it, all of it at once.

A turn that reads the history after a message was stored answers that message as well. Whoever stores one
locks the conversation and then the run that is under way, which cannot be claimed meanwhile: a run that is
still to be claimed will have read it, and of one that was claimed already its epoch is noted. So a follow-up
is left out exactly when a later attempt of the turn before it has seen all that waited.

A follow-up is a run that waits, at most one per conversation (`uq_runs_follow_up`). Settlements let it go on
in their own transaction; a sweep of the scheduler does where a turn ended otherwise: cancelled, or reaped.
"""

from __future__ import annotations

import uuid

from sqlalchemy import func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.context import Context, account_of, news_after_commit, publish_after_commit, settings_of
from core.errors import Unavailable
from core.publisher import Hint
from core.talking import begin_turn
from models import Action, Conversation, Run, RunState, Trigger, new_id

BATCH = 200
ATTEMPTS = 10
NOBODY = uuid.UUID(int=0)
REASON = "answered"
# Runs that answer what stands in the history when they are claimed.
ANSWERING = "action IN ('complete', 'receive') AND params ->> 'compacts' IS NULL"
# Against the claim and the end: either comes before this look, or after the commit of what is said now.
UNDER_WAY = text(
    f"SELECT id, epoch, state = 'pending' AND {ANSWERING} AS will_read, params ->> 'listened' AS listened"  # noqa: S608
    " FROM runs WHERE conversation_id = :id AND state IN ('pending', 'running') FOR SHARE"
)
LISTEN = text("UPDATE runs SET params = params || jsonb_build_object('listened', :how) WHERE id = :id")
LEFT_BEHIND = text(
    "SELECT w.conversation_id FROM runs w WHERE w.state = 'waiting' AND w.trigger = 'api'"
    " AND w.conversation_id > :after AND NOT EXISTS (SELECT FROM runs r"
    "  WHERE r.conversation_id = w.conversation_id AND r.state IN ('pending', 'running'))"
    " ORDER BY w.conversation_id LIMIT :batch"
)
# Whoever holds it is not waited for: a settlement of it follows up by itself.
TAKE = text("SELECT 1 FROM conversations WHERE id = :id FOR NO KEY UPDATE SKIP LOCKED")
GO_ON = text(
    "WITH waiting AS (SELECT id, params -> 'behind' AS behind FROM runs"  # noqa: S608 (constants)
    "  WHERE conversation_id = :id AND state = 'waiting' AND trigger = 'api' FOR UPDATE),"
    " judged AS (SELECT w.id, EXISTS (SELECT FROM runs r WHERE r.id = CAST(w.behind ->> 'run' AS uuid)"
    "   AND r.state = 'succeeded' AND r.epoch > CAST(w.behind ->> 'epoch' AS int)"
    f"  AND {ANSWERING}) AS answered FROM waiting w)"
    " UPDATE runs r SET run_at = now(),"
    "  state = CASE WHEN j.answered THEN 'cancelled' ELSE 'pending' END,"
    "  reason = CASE WHEN j.answered THEN :reason END,"
    "  error_class = CASE WHEN j.answered THEN 'cancelled' END,"
    "  finished_at = CASE WHEN j.answered THEN now() END,"
    "  deadline_at = now() + CAST(:time AS interval),"
    "  hinted_at = now(), hints = hints + 1"
    " FROM judged j WHERE r.id = j.id AND NOT EXISTS (SELECT FROM runs a"
    "  WHERE a.conversation_id = :id AND a.state IN ('pending', 'running'))"
    " RETURNING r.id, r.account_id, r.action, r.queue, r.hints, r.state"
)


def answering_turn(
    session: Session, conversation: Conversation, *, listened: str | None = None
) -> tuple[uuid.UUID, bool]:
    """The run that will answer what this transaction stores, and whether it begins with it.

    The conversation must be locked. It is a new turn, the one that is about to begin, or the follow-up of
    the one that is under way. `listened` as in core/talking.py.
    """
    for _ in range(ATTEMPTS):
        run = begin_turn(session, conversation, Action.COMPLETE, listened=listened)
        if run is not None:
            return run.id, True
        ahead = session.execute(UNDER_WAY, {"id": conversation.id}).one_or_none()
        if ahead is None:
            continue  # it has just ended
        if not ahead.will_read:
            return _waiting(session, conversation, ahead.id, ahead.epoch, listened), False
        if listened and ahead.listened != listened:
            session.execute(LISTEN, {"id": ahead.id, "how": listened})
        return ahead.id, False
    raise Unavailable("Turns of this conversation begin and end too fast.")


def _waiting(
    session: Session, conversation: Conversation, run: uuid.UUID, epoch: int, listened: str | None
) -> uuid.UUID:
    """The conversation's follow-up, which goes on for what is said now as well."""
    params = {"behind": {"run": str(run), "epoch": epoch}} | ({"listened": listened} if listened else {})
    stored = insert(Run).values(
        id=new_id(),
        account_id=account_of(session),
        conversation_id=conversation.id,
        trigger=Trigger.API,
        action=Action.RECEIVE,
        state=RunState.WAITING,
        params=params,
    )
    merged = stored.on_conflict_do_update(
        index_elements=[Run.conversation_id],
        index_where=text("state = 'waiting' AND trigger = 'api'"),
        set_={"params": Run.params.op("||")(stored.excluded.params), "run_at": func.now()},
    )
    return session.execute(merged.returning(Run.id)).scalar_one()


def follow_up(session: Session, conversation_id: uuid.UUID | None) -> bool:
    """Lets the follow-up of a conversation go on, which is locked; False: there is none, or a turn before it.

    One whose messages have been answered meanwhile ends as cancelled, with the reason `answered`.
    """
    if conversation_id is None:
        return False
    values = {"id": conversation_id, "reason": REASON, "time": settings_of(session).turn_time}
    row = session.execute(GO_ON, values).one_or_none()
    if row is None:
        return False
    news_after_commit(session, row.account_id, conversation_id)
    if row.state == RunState.PENDING:
        publish_after_commit(session, Hint(row.id, row.action, row.queue, row.hints))
    return True


def follow_up_all(context: Context) -> int:
    """The same for every conversation whose turn ended and let nothing go on; answers how many did."""
    done, after = 0, NOBODY
    while True:
        with context.transaction() as session:
            left = session.scalars(LEFT_BEHIND, {"after": after, "batch": BATCH}).all()
            for conversation in left:
                if session.execute(TAKE, {"id": conversation}).one_or_none() is not None:
                    done += follow_up(session, conversation)
        if len(left) < BATCH:
            return done
        after = left[-1]
