"""The file of an import on its way through: read ahead in batches, each with the place it leads to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from core.blobs import Stored
from core.errors import InvalidInput
from core.import_rows import Piece, pieces_of
from core.importers import Source, Unknowns, format_of, read
from core.importers.records import MEBIBYTE, Reject
from core.slices import Hold
from core.staged import StagedFile

MESSAGES, SIZE = 2000, 4_000_000  # of a batch, whichever is reached first; characters
WEIGHT = 16 * MEBIBYTE  # of the rows of a batch, whatever else stands in them
READ_FOR = 2.0  # seconds after which a batch is stored, however little was read


@dataclass(frozen=True)
class Place:
    """Where an import stands: behind a row, and behind some pieces of the next, of which some were stored."""

    row: int = 0
    pieces: int = 0
    wrote: bool = False

    @classmethod
    def read(cls, cursor: str | None) -> Place:
        if cursor is None:
            return cls()
        row, pieces, wrote = cursor.split(":")
        return cls(int(row), int(pieces), wrote == "1")

    def __str__(self) -> str:
        return f"{self.row}:{self.pieces}:{int(self.wrote)}"


@dataclass
class Batch:
    """What is stored next, and how far it goes: `open` pieces of its last row, when that goes on after it."""

    pieces: list[Piece] = field(default_factory=list)
    open: int = 0
    ended: bool = False
    refused: str | None = None  # why the file cannot be read any further
    unknowns: Unknowns = field(default_factory=Unknowns)  # what was met in these rows and not understood


@dataclass
class Rows:
    """The rows that a batch brought to their end: with something new, with nothing new, or failed."""

    done: int = 0
    skipped: int = 0
    failed: int = 0


class Reading:
    """One pass over a stored file, from a place on."""

    def __init__(self, hold: Hold, stored: Stored, params: Mapping[str, Any], place: Place) -> None:
        self._hold = hold
        self._renewed = time.monotonic()
        self.size, self.at = stored.size, 0
        self._file = StagedFile(hold.context, stored, self._seen)
        self.source = Source(cast("BinaryIO", self._file), stored.name)
        self.params = params
        self.place = place
        """What is stored goes up to here; moved by whoever stores."""
        self._unknowns, self._told = Unknowns(), Unknowns()  # so far, and of batches that were given out
        self._format: str | None = params.get("format") or params.get("found")
        self._weight = 0  # bytes of rows that were read for the batch
        self._upcoming: Iterator[Piece] | None = None
        self._next: Piece | None = None
        self._open = place.pieces  # of the row that the last batch ended in
        self._refused: str | None = None

    @property
    def format(self) -> str:
        """The format it is read as."""
        return self._format or ""

    def next(self) -> Batch:
        """Reads what is stored next; keeps the lease meanwhile.

        Raises:
            ContentDamaged, Unavailable, Lost.

        """
        batch, until = Batch(), time.monotonic() + READ_FOR
        messages = size = self._weight = 0
        try:
            self._begin()
            while self._next is not None:
                piece = self._next
                batch.pieces.append(piece)
                messages += max(1, len(piece.messages))
                size += sum(len(message.text) for message in piece.messages)
                full = messages >= MESSAGES or size >= SIZE or self._weight >= WEIGHT
                full = full or time.monotonic() >= until
                if full:  # what comes next belongs to the next
                    batch.unknowns = self._new_unknowns()
                self._advance()
                if full:
                    break
        except InvalidInput as error:
            self._refused, self._next = str(error), None  # what was read before is stored first
        if self._refused is not None and not batch.pieces:
            batch.refused = self._refused
        batch.ended = self._next is None and self._refused is None
        if self._next is None:
            batch.unknowns.update(self._new_unknowns())
        self._reckon(batch)
        return batch

    def counted(self, batch: Batch, wrote: set[int], failed: set[int]) -> tuple[Rows, Place]:
        """The rows that this batch ended, and where it leaves the import.

        `wrote`: rows that brought something. `failed`: rows of which a record could not be stored; those of
        which none could be read fail as well.
        """
        rows, place = Rows(), self.place
        order = list(dict.fromkeys(piece.record.row for piece in batch.pieces))
        readable = {piece.record.row for piece in batch.pieces if not isinstance(piece.record, Reject)}
        begun = place.row + 1 if place.pieces else None
        for row in order:
            told = row in wrote or (row == begun and place.wrote)
            if batch.open and row == order[-1]:
                place = Place(row - 1, batch.open, told)
                break
            if told:
                rows.done += 1
            elif row in failed or (row not in readable and row != begun):
                rows.failed += 1
            else:
                rows.skipped += 1
            place = Place(row)
        return rows, place

    def close(self) -> None:
        self._file.close()

    def _begin(self) -> None:
        if self._upcoming is not None:
            return
        if self._format is None:
            self._format = format_of(self.source)
        records = read(
            self.source,
            self._format,
            unknowns=self._unknowns,
            columns=self.params.get("columns"),
            timezone=self.params.get("timezone"),
            after=self.place.row,
            weigh=self._weigh,
        )
        self._upcoming = (piece for record in records for piece in pieces_of(record))
        self._advance()
        if self.place.pieces:
            self._new_unknowns()  # of the row that was under way, which was counted with its first piece
        for _ in range(self.place.pieces):
            self._advance()

    def _advance(self) -> None:
        self._next = next(self._upcoming, None) if self._upcoming is not None else None

    def _weigh(self, size: int) -> None:
        self._weight += size

    def _new_unknowns(self) -> Unknowns:
        """What was met since this was asked last."""
        new = Unknowns(self._unknowns - self._told)
        self._told = Unknowns(self._unknowns)
        return new

    def _reckon(self, batch: Batch) -> None:
        """How many pieces of its last row a batch leaves behind it, if the row goes on."""
        if not batch.pieces:
            return
        row = batch.pieces[-1].record.row
        taken = sum(piece.record.row == row for piece in batch.pieces)
        if batch.pieces[0].record.row == row:
            taken += self._open
        goes_on = self._next is not None and self._next.record.row == row
        self._open = batch.open = taken if goes_on else 0

    def _seen(self, at: int) -> None:
        self.at = max(self.at, at)
        lease = self._hold.context.settings.lease.total_seconds()
        if time.monotonic() - self._renewed >= lease / 3:
            self._hold.renew()
            self._renewed = time.monotonic()
