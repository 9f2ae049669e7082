"""Synchronising: what a worker does with such a job in hand, dataset by dataset (core/slices.py).

The file is read and cut into records with no transaction open. Then one transaction takes the old records
away, puts the new ones there and moves the cursor, if the file is still attached and its content still what
was read: whoever searches sees the ones or the others. A worker that is killed leaves the old ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from core.blobs import ContentDamaged, Stored, read_stored
from core.dataset_files import delete_records_of, lock_link
from core.errors import InvalidInput, NotAuthorized, NotFound
from core.extracting import Unreadable, extract
from core.fields import LONG, kept
from core.files import open_file
from core.import_jobs import add_to
from core.importers.records import Reject
from core.job_states import end
from core.keys import KeyUnusable
from core.meta import checked_meta
from core.rows import checked_text
from core.slices import Craft, Step
from core.splitting import Piece, split_extracted
from core.sync_jobs import end_sync_job, language_of
from models import MAX_TEXT_BYTES, Dataset, File, Job, JobState, Record, new_ids

BATCH = 500
CURRENT = text("SELECT id FROM blobs WHERE file_id = :file AND state = 'stored'")
SYNCED = text("UPDATE dataset_files SET synced_at = now() WHERE dataset_id = :dataset AND file_id = :file")
REWORD = text(
    "UPDATE records SET language = :language WHERE id = ANY(ARRAY(SELECT id FROM records"
    " WHERE dataset_id = :dataset AND id > :after AND language <> :language ORDER BY id LIMIT :most"
    " FOR UPDATE)) RETURNING id"
)
NO_ID = uuid.UUID(int=0)


@dataclass(frozen=True)
class Wanted:
    """What is to be made of a file: its content as it was found, for a dataset as it was found."""

    dataset_id: uuid.UUID
    file_id: uuid.UUID
    stored: Stored
    separators: str | None
    max_tokens: float | None


class Synchronisation(Craft):
    """A synchronisation in our hands."""

    _next: Callable[[], Step] | None = None

    def step(self) -> Step:
        self._next = None
        step = self._hold.batch(self, self._look)
        return step if step.ended or self._next is None else self._next()

    def end(self, session: Session, job: Job, state: JobState, error_class: str | None = None) -> None:
        end(session, job, state, error_class)

    def _look(self, session: Session, job: Job) -> Step:
        """Reads what is to be done next."""
        if job.params.get("reword"):
            return _reword(session, job)
        datasets, at = job.params["datasets"], int(job.cursor or 0)
        if at >= len(datasets):
            end_sync_job(session, job)
            return Step("completed")
        try:
            wanted = _wanted(session, job, uuid.UUID(datasets[at]))
        except (NotFound, NotAuthorized):
            return _move_on(session, job, skipped=True)
        except KeyUnusable:
            return _move_on(session, job, code="content_damaged")
        self._next = partial(self._make, wanted)
        return Step()

    def _make(self, wanted: Wanted) -> Step:
        """Reads the file; no transaction is open, and the job is kept meanwhile."""
        try:
            records = self._records(wanted)
        except Unreadable as error:
            return self._hold.batch(self, partial(_move_on, code=error.code))
        except ContentDamaged:
            return self._hold.batch(self, partial(_move_on, code="content_damaged"))
        return self._hold.batch(self, partial(_keep, wanted, records))

    def _records(self, wanted: Wanted) -> list[dict[str, Any]]:
        stored = wanted.stored
        content = b"".join(read_stored(self._hold.context, stored))
        self._hold.renew()
        extracted = extract(content, stored.type, stored.name, beat=self._hold.renew)
        self._hold.renew()
        pieces = split_extracted(extracted, separators=wanted.separators, max_tokens=wanted.max_tokens)
        try:
            return [_checked(piece, stored.name) for piece in pieces]
        except InvalidInput as error:
            raise Unreadable("not_storable") from error


def _wanted(session: Session, job: Job, dataset_id: uuid.UUID) -> Wanted:
    """Raises NotFound: deleted, detached or without content by now; NotAuthorized."""
    if job.file_id is None:
        raise NotFound("The file has been deleted.")
    dataset = kept(session, Dataset, dataset_id)
    lock_link(session, dataset.id, job.file_id)
    config, stored = dataset.config, open_file(session, job.file_id)
    return Wanted(dataset.id, job.file_id, stored, config.get("separators"), config.get("recordMaxTokens"))


def _keep(wanted: Wanted, records: Sequence[dict[str, Any]], session: Session, job: Job) -> Step:
    """Puts the new records in the place of the old ones, unless something has changed: then it looks again.

    Locks in the order of whoever deletes a dataset or a file: these, then the link, then records.
    """
    try:
        dataset, file = kept(session, Dataset, wanted.dataset_id), kept(session, File, wanted.file_id)
        lock_link(session, dataset.id, file.id)
    except NotFound:
        return Step()
    if session.execute(CURRENT, {"file": file.id}).scalar_one_or_none() != wanted.stored.id:
        return Step()
    delete_records_of(session, dataset.id, file.id)
    place = {
        "account_id": job.account_id,
        "dataset_id": dataset.id,
        "file_id": file.id,
        "language": language_of(dataset),
    }
    for at in range(0, len(records), BATCH):
        part = records[at : at + BATCH]
        # Ids of one millisecond sort by chance; the order of the file is kept by sorting them.
        ids = new_ids(len(part))
        session.execute(
            insert(Record), [{**place, **one, "id": new} for one, new in zip(part, ids, strict=True)]
        )
    session.execute(SYNCED, {"dataset": dataset.id, "file": file.id})
    job.counts = {**job.counts, "records": job.counts.get("records", 0) + len(records)}
    return _move_on(session, job)


def _move_on(session: Session, job: Job, *, skipped: bool = False, code: str | None = None) -> Step:
    """The next dataset, after what became of this one."""
    at = int(job.cursor or 0)
    job.cursor = str(at + 1)
    rejects = [Reject(at + 1, code)] if code else []
    job.failed += len(rejects)
    job.skipped += skipped
    job.done += not (rejects or skipped)
    if at + 1 < len(job.params["datasets"]):
        add_to(session, job, {}, rejects)
        return Step()
    end_sync_job(session, job, rejects)
    return Step("failed" if job.state == JobState.FAILED else "completed")


def _reword(session: Session, job: Job) -> Step:
    """Makes the words of the next records anew."""
    dataset = session.get(Dataset, uuid.UUID(job.params["datasets"][0]))
    if dataset is None:
        end_sync_job(session, job)
        return Step("completed")
    after = uuid.UUID(job.cursor) if job.cursor else NO_ID
    values = {"dataset": dataset.id, "language": language_of(dataset), "after": after, "most": BATCH}
    changed = session.scalars(REWORD, values).all()
    job.done += len(changed)
    job.total = max(job.total or 0, job.done)
    if len(changed) < BATCH:
        end_sync_job(session, job)
        return Step("completed")
    job.cursor = str(max(changed))
    return Step()


def _checked(piece: Piece, name: str | None) -> dict[str, Any]:
    place = ", ".join(one for one in (name, piece.place) if one) or None
    return {
        "text": checked_text(piece.text, "A record of the file", longest=MAX_TEXT_BYTES),
        "source": checked_text(piece.source, "A source in the file", longest=LONG, empty=True) or place,
        "meta": checked_meta(piece.meta),
    }
