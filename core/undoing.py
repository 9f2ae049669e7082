"""Undoing an import: what it has stored goes, and its keys are free, so that it can be imported again.

What was said in its conversations since stays, and so do conversations that hold any of it. It is a deletion
like others: at the account's rate, with receipts, and replies under way are discarded.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from core.bots import delete_bot
from core.buckets import Buckets
from core.contacts import delete_contact
from core.context import account_of, actor_of
from core.delete_jobs import rates_of
from core.erasures import note_many
from core.errors import Conflict, NotFound
from core.holds import HELD, keep_holds
from core.import_keys import LOCK
from core.job_states import end, refuse_a_crowd, wake
from core.purging import purge_conversations
from core.rows import as_array, own
from core.slices import Hold, Step
from core.sweeping import between, sweep
from core.tasks import delete_task
from core.walking import Pace, Paced
from models import UNFINISHED, ImportKind, Job, JobKind, JobState, Task, TaskState

ENTRIES = 500  # of a batch at most
PLACES = ("target_id", "first_seq", "last_seq")

STORED = text(
    "SELECT count(*) AS entries, COALESCE(sum(last_seq - first_seq + 1), 0)::bigint AS messages"
    " FROM import_keys WHERE account_id = :account AND job_id = :job"
)
# A conversation's first entry, which tells whether it was made, comes last. What is held stays, and so do
# its keys.
NEXT = text(
    "SELECT kind, key, number, target_id, made, first_seq, last_seq FROM import_keys k"  # noqa: S608 (a constant)
    " WHERE account_id = :account AND job_id = :job"
    f" AND NOT EXISTS (SELECT FROM conversations c WHERE c.id = k.target_id AND {HELD})"
    " AND NOT EXISTS (SELECT FROM legal_holds h WHERE h.account_id = k.account_id"
    "  AND (k.target_id IN (h.bot_id, h.task_id, h.contact_id)"
    "  OR num_nonnulls(h.bot_id, h.task_id, h.contact_id, h.conversation_id) = 0))"
    " ORDER BY array_position(ARRAY['conversation', 'task', 'contact', 'bot'], kind), key, number DESC"
    " LIMIT :most"
)
FREE = text(
    "DELETE FROM import_keys k USING unnest(CAST(:kinds AS text[]), CAST(:keys AS bytea[]),"
    "  CAST(:numbers AS int[])) AS f (kind, key, number)"
    " WHERE k.account_id = :account AND k.kind = f.kind AND k.key = f.key AND k.number = f.number"
)
# Of these conversations, those that hold nothing any more.
EMPTY = text(
    "SELECT c.id FROM conversations c WHERE c.id = ANY(CAST(:ids AS uuid[])) AND c.account_id = :account"
    " AND NOT EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id)"
)
LINKED = {
    ImportKind.CONTACT: text(
        "SELECT EXISTS (SELECT FROM conversations WHERE contact_id = :id)"
        " OR EXISTS (SELECT FROM tasks WHERE contact_id = :id)"
        " OR EXISTS (SELECT FROM memories WHERE contact_id = :id)"
    ),
    ImportKind.BOT: text(
        "SELECT EXISTS (SELECT FROM conversations WHERE bot_id = :id)"
        " OR EXISTS (SELECT FROM tasks WHERE bot_id = :id)"
        " OR EXISTS (SELECT FROM ratings WHERE bot_id = :id)"
        " OR EXISTS (SELECT FROM memories WHERE bot_id = :id)"
        " OR EXISTS (SELECT FROM bots WHERE id = :id AND is_default)"
    ),
}


def undo_import(session: Session, job_id: uuid.UUID | str) -> Job:
    """Has what an import stored removed again, and its keys freed; answers the job that does it.

    Raises:
        Conflict: it is no import, is unfinished, is being undone, or has stored nothing that is left.
        NotFound, NotAuthorized.

    """
    of = own(session, Job, job_id, lock=True)
    if of.kind != JobKind.IMPORT:
        raise Conflict("Only an import is undone.")
    if of.state in UNFINISHED:
        raise Conflict("The import is unfinished: cancel it first.")
    account = account_of(session)
    under_way = select(Job.id).where(
        Job.account_id == account,
        Job.kind == JobKind.UNDO,
        Job.state.in_(UNFINISHED),
        Job.params["import"].astext == str(of.id),
    )
    if (other := session.scalar(under_way)) is not None:
        raise Conflict(f"The import is being undone already: {other}.")
    refuse_a_crowd(session, account, JobKind.UNDO)
    stored = session.execute(STORED, {"account": account, "job": of.id}).one()
    if not stored.entries:
        raise Conflict("Nothing that the import has stored is left.")
    params = {"import": str(of.id), "actor": actor_of(session)}
    job = Job(account_id=account, kind=JobKind.UNDO, total=stored.messages, params=params)
    session.add(job)
    session.flush()
    session.refresh(job)
    wake(session, job)
    return job


def end_undo_job(
    session: Session, job: Job, state: JobState | None = None, error_class: str | None = None
) -> None:
    """Ends a locked undo; without a state it is completed. What others have deleted, and what a legal hold is
    on, counts as skipped.
    """
    if state is None:
        job.total = max(job.total or 0, job.done)
        job.skipped = job.total - job.done
        state = JobState.COMPLETED
    end(session, job, state, error_class)


class Undo(Paced):
    """An undo in our hands."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(hold, Pace())

    def end(self, session: Session, job: Job, state: JobState, error_class: str | None = None) -> None:
        end_undo_job(session, job, state, error_class)

    def _batch(self, session: Session, job: Job) -> Step:
        session.execute(LOCK, {"account": str(job.account_id)})
        buckets = Buckets(session, job.account_id, rates_of(session, job))
        grant = buckets.grant(self._pace.size)
        if not grant.count:
            return Step(wait=grant.wait, worked=False)
        keep_holds(session)
        values = {"account": job.account_id, "job": job.params["import"], "most": ENTRIES}
        entries = _within(session.execute(NEXT, values).all(), grant.count)
        if not entries:
            end_undo_job(session, job)
            return Step("completed")
        removed = _remove_conversations(
            session, job, [e for e in entries if e.kind == ImportKind.CONVERSATION]
        )
        for entry in entries:
            if entry.made and entry.kind != ImportKind.CONVERSATION:
                _remove_one(session, entry)
        lists = {name: [getattr(e, name[:-1]) for e in entries] for name in ("kinds", "keys", "numbers")}
        session.execute(FREE, {"account": job.account_id, **lists})
        buckets.take(min(removed, grant.count))
        job.done += removed
        job.total = max(job.total or 0, job.done)
        return Step()


def _within(entries: Sequence[Row[Any]], most: int) -> list[Row[Any]]:
    """The first entries, with up to so many messages together, and one at least."""
    found: list[Row[Any]] = []
    messages = 0
    for entry in entries:
        messages += 1 if entry.first_seq is None else entry.last_seq - entry.first_seq + 1
        if found and messages > most:
            break
        found.append(entry)
    return found


def _remove_conversations(session: Session, job: Job, entries: Sequence[Row[Any]]) -> int:
    """Removes the messages of these entries, and conversations that were made and are empty then.

    Answers how many messages have gone.
    """
    if not entries:
        return 0
    said = [entry for entry in entries if entry.first_seq is not None]
    arrays = (as_array(getattr(entry, name) for entry in said) for name in PLACES)
    gone = sweep(session, between(*arrays), job)
    made = [entry.target_id for entry in entries if entry.made]
    empty = list(session.scalars(EMPTY, {"ids": made, "account": job.account_id}))
    whole = purge_conversations(session, empty)
    if whole.ids:
        note_many(session, job, whole.ids)
    return gone.counted


def _remove_one(session: Session, entry: Row[Any]) -> None:
    """Removes a task, or a contact or bot that nothing is linked to; what has gone already is no error."""
    kind = ImportKind(entry.kind)
    try:
        if kind == ImportKind.TASK:
            if own(session, Task, entry.target_id).state != TaskState.DELETED:
                delete_task(session, entry.target_id)
        elif not session.execute(LINKED[kind], {"id": entry.target_id}).scalar_one():
            (delete_bot if kind == ImportKind.BOT else delete_contact)(session, entry.target_id)
    except NotFound:
        return
