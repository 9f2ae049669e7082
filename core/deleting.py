"""Deleting in bulk: what a worker does with a deletion in hand, batch by batch (core/slices.py).

Each batch takes its tokens, deletes, writes the receipt, moves the cursor and the counters. The walk is
repeated until it finds nothing more: that is what `completed` means.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.orm import Session

from core.buckets import Buckets
from core.conversations import SLICE
from core.delete_jobs import end_delete_job, rates_of
from core.erasures import note_many
from core.holds import keep_holds
from core.purging import purge_conversations, trim_conversation
from core.selection import Selection, lock_selected
from core.slices import Hold, Step
from core.sweeping import sweep
from core.walking import Found, Pace, Paced, Place, Walk
from models import Job, JobState


class Deletion(Paced):
    """A deletion in our hands."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(hold, Pace())

    def end(self, session: Session, job: Job, state: JobState, error_class: str | None = None) -> None:
        end_delete_job(session, job, state, error_class)

    def _batch(self, session: Session, job: Job) -> Step:
        buckets = Buckets(session, job.account_id, rates_of(session, job))
        grant = buckets.grant(self._pace.size)
        if not grant.count:
            return Step(wait=grant.wait, worked=False)
        return self._work(session, job, buckets, grant.count)

    def _work(self, session: Session, job: Job, buckets: Buckets, most: int) -> Step:
        selection, place = Selection.of(job.params), Place.read(job.cursor)
        keep_holds(session)
        found = Walk(session, job.account_id, selection, place, self._pace).find(most)
        if "idle" in selection.filter:
            found = _still_idle(session, job, selection, found)
        gone, done = _purge(session, job, found)
        buckets.take(done)
        job.done += done
        job.total = max(job.total or 0, job.done)
        seen = place.found + found.count
        if found.place is None and not seen:
            end_delete_job(session, job)
            return Step("completed")
        # Behind the end begins another round, in case something came in behind the walk's back.
        following = replace(found.place, found=seen) if found.place else Place(place.round + 1)
        if found.long and gone and not done:
            following = replace(place, found=seen)
        job.cursor = str(following)
        return Step(wait=buckets.grant(self._pace.size).wait)


def _still_idle(session: Session, job: Job, selection: Selection, found: Found) -> Found:
    """Without conversations in which somebody has spoken just now."""
    ids = lock_selected(session, selection, job.account_id, found.ids)
    return found if len(ids) == len(found.ids) else replace(found, count=len(ids), ids=ids, long=False)


def _purge(session: Session, job: Job, found: Found) -> tuple[int, int]:
    """Deletes what was found, with its receipt; answers how many messages and how many of what the job counts
    have gone.
    """
    if found.chosen is not None:
        swept = sweep(session, found.chosen, job)
        return swept.messages, swept.counted
    if not found.count:
        return 0, 0
    trimmed = trim_conversation(session, found.ids[0], job) if found.long else 0
    if trimmed >= SLICE:
        return trimmed, 0
    purged = purge_conversations(session, found.ids)
    if purged.messages or purged.ids:
        note_many(session, job, purged.ids, messages=purged.messages, attachments=purged.attachments)
    return trimmed + purged.messages, len(purged.ids)
