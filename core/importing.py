"""Importing: what a worker does with an import in hand, batch by batch (core/slices.py).

The file is read ahead of each batch, with no transaction open; what was read is stored, and the cursor moved
behind it, in one. Whoever goes on after a kill reads again up to the cursor and stores nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.blobs import ContentDamaged
from core.errors import NotFound
from core.files import open_file
from core.import_columns import Options
from core.import_jobs import add_to, end_import_job, options_of, refuse_without_its_bot
from core.import_parts import in_parts
from core.import_reading import Batch, Place, Reading
from core.import_rows import Outcome, Piece
from core.import_survey import survey_step
from core.importers.records import Unknowns
from core.keys import KeyUnusable
from core.slices import Craft, Hold, Step
from core.storing import Memory, store
from models import ErrorClass, Job, JobState

TURN = 20.0  # seconds of a slice: whoever goes on has to pass what was read
PATIENCE = text("SET LOCAL statement_timeout = '60s'")


class Import(Craft):
    """An import in our hands."""

    turn = TURN

    def __init__(self, hold: Hold) -> None:
        super().__init__(hold)
        self._reading: Reading | None = None
        self._batch: Batch | None = None  # read, and not stored yet
        self._memory = Memory()
        self._dry = False

    def step(self) -> Step:
        try:
            return self._step()
        except (NotFound, ContentDamaged, KeyUnusable) as error:
            return self._refuse(str(error))

    def _step(self) -> Step:
        if self._reading is None:
            self._reading = self._opened()
        if self._dry:
            return survey_step(self._hold, self, self._reading)
        if self._batch is None:
            self._batch = self._read(self._reading)
        if self._batch.refused is not None:
            return self._refuse(self._batch.refused)
        return self._store(self._reading, self._batch)

    def end(self, session: Session, job: Job, state: JobState, error_class: str | None = None) -> None:
        end_import_job(session, job, state, error_class)

    def close(self) -> None:
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _read(self, reading: Reading) -> Batch:
        try:
            return reading.next()
        except BaseException:
            self.close()  # what broke off in the middle looks like the end to whoever asks it for more
            raise

    def _opened(self) -> Reading:
        with self._hold.transaction() as session:
            job = session.get_one(Job, self._hold.id)
            if job.file_id is None:
                raise NotFound("The file is not there any more.")
            self._dry = bool(job.params.get("dry"))
            stored = open_file(session, job.file_id)
            return Reading(self._hold, stored, job.params, Place.read(job.cursor))

    def _refuse(self, why: str) -> Step:
        def refuse(session: Session, job: Job) -> Step:
            job.params = {**job.params, "refused": why}
            end_import_job(session, job, JobState.FAILED, ErrorClass.REFUSED)
            return Step("failed")

        return self._hold.batch(self, refuse)

    def _store(self, reading: Reading, batch: Batch) -> Step:
        begun = reading.place

        def work(session: Session, job: Job) -> Step:
            if (stored := Place.read(job.cursor)) != begun:
                reading.place = stored  # of a commit whose answer was lost
            else:
                session.execute(PATIENCE)
                refuse_without_its_bot(session, job)
                out = store_batch(session, job, batch.pieces, options_of(job, reading.format), self._memory)
                _count(session, job, reading, batch, out)
            if batch.ended:
                end_import_job(session, job)
                return Step("completed")
            return Step()

        try:
            step = self._hold.batch(self, work)
        except BaseException:
            self._memory.forget()  # it is of a transaction that did not commit
            reading.place = begun
            raise
        self._batch = None
        return step


def store_batch(
    session: Session, job: Job, pieces: Sequence[Piece], options: Options, memory: Memory
) -> Outcome:
    """Stores a batch; one that breaks piece by piece."""
    return in_parts(
        session,
        job,
        pieces,
        store=lambda part: store(session, job, part, options, memory),
        row_of=lambda piece: piece.record.row,
        forget=memory.forget,
    )


def _count(session: Session, job: Job, reading: Reading, batch: Batch, out: Outcome) -> None:
    """Moves the cursor and the counters."""
    rows, place = reading.counted(batch, out.wrote, out.failed)
    job.done += rows.done
    job.skipped += rows.skipped
    job.failed += rows.failed
    job.cursor = str(place)
    add_to(session, job, out.counts, out.rejects)
    job.counts = {**job.counts, "size": reading.size, "read": reading.size if batch.ended else reading.at}
    unknown = Unknowns(job.params.get("unknown"))
    unknown.update(batch.unknowns)
    found = {"found": reading.format, **({"unknown": dict(unknown)} if unknown else {})}
    job.params = {**job.params, **found}
    reading.place = place
