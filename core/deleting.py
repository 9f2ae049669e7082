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
from core.purging import NOTHING, Purged, purge_conversations, purge_messages, trim_conversation
from core.selection import Selection, What, selected_of
from core.slices import TURN, Hold, Step
from core.walking import Found, Pace, Place, Walk
from models import ErasureKind, Job, JobState


class Deletion:
    """A deletion in our hands."""

    turn = TURN

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._pace = Pace()

    def step(self) -> Step:
        return self._hold.batch(self, self._batch)

    def judge(self, seconds: float | None) -> float:
        if seconds is None:
            self._pace.shrink()
            return 0.0
        return self._pace.judge(seconds)

    def end(self, session: Session, job: Job, state: JobState, error_class: str | None = None) -> None:
        end_delete_job(session, job, state, error_class)

    def close(self) -> None:
        """Nothing is open between batches."""

    def _batch(self, session: Session, job: Job) -> Step:
        buckets = Buckets(session, job.account_id, rates_of(session, job))
        grant = buckets.grant(self._pace.size)
        if not grant.count:
            return Step(wait=grant.wait, worked=False)
        return self._work(session, job, buckets, grant.count)

    def _work(self, session: Session, job: Job, buckets: Buckets, most: int) -> Step:
        selection, place = Selection.of(job.params), Place.read(job.cursor)
        found = Walk(session, job.account_id, selection, place, self._pace).find(most)
        purged, done = _purge(session, job, selection, found)
        buckets.take(done)
        kind = ErasureKind.MESSAGES if selection.what is What.MESSAGES else ErasureKind.CONVERSATIONS
        if purged.messages or purged.ids:
            conversations = len(purged.ids) if selection.what is What.CONVERSATIONS else 0
            note_many(
                session,
                kind,
                job,
                [*purged.ids, *purged.derived],
                messages=purged.messages,
                conversations=conversations,
                attachments=purged.attachments,
            )
        job.done += done
        job.total = max(job.total or 0, job.done)
        seen = place.found + len(found.ids)
        if found.place is None and not seen:
            end_delete_job(session, job)
            return Step("completed")
        # Behind the end begins another round, in case something came in behind the walk's back.
        following = replace(found.place, found=seen) if found.place else Place(place.round + 1)
        if found.long and purged.messages and not done:
            following = replace(place, found=seen)
        job.cursor = str(following)
        return Step()


def _purge(session: Session, job: Job, selection: Selection, found: Found) -> tuple[Purged, int]:
    """Deletes what was found; answers as well how many of what the job counts have gone."""
    if not found.ids:
        return NOTHING, 0
    if selection.what is What.CONVERSATIONS:
        if found.long:
            purged = trim_conversation(session, found.ids[0])
            if purged.messages == SLICE:
                return purged, 0
            rest = purge_conversations(session, found.ids)
            messages, attachments = (
                purged.messages + rest.messages,
                purged.attachments + rest.attachments,
            )
            return replace(rest, messages=messages, attachments=attachments), len(rest.ids)
        purged = purge_conversations(session, found.ids)
        return purged, len(purged.ids)
    # Checkpoints that go with what they sum up may have been selected as well.
    purged = purge_messages(
        session,
        found.ids,
        found.conversations,
        count=lambda ids: len(selected_of(session, selection, job.account_id, ids)),
    )
    return purged, len(purged.ids) + purged.counted
