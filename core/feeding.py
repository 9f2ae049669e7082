"""Feed: an annotation of history walks through what is stored, and hands it to the workers in short pieces.

One short transaction a piece: lock the next conversations, look which of their messages are not current, ask
for these to be looked at, move the cursor and the counters. Committed together or not at all, so a kill loses
and doubles nothing; any number of schedulers may. A locked conversation has no writer, so no message of it
slips by; what is written to it later is redacted by whoever writes it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session

from core.annotation_jobs import annotation_progress_of, end_annotation_job, scope_of
from core.annotations import HINT, QUEUE
from core.context import Context, settings_of
from core.errors import CrontalkError, Unavailable
from core.holds import held_of
from core.prompts import refresh_prompts
from core.publisher import Hint
from core.rows import database_now
from core.shield import Shield
from core.shields import shields_of
from models import DUE_STATES, AnnotationState, Conversation, ErrorClass, Job, JobState, PiiState

log = structlog.get_logger()

BATCH = 50
# Live clocks wait for no more than this in a turn.
PATIENCE = 0.1
# How many messages of an account wait for workers at a time because of a job.
MOST_WAITING = 2000
CONVERSATIONS, MESSAGES, TASKS = 50, 500, 50
LOOK_AGAIN = timedelta(seconds=0.25)
GIVE_WAY = timedelta(seconds=0.1)
NEWCOMERS = timedelta(minutes=1)
AT_THE_END = "end"
OF_TASKS = "task:"

DUE = text(
    "SELECT id FROM jobs WHERE kind = 'annotate' AND state IN ('pending', 'running') AND run_at <= now()"
    " ORDER BY run_at LIMIT :batch"
)
# Who began to write before the job was made may write under the privacy of before, and is waited for.
SITUATION = text(
    "SELECT a.closed_at IS NOT NULL AS closed,"
    " (SELECT count(*) FROM annotations n WHERE n.account_id = a.id AND n.state IN ('pending', 'running'))"
    "  AS waiting,"
    " j.created_at > now() - CAST(:newcomers AS interval) AND EXISTS (SELECT FROM pg_stat_activity s"
    "  WHERE s.datname = current_database() AND s.backend_type = 'client backend'"
    "  AND s.pid <> pg_backend_pid() AND s.xact_start < j.created_at) AS too_early"
    " FROM jobs j JOIN accounts a ON a.id = j.account_id WHERE j.id = :id"
)
TASKS_AFTER = text(
    "SELECT t.id FROM tasks t WHERE t.account_id = :account AND t.state <> 'deleted'"
    " AND (CAST(:bot AS uuid) IS NULL OR t.bot_id = :bot) AND t.id > :after ORDER BY t.id LIMIT :most"
)
LOCK_CLOCKS = text(
    "SELECT task_id FROM task_clocks WHERE task_id = ANY(CAST(:ids AS uuid[])) ORDER BY task_id"
    " FOR UPDATE SKIP LOCKED"
)
CONVERSATIONS_FROM = text(
    "SELECT id FROM conversations WHERE account_id = :account AND id >= :after AND id <= :until"
    " AND (CAST(:bot AS uuid) IS NULL OR bot_id = :bot) AND (CAST(:one AS uuid) IS NULL OR id = :one)"
    " ORDER BY id LIMIT :most"
)
LOCK_CONVERSATIONS = text(
    "SELECT id FROM conversations WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id"
    " FOR NO KEY UPDATE SKIP LOCKED"
)
# An edit has locked its message before it asks for an annotation: so do we, or each would wait for the other.
READ = text(
    "SELECT m.id, m.conversation_id, m.seq, m.text_rev, m.pii_state, m.pii_version, a.state AS annotation"
    " FROM messages m LEFT JOIN annotations a ON a.message_id = m.id"
    " WHERE m.conversation_id = ANY(CAST(:ids AS uuid[])) AND (m.conversation_id, m.seq) > (:after, :seq)"
    " ORDER BY m.conversation_id, m.seq LIMIT :most FOR KEY SHARE OF m"
)
ENQUEUE = text(
    "INSERT INTO annotations AS a"
    " (message_id, account_id, conversation_id, text_rev, job_id, hinted_at, hints)"
    " SELECT m.id, :account, m.conversation, m.rev, :job, now(), 1 FROM unnest(CAST(:ids AS uuid[]),"
    "  CAST(:conversations AS uuid[]), CAST(:revs AS int[])) AS m (id, conversation, rev)"
    " ON CONFLICT (message_id) DO UPDATE SET text_rev = excluded.text_rev, job_id = excluded.job_id,"
    "  state = 'pending', run_at = now(), lease_until = NULL, epoch = a.epoch + 1, attempt = 0,"
    "  error_code = NULL, hinted_at = now(), hints = a.hints + 1 RETURNING message_id, hints"
)
NO_ID = uuid.UUID(int=0)
LAST_SEQ = 2**31 - 1


@dataclass(frozen=True)
class _Place:
    """Where the walk stands: after a message of a conversation."""

    conversation: uuid.UUID = NO_ID
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.conversation}:{self.seq}"


def feed_annotations(context: Context) -> int:
    """Moves on the annotations of history whose time has come; answers how many pieces were dealt with."""
    with context.transaction() as session:
        due = list(session.scalars(DUE, {"batch": BATCH}))
    stop_at, pieces = time.monotonic() + PATIENCE, 0
    while due and time.monotonic() < stop_at:
        try:
            # A piece of each in turn: no account waits for another's history.
            due = [job for job in due if _feed_one(context, job)]
        except Unavailable as error:
            log.warning("annotations_not_fed", error=type(error).__name__)
            break
        pieces += len(due)
    return pieces


def _feed_one(context: Context, job_id: uuid.UUID) -> bool:
    """Whether it may go on at once."""
    try:
        with context.transaction() as session:
            return feed(session, job_id)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 (one bad row must not stop the clocks; no traceback: it can hold text)
        log.error("annotation_job_broke", job=str(job_id), error=type(error).__name__)
    try:
        with context.transaction() as session:
            job = _take(session, job_id)
            if job is not None:
                end_annotation_job(session, job, JobState.FAILED, ErrorClass.INTERNAL_ERROR)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 (as above; the doctor finds one that stands still)
        log.error("annotation_job_not_ended", job=str(job_id), error=type(error).__name__)
    return False


def feed(session: Session, job_id: uuid.UUID) -> bool:
    """Deals with the next piece of an annotation, or ends it; whether it may go on at once."""
    job = _take(session, job_id)
    if job is None:
        return False
    now = session.execute(SITUATION, {"id": job.id, "newcomers": NEWCOMERS}).mappings().one()
    if now["closed"]:
        end_annotation_job(session, job, JobState.CANCELLED)
        return False
    if now["too_early"]:
        return _later(session, job, GIVE_WAY)
    job.state, job.started_at = JobState.RUNNING, job.started_at or database_now(session)
    if job.cursor == AT_THE_END:
        return _finish(session, job)
    return _go_on(session, job, MOST_WAITING - now["waiting"])


def _go_on(session: Session, job: Job, room: int) -> bool:
    if job.cursor is None or job.cursor.startswith(OF_TASKS):
        moved = _walk_tasks(session, job)
    elif room <= 0:
        return _later(session, job, LOOK_AGAIN)
    else:
        moved = _walk(session, job, min(MESSAGES, room))
    if not moved:
        return _later(session, job, GIVE_WAY)
    session.flush()
    return True


def _take(session: Session, job_id: uuid.UUID) -> Job | None:
    due = select(Job).where(Job.id == job_id, Job.state.in_(DUE_STATES), Job.run_at <= func.now())
    return session.scalars(due.with_for_update(skip_locked=True)).one_or_none()


def _later(session: Session, job: Job, pause: timedelta) -> bool:
    job.run_at = database_now(session) + pause
    session.flush()
    return False


def _finish(session: Session, job: Job) -> bool:
    if annotation_progress_of(session, [job])[job.id].under_way:
        return _later(session, job, LOOK_AGAIN)
    end_annotation_job(session, job)
    return False


def _walk_tasks(session: Session, job: Job) -> bool:
    """Redacts the prompts of the next tasks; False when the first of them is in somebody's hands."""
    after = (job.cursor or "").removeprefix(OF_TASKS) or str(NO_ID)
    if job.params.get("conversation"):
        job.cursor = str(_Place())
        return True
    values = {"account": job.account_id, "bot": job.params.get("bot"), "after": after, "most": TASKS}
    wanted = list(session.scalars(TASKS_AFTER, values))
    locked = set(session.scalars(LOCK_CLOCKS, {"ids": wanted}))
    ours = _ours(wanted, locked)
    if ours:
        refresh_prompts(session, ours)
        job.cursor = f"{OF_TASKS}{ours[-1]}"
    elif not wanted:
        job.cursor = str(_Place())
    return bool(ours or not wanted)


def _walk(session: Session, job: Job, room: int) -> bool:
    """Hands on the next messages; False when the next conversation is in somebody's hands."""
    place = _read_place(job.cursor)
    values = {"account": job.account_id, "after": place.conversation, "most": CONVERSATIONS}
    wanted = list(session.scalars(CONVERSATIONS_FROM, {**scope_of(job), **values}))
    if not wanted:
        job.cursor = AT_THE_END
        return True
    ours = _ours(wanted, set(session.scalars(LOCK_CONVERSATIONS, {"ids": wanted})))
    if not ours:
        return False
    shields = shields_of(session, ours)
    values = {"ids": ours, "after": place.conversation, "seq": place.seq, "most": room}
    found = session.execute(READ, values).all()
    reached = len(found) == room
    last = _Place(found[-1].conversation_id, found[-1].seq) if reached else _Place(ours[-1], LAST_SEQ)
    at_the_end = not reached and ours == wanted and len(wanted) < CONVERSATIONS
    if last == place and not at_the_end:
        return False
    _protect_labels(session, shields, place, last)
    again = job.params.get("again", False)
    with_model = settings_of(session).pii_ner is not None
    held, stale = held_of(session, ours), []
    for one in found:
        if one.conversation_id in held:
            continue  # its texts stay as they were said
        shield = shields.get(one.conversation_id)
        # Which model the workers have is known to them alone.
        asked = shield is not None and with_model and shield.policy.asks_model
        if not _current(one, shield, again=again or asked):
            stale.append(one)
    _enqueue(session, job, stale)
    job.done += len(stale)
    job.skipped += len(found) - len(stale)
    # Conversations that are begun while it walks are looked at as well.
    job.total = max(job.total or 0, job.done + job.skipped)
    job.cursor = AT_THE_END if at_the_end else str(last)
    return True


def _read_place(cursor: str | None) -> _Place:
    conversation, _, seq = (cursor or "").partition(":")
    return _Place(uuid.UUID(conversation), int(seq))


def _ours(wanted: Sequence[uuid.UUID], locked: set[uuid.UUID]) -> list[uuid.UUID]:
    """Those before the first that somebody else holds: the walk passes nothing by."""
    ours: list[uuid.UUID] = []
    for one in wanted:
        if one not in locked:
            break
        ours.append(one)
    return ours


def _current(message: Row[Any], shield: Shield | None, *, again: bool) -> bool:
    """Whether there is nothing to look at: without privacy, or looked at with all that is known today."""
    if shield is None:
        return True
    if again or message.pii_version is None:
        return False
    same = bool(message.pii_version == shield.version)
    under_way = message.annotation in {AnnotationState.PENDING, AnnotationState.RUNNING}
    return same and (message.pii_state == PiiState.DONE or under_way)


def _enqueue(session: Session, job: Job, stale: Sequence[Row[Any]]) -> None:
    if not stale:
        return
    values = {
        "account": job.account_id,
        "job": job.id,
        "ids": [one.id for one in stale],
        "conversations": [one.conversation_id for one in stale],
        "revs": [one.text_rev for one in stale],
    }
    first = session.execute(ENQUEUE, values).first()
    if first is not None:
        hint = Hint(first.message_id, HINT, QUEUE, first.hints)
        session.info.setdefault("hints", []).append(hint)


def _protect_labels(
    session: Session, shields: Mapping[uuid.UUID, Shield], begun: _Place, last: _Place
) -> None:
    """Redacts what conversations say of themselves, as the walk comes to them."""
    reached = [one for one in shields if begun.conversation < one <= last.conversation]
    for conversation in session.scalars(select(Conversation).where(Conversation.id.in_(reached))):
        if not (conversation.name or conversation.description or conversation.meta):
            continue
        shield = shields[conversation.id]
        try:
            honoured = shield.tokens()
            conversation.name = shield.label(conversation.name, honoured=honoured)
            conversation.description = shield.label(conversation.description, honoured=honoured)
            conversation.meta = shield.tree(conversation.meta, honoured=honoured)
            shield.keep()
        except CrontalkError as error:
            log.warning("labels_not_redacted", conversation=str(conversation.id), error=type(error).__name__)
    session.flush()
