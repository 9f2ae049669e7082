"""What a migration stores next: read ahead page by page, with no transaction open.

Bots come first, then contacts, tasks and conversations, each list oldest first, so that whatever something
hangs on is here before it. What a list brings while it is walked through is read as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from core.import_rows import Piece
from core.importers.parts import instant
from core.importers.records import Bot, Contact, Notes, Reject, Task
from core.migration_place import KINDS, Open, Place
from core.migration_records import id_of, read_bot, read_contact, read_talk, read_task
from core.migration_source import TAKE, TOO_LARGE, Final, Gone, Later, Page, Server, Withheld

MESSAGES, SIZE = 1000, 4_000_000  # of a batch, whichever is reached first; characters
READ_FOR = 2.0  # seconds, then what was read is stored
MOST_LOST = 3  # conversations in a row that the server did not tell


@dataclass
class Batch:
    """What is stored next, from one place to another; `ended` are the rows that are dealt with then."""

    begun: Place
    place: Place
    bots: list[Bot] = field(default_factory=list)
    contacts: list[tuple[int, Contact]] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    vanished: int = 0
    size: int = 0
    notes: Notes = field(default_factory=Notes)

    @property
    def full(self) -> bool:
        said = sum(max(1, len(piece.messages)) for piece in self.pieces)
        made = 10 * len(self.tasks) + 5 * len(self.bots)  # each of them takes as long as so many messages
        return said + made + len(self.ended) >= MESSAGES or self.size >= SIZE

    def take(self, kind: str, item: Any, key: str, row: int) -> None:
        """Adds a bot, a contact or a task."""
        if kind == "bots":
            self.bots.append(read_bot(item, key, row, self.notes))
        elif kind == "contacts":
            self.contacts.append((row, read_contact(item, key, self.notes)))
        else:
            self.tasks.append(read_task(item, key, row, self.notes))


class Reading:
    """One way through a server, from a place on. What it remembers of pages only spares asking again."""

    def __init__(
        self, server: Server, kinds: Sequence[str], place: Place, since: datetime | None = None
    ) -> None:
        self._server, self._kinds, self._since = server, [kind for kind in KINDS if kind in kinds], since
        self._list: tuple[tuple[int, str], Page] | None = None
        self._said: tuple[tuple[str, str], Page] | None = None
        self._take = TAKE
        self._trouble: Final | Later | None = None
        self._at: str | None = None  # the conversation that was asked for last
        self.place = place
        """What is stored goes up to here; moved by whoever stores."""

    def ended(self, place: Place) -> bool:
        return place.kind >= len(self._kinds)

    def next(self, alive: Callable[[], None]) -> Batch:
        """Reads what is stored next; `alive` is called before the server is asked.

        Raises:
            Final, Later: once what was read before it is stored.

        """
        if (trouble := self._trouble) is not None:
            self._trouble = None
            raise trouble
        batch, until = Batch(self.place, self.place), time.monotonic() + READ_FOR
        self._alive, self._server.notes = alive, batch.notes
        while not self.ended(batch.place):
            try:
                batch.place = self._on(batch.place, batch)
            except (Final, Later) as trouble:
                if batch.place == batch.begun:
                    raise
                self._trouble = trouble  # what was read is stored first
                break
            if batch.full or time.monotonic() >= until:
                break
        return batch

    def give_up(self) -> Batch | None:
        """Passes the conversation that the server does not tell; None where it tells nothing else either."""
        if self._at is None or self.place.lost >= MOST_LOST:
            return None
        batch = Batch(self.place, self.place)
        batch.place = self._end_row(self.place, self._at, batch, "unfetched", lost=True)
        return batch

    def _on(self, place: Place, batch: Batch) -> Place:
        """One step: a page of a list, or a page of a conversation."""
        kind, self._at = self._kinds[place.kind], None
        page = self._listed(place, kind)
        if not page.items:
            return self._end_of_list(kind, place, batch)
        if not place.dealt and place.open is None and place.listed.goes_round(page.items):
            batch.rejects.append(Reject(place.row + 1, "endless"))
            return place.next_kind()
        if kind == "conversations":
            item = next((item for item in page.items if not _is_dealt(item, place)), None)
            if item is not None:
                return self._conversation(item, place, batch)
            rows = 0
        else:
            rows = self._items(kind, page.items, place, batch)
        if not page.cursor:
            return replace(place, row=place.row + rows).next_kind()
        return place.next_page(page.items, page.cursor, rows)

    def _end_of_list(self, kind: str, place: Place, batch: Batch) -> Place:
        """The next kind, unless it only looks like the end: what the cursor names has vanished."""
        cursor = place.listed.cursor
        if id_of({"id": cursor}) and self._is_gone(f"/{kind[:-1]}/{cursor}/fetch"):
            if place.behind:
                return place.step_back()
            batch.rejects.append(Reject(place.row + 1, "lost_place"))
        return place.next_kind()

    def _is_gone(self, path: str) -> bool:
        self._alive()
        try:
            self._server.one(path)
        except Gone:
            return True
        except (Withheld, Later) as why:
            if isinstance(why, Later) and not (why.answered and self.place.tries > 1):
                raise
        return False  # nor need a server that fails at this be asked for ever

    def _items(self, kind: str, items: Sequence[Any], place: Place, batch: Batch) -> int:
        """Takes a page of what is not a conversation; answers how many rows it was."""
        told = {id_of(item) or f"?{at}": item for at, item in enumerate(items)}
        for row, (key, item) in enumerate(told.items(), place.row + 1):
            batch.ended.append(row)
            if key.startswith("?"):
                batch.rejects.append(Reject(row, "bad_id"))
                continue
            batch.take(kind, item, key, row)
        return len(told)

    def _conversation(self, item: Any, place: Place, batch: Batch) -> Place:
        key = id_of(item)
        if key is None:
            return self._end_row(place, _nameless(item), batch, "bad_id")
        talk = place.open if place.open is not None and place.open.id == key else Open(key)
        if not talk.pieces and self._is_old(item):
            return self._end_row(place, key, batch)
        self._at = key
        try:
            page = self._messages(talk)
        except Gone:
            batch.vanished += 1
            return self._end_row(place, key, batch)
        except (Withheld, Later) as why:
            if isinstance(why, Later) and why.code != TOO_LARGE:
                raise
            return self._end_row(place, key, batch, "unfetched")
        if talk.said.goes_round(page.items):
            return self._end_row(place, key, batch, "endless")
        return self._said_page(item, page, talk, place, batch)

    def _has_lost(self, talk: Open) -> bool:
        """The message that the cursor names has vanished, so that this need not be the end."""
        cursor = talk.said.cursor
        named = bool(id_of({"id": cursor}))
        return named and self._is_gone(f"/conversation/{talk.id}/message/{cursor}/fetch")

    def _said_page(self, item: Any, page: Page, talk: Open, place: Place, batch: Batch) -> Place:
        if not page.items and talk.said.pages > 1 and not talk.again and self._has_lost(talk):
            return place.within(Open(talk.id, wrote=talk.wrote, again=True))
        last = not page.items or not page.cursor
        if page.items or not talk.pieces:
            record = read_talk(item, talk.id, place.row + 1, _distinct(page.items), batch.notes)
            batch.pieces.append(Piece(record, talk.pieces + 1, last))
            batch.size += sum(len(message.text) for message in record.messages)
            batch.rejects += [Reject(record.row, code) for code in batch.notes.rejects]
            batch.notes.rejects.clear()
        if last:
            return self._end_row(place, talk.id, batch)
        said = talk.said.turned(page.items, page.cursor)
        return place.within(replace(talk, said=said, pieces=talk.pieces + 1))

    def _end_row(
        self, place: Place, key: str, batch: Batch, code: str | None = None, *, lost: bool = False
    ) -> Place:
        batch.ended.append(place.row + 1)
        if code is not None:
            batch.rejects.append(Reject(place.row + 1, code))
        return place.next_row(key, lost=lost)

    def _is_old(self, item: Any) -> bool:
        if self._since is None:
            return False
        changed = instant(item.get("updatedAt") or item.get("createdAt"), Notes())
        return changed is not None and changed < self._since

    def _listed(self, place: Place, kind: str) -> Page:
        at = (place.kind, place.listed.cursor)
        if self._list is None or self._list[0] != at:
            try:
                page = self._asked(f"/{kind[:-1]}/list", place.listed.cursor)
            except Gone:
                raise Final(f"There is no list of {kind} at this address; --only leaves it out.") from None
            except Withheld as why:
                raise Final(f"The {kind} cannot be read. {why}") from None
            except Later as why:
                if why.code != TOO_LARGE:
                    raise
                raise Final(f"One of the {kind} is larger than an answer may be.") from None
            self._list = (at, page)
        return self._list[1]

    def _messages(self, talk: Open) -> Page:
        at = (talk.id, talk.said.cursor)
        if self._said is None or self._said[0] != at:
            page = self._asked(f"/conversation/{talk.id}/message/list", talk.said.cursor)
            self._said = (at, page)
        return self._said[1]

    def _asked(self, path: str, cursor: str) -> Page:
        """A page; where it is too large, the half of it."""
        while True:
            self._alive()
            try:
                # Who was too slow is asked for less.
                page = self._server.page(path, cursor, max(1, min(self._take, TAKE >> self.place.tries)))
            except Later as why:
                if why.code != TOO_LARGE or self._take == 1:
                    raise
                self._take //= 2
                continue
            self._take = min(TAKE, self._take * 2)
            return page


def _is_dealt(item: Any, place: Place) -> bool:
    return place.has_dealt(id_of(item) or _nameless(item))


def _nameless(item: Any) -> str:
    return f"?{item!r}"[:10_000]


def _distinct(items: Sequence[Any]) -> list[Any]:
    """A list tells each thing once; what has no id is taken as it comes."""
    return list({id_of(item) or f"?{at}": item for at, item in enumerate(items)}.values())
