"""Waiting runs: those behind another run of their task, promoted when nothing of it is under way any more.

A sweep of the scheduler promotes them, whatever it was that ended the run before: a reply, a failure, a
cancel, the reaper. One that speaks in a conversation that is there is told only now in which, so that its
prompt follows what was said before.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import Context, news_after_commit
from core.prompts import COLUMNS, VALUES, annotations_of, prompt_within, refresh_prompts, vault_of
from models import new_id

BATCH = 200
NOBODY = uuid.UUID(int=0)
PATIENCE = 1.0  # seconds that the other duties of a scheduler wait

# Whoever fires, triggers or edits a task holds its clock: the count of what is under way stands still.
TAKE_FREE = text(
    "SELECT c.task_id FROM task_clocks c WHERE c.task_id > :after AND c.task_id IN (SELECT w.task_id"
    "  FROM runs w WHERE w.state = 'waiting' AND w.task_id > :after)"
    " AND NOT EXISTS (SELECT FROM runs r WHERE r.task_id = c.task_id"
    "  AND r.state IN ('pending', 'running') AND r.trigger <> 'backfill')"
    " ORDER BY c.task_id LIMIT :batch FOR UPDATE OF c SKIP LOCKED"
)
NEXT = text(
    "SELECT DISTINCT ON (w.task_id) w.id, w.task_id, w.conversation_id, session.id AS session_of,"
    " session.shielded"
    " FROM runs w JOIN tasks t ON t.id = w.task_id"
    " LEFT JOIN LATERAL (SELECT c.id, c.privacy OR c.privacy_policy IS NOT NULL AS shielded"
    "  FROM conversations c WHERE w.conversation_id IS NULL"
    "  AND c.task_id = t.id AND c.status = 'active' AND c.source = 'task'"
    "  AND (t.conversation_mode = 'one' OR c.created_at > now() - t.session_duration)"
    "  ORDER BY c.id DESC LIMIT 1) AS session ON true"
    " WHERE w.task_id = ANY(CAST(:ids AS uuid[])) AND w.state = 'waiting'"
    " AND NOT EXISTS (SELECT FROM runs r WHERE r.task_id = w.task_id AND r.state IN ('pending', 'running')"
    "  AND r.trigger <> 'backfill')"
    " ORDER BY w.task_id, w.scheduled_for, w.id"
)
# A turn begins and a conversation goes under this lock. Whoever holds it is not waited for.
TAKE_QUIET = text(
    "SELECT id FROM conversations WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id"
    " FOR NO KEY UPDATE SKIP LOCKED"
)
BUSY = text(
    "SELECT conversation_id FROM runs WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"
    " AND state IN ('pending', 'running')"
)
PROMOTE = text(
    "UPDATE runs SET state = 'pending', run_at = GREATEST(run_at, now()) WHERE id = ANY(CAST(:ids AS uuid[]))"
    " AND state = 'waiting' RETURNING account_id, conversation_id"
)
# Locked, because a run is cancelled under its own lock alone.
PROMPTED = (
    "d AS (SELECT r.id, r.account_id, t.bot_id, t.contact_id, t.id AS task_id, t.name,"
    " CASE WHEN CAST(:prompt AS text) IS NULL THEN t.shield ELSE CAST(:shield AS jsonb) END AS shield,"
    " COALESCE(CAST(:prompt AS text), t.description, t.name) AS prompt,"
    " CASE r.action WHEN 'receive' THEN 'instruction' ELSE 'user' END AS type"
    " FROM runs r JOIN tasks t ON t.id = r.task_id WHERE r.id = :run AND r.state = 'waiting'"
    " FOR UPDATE OF r)"
)
TOLD = (
    " UPDATE runs SET state = 'pending', run_at = GREATEST(run_at, now()), conversation_id = :conversation"
    " WHERE id = (SELECT id FROM d) RETURNING account_id"
)
KEPT = (
    f" v AS ({vault_of('CAST(:conversation AS uuid)')}),"
    f" n AS ({annotations_of('CAST(:conversation AS uuid)', 'CAST(:message AS uuid)')})"
)
OPEN = text(
    f"WITH {PROMPTED}, c AS (INSERT INTO conversations (id, account_id, bot_id, contact_id, task_id,"  # noqa: S608
    "  run_id, source, name, next_seq, last_message_at)"
    "  SELECT :conversation, account_id, bot_id, contact_id, task_id, id, 'task', name, 2, now() FROM d),"
    f" m AS (INSERT INTO messages (id, account_id, conversation_id, seq, type, text, run_id, step, {COLUMNS})"
    f"  SELECT :message, account_id, :conversation, 1, type, prompt, id, 'prompt', {VALUES} FROM d),"
    + KEPT
    + TOLD
)
# The bot of the task answers, also where it is another than the one that opened the conversation.
CONTINUE = text(
    f"WITH {PROMPTED}, c AS (UPDATE conversations SET next_seq = next_seq + 1, bot_id = d.bot_id,"  # noqa: S608
    "  updated_at = now(),"
    "  last_message_at = GREATEST(clock_timestamp(), last_message_at + interval '1 microsecond')"
    "  FROM d WHERE conversations.id = :conversation RETURNING next_seq - 1 AS seq, last_message_at),"
    " m AS (INSERT INTO messages (id, account_id, conversation_id, seq, type, text, run_id, step, created_at,"
    f"   {COLUMNS}) SELECT :message, d.account_id, :conversation, c.seq, d.type, d.prompt, d.id, 'prompt',"
    f"  c.last_message_at, {VALUES} FROM d, c)," + KEPT + TOLD
)


def promote(context: Context) -> int:
    """Lets the next waiting run of every task that has nothing under way go on; answers how many did."""
    promoted, after, stop_at = 0, NOBODY, time.monotonic() + PATIENCE
    while True:
        with context.transaction() as session:
            free = session.scalars(TAKE_FREE, {"after": after, "batch": BATCH}).all()
            promoted += promote_of(session, free)
        if len(free) < BATCH or time.monotonic() >= stop_at:
            return promoted
        after = free[-1]


def promote_of(session: Session, task_ids: Sequence[uuid.UUID]) -> int:
    """The same for these tasks, whose clocks are locked. Where the conversation is busy the run waits on."""
    if not task_ids:
        return 0
    found = session.execute(NEXT, {"ids": list(task_ids)}).all()
    quiet = _take_quiet(session, [row.conversation_id or row.session_of for row in found])
    ready = [row.id for row in found if row.conversation_id in quiet]
    if ready:
        for account, conversation in session.execute(PROMOTE, {"ids": ready}).all():
            news_after_commit(session, account, conversation)
    told = [
        row for row in found if not row.conversation_id and (not row.session_of or row.session_of in quiet)
    ]
    refresh_prompts(session, [row.task_id for row in told])
    for row in told:
        statement, conversation = (CONTINUE, row.session_of) if row.session_of else (OPEN, new_id())
        prompt = prompt_within(session, row.task_id, row.session_of) if row.shielded else None
        said = {"prompt": prompt and prompt.words, "shield": prompt and json.dumps(prompt.shield)}
        values = {"run": row.id, "conversation": conversation, "message": new_id(), **said}
        for account in session.scalars(statement, values):
            news_after_commit(session, account, conversation)
    return len(ready) + len(told)


def _take_quiet(session: Session, conversations: Sequence[uuid.UUID | None]) -> set[uuid.UUID]:
    """Locks those of the conversations that are there and have no turn under way."""
    ids = [conversation for conversation in conversations if conversation]
    if not ids:
        return set()
    taken = session.scalars(TAKE_QUIET, {"ids": ids}).all()
    return set(taken) - set(session.scalars(BUSY, {"ids": list(taken)}))
