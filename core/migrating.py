"""Migrating: what a worker does with a migration in hand, batch by batch (core/slices.py).

The server is asked with no transaction open; what it told is stored, and the cursor moved behind it, in one.
Whoever goes on after a kill asks again for the page at hand and stores nothing twice.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta
from random import uniform

from sqlalchemy.orm import Session

from core.import_bots import store_bots
from core.import_contacts import store_contacts
from core.import_jobs import add_to, end_import_job, options_of
from core.import_keys import Keys
from core.import_parts import in_parts
from core.import_rows import Outcome, Piece
from core.importers.records import Notes, Reject, Unknowns
from core.importing import PATIENCE, TURN, store_batch
from core.keys import KeyUnusable
from core.migration_jobs import SOURCE, opened_params
from core.migration_links import add_missing
from core.migration_place import KINDS, Place
from core.migration_reading import Batch, Reading
from core.migration_source import Final, Later, Server
from core.slices import Craft, Hold, Step
from core.storing import Memory
from models import ErrorClass, Job, JobState

MOST_TRIES, FIRST_TRIES = 12, 5  # in a row; of the first request of all, which tells a wrong address
BASE, CAP, LONGEST = timedelta(seconds=1), timedelta(minutes=5), timedelta(hours=1)
# Rows of which nothing is stored, besides those that the database has refused.
FAILED = frozenset({"bad_id", "unfetched"})
SILENT = "The server cannot be reached, or does not answer in time."
WHY = {
    "busy": "The server allows no more requests for now (429).",
    "status": "The server keeps failing.",
    "garbage": "What the server answers is not ChatBotKit's API.",
    "encoded": "The server compresses what was asked for as it is.",
}


class Migration(Craft):
    """A migration in our hands."""

    turn = TURN

    def __init__(self, hold: Hold) -> None:
        super().__init__(hold)
        self._reading: Reading | None = None
        self._server: Server | None = None
        self._batch: Batch | None = None  # read, and not stored yet
        self._memory = Memory()
        self._kinds: frozenset[str] = frozenset(KINDS)
        self._unheard: set[str] = set()
        self._renewed = 0.0

    def step(self) -> Step:
        try:
            if self._reading is None or self._server is None:
                self._reading, self._server = self._opened()
            if self._batch is None:
                batch = self._reading.next(self._alive)
                add_missing(
                    self._hold,
                    self._server,
                    batch,
                    kinds=self._kinds,
                    unheard=self._unheard,
                    last_try=batch.begun.tries + 1 >= _most_tries(batch.begun),
                    alive=self._alive,
                )
                self._batch = batch
        except (Final, KeyUnusable) as why:
            return self._refuse(str(why), ErrorClass.REFUSED)
        except Later as why:
            assert self._reading is not None  # noqa: S101 (nothing was asked before)
            return self._later(self._reading, why)
        return self._store(self._reading, self._batch)

    def end(self, session: Session, job: Job, state: JobState, error_class: str | None = None) -> None:
        end_import_job(session, job, state, error_class)

    def close(self) -> None:
        """Nothing is open between requests."""

    def _opened(self) -> tuple[Reading, Server]:
        settings = self._hold.context.settings
        with self._hold.transaction() as session:
            job = session.get_one(Job, self._hold.id)
            base, token = opened_params(session, job)
            params, place = job.params, Place.read(job.cursor)
        # Within the lease, so that whoever waits for an answer has not lost the job meanwhile.
        server = Server(base, token, settings.outbound_allow, settings.lease * 2 / 3, Notes())
        self._kinds = frozenset(params.get("only") or KINDS)
        since = datetime.fromisoformat(params["since"]) if "since" in params else None
        return Reading(server, sorted(self._kinds), place, since), server

    def _alive(self) -> None:
        """Keeps the job before a request that may take long."""
        if time.monotonic() - self._renewed >= self._hold.context.settings.lease.total_seconds() / 6:
            self._hold.renew()
            self._renewed = time.monotonic()

    def _refuse(self, why: str, error_class: ErrorClass) -> Step:
        def refuse(session: Session, job: Job) -> Step:
            job.params = {**job.params, "refused": why}
            end_import_job(session, job, JobState.FAILED, error_class)
            return Step("failed")

        return self._hold.batch(self, refuse)

    def _later(self, reading: Reading, why: Later) -> Step:
        """Waits, longer every time; passes a conversation that is never told; at last it is the server."""
        place = reading.place
        if place.tries + 1 >= (MOST_TRIES if why.code == "busy" else _most_tries(place)):
            self._batch = reading.give_up() if why.answered else None
            if self._batch is not None:
                return self._store(reading, self._batch)
            error_class = ErrorClass.QUOTA if why.code == "busy" else ErrorClass.PROVIDER_ERROR
            return self._refuse(WHY.get(why.code, SILENT), error_class)
        wait = min(why.after, LONGEST) if why.after else min(CAP, BASE * 2**place.tries) * uniform(0.5, 1)

        def again(session: Session, job: Job) -> Step:
            del session
            reading.place = Place.read(job.cursor).again()
            job.cursor = str(reading.place)
            return Step(wait=wait, worked=False)

        return self._hold.batch(self, again)

    def _store(self, reading: Reading, batch: Batch) -> Step:
        def work(session: Session, job: Job) -> Step:
            place = Place.read(job.cursor)
            if place == batch.begun:
                session.execute(PATIENCE)
                place = _count(job, batch, _stored(session, job, batch, self._memory))
            # Else it is of a commit whose answer was lost.
            if reading.ended(place):
                end_import_job(session, job)
            reading.place = place
            return Step("completed") if reading.ended(place) else Step()

        try:
            step = self._hold.batch(self, work)
        except BaseException:
            self._memory.forget()  # it is of a transaction that did not commit
            reading.place = batch.begun
            raise
        self._batch = None
        return step


def _most_tries(place: Place) -> int:
    return FIRST_TRIES if (place.kind, place.listed.pages) == (0, 0) else MOST_TRIES


def _stored(session: Session, job: Job, batch: Batch, memory: Memory) -> Outcome:
    """Stores a batch, each kind before those that hang on it."""
    out = Outcome(rejects=list(batch.rejects))
    out.counts["vanished"] += batch.vanished
    out.add(
        in_parts(
            session,
            job,
            batch.bots,
            store=lambda part: store_bots(session, Keys(session, job.account_id), job, part),
            row_of=lambda bot: bot.row,
        )
    )
    out.add(
        in_parts(
            session,
            job,
            batch.contacts,
            store=lambda part: store_contacts(session, Keys(session, job.account_id), job, part),
            row_of=lambda one: one[0],
        )
    )
    options = replace(options_of(job, SOURCE), links=True)
    out.add(store_batch(session, job, [Piece(task) for task in batch.tasks], options, memory))
    out.add(store_batch(session, job, batch.pieces, options, memory))
    out.rejects.sort(key=lambda one: one.row)
    add_to(session, job, out.counts, out.rejects)
    return out


def _count(job: Job, batch: Batch, out: Outcome) -> Place:
    """Moves the cursor and the counters; answers where the migration stands then."""
    going = batch.begun.open if batch.begun.open and batch.begun.open.wrote else None
    failed = out.failed | _failed(out.rejects)
    for row in batch.ended:
        if row in out.wrote or (going is not None and row == batch.begun.row + 1):
            job.done += 1
        elif row in failed:
            job.failed += 1
        else:
            job.skipped += 1
    place = batch.place
    if place.open is not None:
        before = going is not None and going.id == place.open.id
        wrote = before or place.row + 1 in out.wrote
        place = replace(place, open=replace(place.open, wrote=wrote))
    job.cursor = str(place)
    if batch.notes.unknowns:
        unknown = Unknowns(job.params.get("unknown"))
        unknown.update(batch.notes.unknowns)
        job.params = {**job.params, "unknown": dict(unknown)}
    return place


def _failed(rejects: list[Reject]) -> set[int]:
    return {one.row for one in rejects if one.code in FAILED}
