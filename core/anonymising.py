"""Anonymising in bulk: what a worker does with such a job in hand, batch by batch (core/slices.py).

Each batch rewrites some hundred messages and all that was made of them, moves the cursor and the counters. A
conversation that is anonymised as a whole gets rid of its labels, its contact and its files once the last of
its messages was dealt with. One walk is enough: what was there when the job was made is behind the cursor.

Authors are looked for by the names that messages have, so these must outlast the texts: a conversation that
is too long for one batch is walked through twice, and its names go the second time.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from core.anonymise_jobs import end_anonymise_job
from core.anonymous import anonymisers_of
from core.anonymous_rows import Rewritten, close_conversations, rewrite_messages, rewritten
from core.buckets import Buckets
from core.delete_jobs import rates_of
from core.holds import keep_holds
from core.rows import as_array
from core.selection import Selection, What, conversations_from, lock_selected
from core.slices import Hold, Step
from core.walking import Pace, Paced, Place, Walk
from models import Job, JobError, JobState

log = structlog.get_logger()

MOST = 250  # messages of a batch: each may be a quarter of a megabyte
MOST_ERRORS = 1000  # rows of a job's report
BUCKET = "anonymise"
NO_ID = uuid.UUID(int=0)
SHOWN = "m.id, m.account_id, m.conversation_id, m.seq, m.text, m.name, m.description, m.meta, m.pii,"
SHOWN += " m.pii_state, m.text_rev, m.run_id, m.step, m.type"
OF_NAMES = 2  # the round of a walk in which a long conversation loses its authors' names
NEXT = text(
    f"SELECT {SHOWN} FROM messages m WHERE m.conversation_id = ANY(CAST(:in AS uuid[]))"  # noqa: S608 (a constant)
    " AND (m.conversation_id, m.seq) > (:at, :seq) AND m.anonymised_at IS NULL"
    " ORDER BY m.conversation_id, m.seq LIMIT :most"
)


@dataclass
class _Piece:
    """What a batch deals with: messages of locked conversations, and those that end with it."""

    messages: Sequence[Row[Any]]
    following: Place | None  # None: this was the end
    ended: list[uuid.UUID] = field(default_factory=list)
    keeps_names: bool = False  # the conversation goes on in another batch, which looks for its authors


class Anonymisation(Paced):
    """A job that anonymises, in our hands."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(hold, Pace(MOST, MOST))

    def end(self, session: Session, job: Job, state: JobState, error_class: str | None = None) -> None:
        end_anonymise_job(session, job, state, error_class)

    def _batch(self, session: Session, job: Job) -> Step:
        buckets = Buckets(session, job.account_id, rates_of(session, job, BUCKET))
        grant = buckets.grant(min(MOST, self._pace.size))
        if not grant.count:
            return Step(wait=grant.wait, worked=False)
        keep_holds(session)
        selection, place = Selection.of(job.params), Place.read(job.cursor)
        if selection.what is What.CONVERSATIONS:
            piece = _of_conversations(session, job, selection, place, grant.count)
        else:
            piece = self._of_messages(session, job, selection, place, grant.count)
        buckets.take(_deal(session, job, selection.what, piece))
        if piece.following is None:
            end_anonymise_job(session, job)
            return Step("completed")
        job.cursor = str(piece.following)
        return Step()

    def _of_messages(
        self, session: Session, job: Job, selection: Selection, place: Place, most: int
    ) -> _Piece:
        """The next messages of a selection, asked for behind the locks of their conversations."""
        found = Walk(session, job.account_id, selection, place, self._pace).find(most)
        chosen = found.chosen
        if chosen is None:
            return _Piece((), found.place)
        places = [uuid.UUID(one) for one in chosen.conversations.strip("{}").split(",") if one]
        ours = as_array(lock_selected(session, selection, job.account_id, places))
        query = (
            f"SELECT {SHOWN} FROM messages m, {chosen.among} WHERE m.account_id = :account"  # noqa: S608 (constants)
            f" AND m.conversation_id = ANY(CAST(:ours AS uuid[])) AND {chosen.where}"
        )
        values = {**chosen.values, "account": job.account_id, "places": ours, "ours": ours}
        return _Piece(session.execute(text(query), values).all(), found.place)


def _of_conversations(session: Session, job: Job, selection: Selection, place: Place, most: int) -> _Piece:
    """The next messages of the next conversations, or of the long one that is gone on with."""
    within = place.seq > 0 or place.round == OF_NAMES
    begin = place.at if within else uuid.UUID(int=place.at.int + 1)
    page = conversations_from(session, selection, job.account_id, begin, most)
    if not page:
        return _Piece((), None)
    if within and page[0].id == place.at:
        return _of_a_long_one(session, job, selection, place, most)
    among, places = [], 0
    for row in page:
        among.append(row.id)
        places += row.next_seq
        if places > most:
            break
    ours = lock_selected(session, selection, job.account_id, among)
    messages = session.execute(NEXT, {"in": ours, "at": NO_ID, "seq": 0, "most": most}).all()
    if len(messages) < most:
        return _Piece(messages, Place(at=among[-1]), ours)
    cut = messages[-1].conversation_id
    ended = [one for one in ours if one < cut]
    whole = [one for one in messages if one.conversation_id < cut]
    if whole:  # the one that may be cut is begun by the next batch, as a whole if it can be
        return _Piece(whole, Place(at=uuid.UUID(int=cut.int - 1)), ended)
    return _Piece(messages, Place(at=cut, seq=messages[-1].seq), ended, keeps_names=True)


def _of_a_long_one(session: Session, job: Job, selection: Selection, place: Place, most: int) -> _Piece:
    """The next messages of a conversation that was begun: first their texts, then the names of authors."""
    ours = lock_selected(session, selection, job.account_id, [place.at])
    messages = session.execute(NEXT, {"in": ours, "at": place.at, "seq": place.seq, "most": most}).all()
    of_names = place.round == OF_NAMES
    if len(messages) == most:
        following = replace(place, seq=messages[-1].seq)
    else:
        following = Place(at=place.at) if of_names else Place(OF_NAMES, at=place.at)
    ended = ours if of_names and len(messages) < most else []
    return _Piece(messages, following, ended, keeps_names=not of_names)


def _deal(session: Session, job: Job, what: What, piece: _Piece) -> int:
    """Writes what a piece comes to, and counts it; answers how many messages."""
    places = sorted({*(one.conversation_id for one in piece.messages), *piece.ended})
    if not places:
        return 0
    anonymisers = anonymisers_of(session, places)
    made: list[Rewritten] = []
    for message in piece.messages:
        try:
            anonymiser = anonymisers[message.conversation_id]
            made.append(rewritten(message, anonymiser, keeps_name=piece.keeps_names))
        except Exception as error:  # noqa: BLE001 (one that breaks must not keep the others; no traceback: it holds text)
            if piece.keeps_names:
                continue  # it is tried again, and told, with the names
            log.error("message_not_anonymised", message=str(message.id), error=type(error).__name__)
            _report(session, job, message.seq)
    files = rewrite_messages(session, made)
    dealt = sum(not one.keeps_name for one in made)
    bad = close_conversations(session, piece.ended, anonymisers)
    files += bad.files
    if what is What.CONVERSATIONS:
        job.done += len(piece.ended) - len(bad.failed)
        job.failed += len(bad.failed)
    else:
        job.done += dealt
        job.failed += len(piece.messages) - dealt
    job.total = max(job.total or 0, job.done + job.failed)
    messages, attachments = job.counts.get("messages", 0), job.counts.get("attachments", 0)
    job.counts = {**job.counts, "messages": messages + dealt, "attachments": attachments + files}
    return len(made)


def _report(session: Session, job: Job, place: int) -> None:
    """A row of the job's report: the message's place in its conversation."""
    number = job.counts.get("errors", 0) + 1
    job.counts = {**job.counts, "errors": number}
    if number <= MOST_ERRORS:
        error = JobError(
            job_id=job.id, account_id=job.account_id, number=number, row=place, code="not_anonymised"
        )
        session.add(error)
