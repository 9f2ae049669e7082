"""Exporting: what a worker does with an export in hand, batch by batch (core/slices.py).

A batch reads a page, writes it to the storage as a part of its own, and takes it into account: cursor,
counters and the part's row are committed together. A worker that is killed in between leaves bytes that no
row names; the next one reads the page anew. In the end the parts are put together, which gives the same
bytes whoever does it, and becomes the file's content in the transaction that completes the job.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from core.blobs import ANY_SIZE, Stored, Writing, drop, new_blob, open_parts, open_writing, read_stored
from core.documents_jobs import filter_document
from core.errors import NotFound
from core.export_pages import Asked, Page, Part, Place, read_page
from core.exporters.formats import Format, format_named
from core.exporters.veil import Kept, Mode, veiled_conversation, veiled_message
from core.exporters.writer import Totals
from core.exports import complete_export_job, end_export_job
from core.file_names import UNKNOWN, Described
from core.importers.records import Conversation
from core.privacy.presets import Operator
from core.selection import Selection
from core.slices import Craft, Step
from models import Job, JobState

BEAT = 1.0  # seconds, after which whoever puts parts together says that it is still there
LEVEL = 6
GZIPPED = 31  # zlib's word for a gzip stream


@dataclass(frozen=True)
class Cursor:
    """Where an export stands: behind which message, after how many parts, in which state its writer was."""

    place: Place = field(default_factory=Place)
    parts: int = 0
    begun: bool = False
    ended: bool = False
    writer: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, cursor: str | None) -> Cursor:
        if cursor is None:
            return cls()
        told = json.loads(cursor)
        place = Place(uuid.UUID(told.pop("at")), told.pop("seq"))
        return cls(place, **told)

    def __str__(self) -> str:
        told = {"at": str(self.place.at), "seq": self.place.seq, "parts": self.parts}
        return json.dumps({**told, "begun": self.begun, "ended": self.ended, "writer": dict(self.writer)})


@dataclass(frozen=True)
class Wanted:
    """What a job's params ask for."""

    asked: Asked
    format: Format
    gzip: bool
    name: str
    about: Mapping[str, Any]

    @classmethod
    def of(cls, job: Job) -> Wanted:
        params = job.params
        format_ = format_named(params["format"])
        mode, selection = Mode(params["mode"]), replace(Selection.of(params), held=None)
        about = {
            "mode": mode.value,
            "until": params["until"],
            "filter": filter_document(params["filter"]),
            **({"bom": True} if params.get("bom") else {}),
        }
        asked = Asked(job.account_id, selection, mode, format_.training)
        return cls(asked, format_, params["gzip"], params["name"], about)

    def packed(self, content: bytes) -> bytes:
        """As it stands in the file: pieces that are gzipped one by one are one gzip file together."""
        return gzip.compress(content, LEVEL, mtime=0) if self.gzip and content else content

    @property
    def described(self) -> Described:
        return Described(self.name, "application/gzip" if self.gzip else self.format.type)


@dataclass(frozen=True)
class Batch:
    """A page as it was written."""

    content: bytes
    cursor: Cursor
    page: Page
    types: Counter[str]
    counts: Counter[str]


class Export(Craft):
    """An export in our hands."""

    _next: Callable[[], Step] | None = None

    def step(self) -> Step:
        self._next = None
        step = self._hold.batch(self, self._look)
        return step if step.ended or self._next is None else self._next()

    def end(self, session: Session, job: Job, state: JobState, error_class: str | None = None) -> None:
        end_export_job(session, job, state, error_class)

    def _look(self, session: Session, job: Job) -> Step:
        """Reads what is to be written, and makes the row that its bytes are for."""
        if job.file_id is None:  # somebody has deleted it, and the parts with it
            self.end(session, job, JobState.CANCELLED)
            return Step("cancelled")
        wanted, cursor = Wanted.of(job), Cursor.read(job.cursor)
        told = wanted.described if cursor.ended else Described(None, UNKNOWN)
        blob = new_blob(session, told, file_id=job.file_id)
        writing = open_writing(self._hold.context, session, blob, most=ANY_SIZE)
        if cursor.ended:
            totals = Totals(job.counts.get("conversations", 0), job.done)
            self._next = partial(self._join, wanted, writing, open_parts(session, job.file_id), totals)
        else:
            page = read_page(session, wanted.asked, cursor.place)
            self._next = partial(self._write, wanted, cursor, page, writing)
        return Step()

    def _write(self, wanted: Wanted, cursor: Cursor, page: Page, writing: Writing) -> Step:
        """Writes a page as a part; no transaction is open."""
        batch = _written(wanted, cursor, page)
        if batch.content:
            writing.add(batch.content)
            writing.close()
        return self._hold.batch(self, partial(self._keep, batch, writing))

    def _keep(self, batch: Batch, writing: Writing, session: Session, job: Job) -> Step:
        """Takes a part into account."""
        if batch.content:
            try:
                writing.keep_as_part(session, batch.cursor.parts)
            except NotFound:
                return Step()  # with its file: the next look finds out
        written = batch.types.total()
        job.done += written
        job.skipped += batch.page.read - written
        job.total = max(job.total or 0, job.done + job.skipped)
        left = batch.page.read - batch.page.blocked - written
        more = batch.counts + batch.types + Counter(blocked=batch.page.blocked, leftOut=left)
        job.counts = dict(Counter(job.counts) + more + Counter(unanswered=batch.page.unanswered))
        job.cursor = str(batch.cursor)
        return Step()

    def _join(self, wanted: Wanted, writing: Writing, parts: Sequence[Stored], totals: Totals) -> Step:
        """Puts the parts together; whoever holds the job meanwhile, or ends it, is noticed."""
        stopped: list[Step] = []
        content = hashlib.sha256()
        writer = wanted.format.writer(None)
        try:
            beat_at = time.monotonic() + BEAT
            for piece, plain in self._pieces(wanted, parts, digests=writer.digests):
                writing.add(piece)
                content.update(plain)
                if time.monotonic() >= beat_at:
                    step = self._hold.batch(self, lambda _session, _job: Step())
                    if step.ended:
                        stopped.append(step)
                        break
                    beat_at = time.monotonic() + BEAT
            if not stopped:
                totals = Totals(totals.conversations, totals.messages, content.hexdigest())
                writing.add(wanted.packed(writer.tail(totals)))
                writing.close()
                return self._hold.batch(self, partial(self._finish, writing))
        except Exception:
            drop(self._hold.context, writing)
            raise
        drop(self._hold.context, writing)
        return stopped[0]

    def _pieces(
        self, wanted: Wanted, parts: Sequence[Stored], *, digests: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        """The bytes of the parts, and what they hold where that is asked for."""
        for part in parts:
            unpacking = zlib.decompressobj(GZIPPED) if wanted.gzip and digests else None
            for piece in read_stored(self._hold.context, part):
                plain = unpacking.decompress(piece) if unpacking else piece
                yield piece, plain if digests else b""

    def _finish(self, writing: Writing, session: Session, job: Job) -> Step:
        """The content becomes the file's, and the job is completed."""
        if job.file_id is None:
            return Step()
        writing.store(session)
        complete_export_job(session, job, writing.sha256, writing.size)
        return Step("completed")


def _written(wanted: Wanted, cursor: Cursor, page: Page) -> Batch:
    writer = wanted.format.writer(cursor.writer)
    pieces = [] if cursor.begun else [writer.head(wanted.about)]
    types: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for part in page.parts:
        said, restored = _veiled(part, wanted.asked.mode)
        wrote = writer.part(said, first=part.first, last=part.last)
        pieces.append(wrote.content)
        types += wrote.types
        counts += Counter(conversations=part.first, restored=restored, attachments=_files(said, part))
    content = wanted.packed(b"".join(pieces))
    following = Cursor(
        page.place or cursor.place,
        cursor.parts + bool(content),
        begun=True,
        ended=page.place is None,
        writer=dict(writer.state),
    )
    return Batch(content, following, page, types, counts)


def _veiled(part: Part, mode: Mode) -> tuple[Conversation, int]:
    """A part as it leaves, and how many of its values were restored."""
    head = veiled_conversation(part.conversation, mode, part.kept)
    messages, restored = [], 0
    for message, looked in zip(part.conversation.messages, part.looked, strict=True):
        kept = part.kept if looked or mode is not Mode.ORIGINAL else Kept()
        messages.append(veiled_message(message, mode, kept, looked=looked))
        restored += sum(
            one.operator is Operator.TOKENISE and message.text[one.begin : one.end] in kept.values
            for one in message.entities
        )
    return replace(head, messages=tuple(messages)), restored


def _files(said: Conversation, part: Part) -> int:
    own = len(said.attachments) if part.first else 0
    return own + sum(len(message.attachments) for message in said.messages)
