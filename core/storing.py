"""Storing what an import has read: conversations, messages, contacts and tasks, each once.

Everything is written in the caller's transaction: rows are copied in while they are redacted, so that the
database stores one message while the next is looked at. What was imported before is known by its key and
left alone; privacy is that of the conversation a message comes to.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.annotations import enqueue_annotations
from core.context import settings_of
from core.copying import copied_in
from core.errors import InvalidInput
from core.import_columns import CONVERSATIONS, MESSAGES, Options, RowMaker, checked_head
from core.import_contacts import contacts_of
from core.import_keys import Entry, Keys, Known
from core.import_links import find_links
from core.import_rows import Outcome, Piece, Talk
from core.import_tasks import store_tasks
from core.importers.records import Conversation, Message, Reject, Task
from core.rows import database_now
from core.shield import Shield
from core.shields import kept_shields_of, shields_alike
from core.vault import keep_all
from models import ImportKind, Job, new_ids
from models import Message as Row

LOCK = text(
    "SELECT id, next_seq, last_message_at FROM conversations WHERE id = ANY(CAST(:ids AS uuid[]))"
    " AND account_id = :account ORDER BY id FOR NO KEY UPDATE"
)
KEEP_BOT = text("SELECT id FROM bots WHERE id = :id AND account_id = :account FOR KEY SHARE")
KEEP_CONTACT = text("SELECT id FROM contacts WHERE id = :id AND account_id = :account FOR KEY SHARE")
EXTEND = text(
    "UPDATE conversations c SET next_seq = t.seq, last_message_at = t.at,"
    "  updated_at = CASE WHEN t.updated IS NULL THEN now()"
    "   ELSE GREATEST(c.updated_at, LEAST(t.updated, now())) END"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS int[]), CAST(:ats AS timestamptz[]),"
    "  CAST(:updates AS timestamptz[])) AS t (id, seq, at, updated) WHERE c.id = t.id"
)


@dataclass
class Memory:
    """What one import keeps from batch to batch: nothing that the database does not know as well."""

    conversations: dict[bytes, Known] = field(default_factory=dict)

    def keep(self, known: Mapping[bytes, Known], last: bytes | None) -> None:
        """Of all that was looked up only the conversation that goes on."""
        self.conversations = {last: known[last]} if last is not None and last in known else {}

    def forget(self) -> None:
        """After a transaction that did not commit."""
        self.conversations = {}


def store(
    session: Session, job: Job, pieces: Sequence[Piece], options: Options, memory: Memory | None = None
) -> Outcome:
    """Stores what is new of these pieces, all in this transaction.

    Raises:
        KeyUnusable: the installation has no key. InvalidInput: none of a record's fields, which are rejects.

    """
    return _Storing(session, job, options, memory or Memory()).all(pieces)


class _Storing:
    def __init__(self, session: Session, job: Job, options: Options, memory: Memory) -> None:
        self.session, self.job, self.options, self.memory = session, job, options, memory
        self.account = job.account_id
        self.keys = Keys(session, self.account)
        self.now = database_now(session)
        self.out = Outcome()
        self.talks: dict[bytes, Talk] = {}
        # Whoever was deleted meanwhile is not linked to; who is there stays until this has committed.
        self.bot = session.scalar(KEEP_BOT, {"id": options.bot_id, "account": self.account})
        self.contact = session.scalar(KEEP_CONTACT, {"id": options.contact_id, "account": self.account})
        self.rows = RowMaker(self.account, options, settings_of(session).pii_ner is not None, self.now)

    def all(self, pieces: Sequence[Piece]) -> Outcome:
        for piece in pieces:
            if isinstance(piece.record, Reject):
                self.out.rejects.append(piece.record)
        talks = [piece for piece in pieces if isinstance(piece.record, Conversation)]
        if talks:
            self.conversations(talks)
        tasks = [piece.record for piece in pieces if isinstance(piece.record, Task)]
        if tasks:
            told = store_tasks(self.session, self.keys, self.job, tasks, bot=self.bot, contact=self.contact)
            self.out.add(told)
        self.out.rejects += self.rows.rejects
        return self.out

    def conversations(self, pieces: Sequence[Piece]) -> None:
        keyed = [
            (self.keys.key(ImportKind.CONVERSATION, piece.record.key), piece)
            for piece in pieces
            if isinstance(piece.record, Conversation)
        ]
        known = self.keys.known(ImportKind.CONVERSATION, [key for key, _ in keyed], self.memory.conversations)
        there = self._locked(known)
        # Ids rise, so that lists show them in the order of their file.
        for (key, piece), fresh_id in zip(keyed, new_ids(len(keyed)), strict=True):
            self._plan(key, piece, known, there, fresh_id)
        self.memory.keep(known, keyed[-1][0] if not keyed[-1][1].last else None)
        written = list(self.talks.values())
        new = [talk for talk in written if talk.head is not None]
        self._find_contacts(new)
        shields = self._shields(new, [talk for talk in written if talk.head is None])
        self._write_conversations(new, shields)
        self._write_messages(written, shields)
        self._extend([talk for talk in written if talk.head is None and talk.placed])
        self._note(written)
        found = [shield for shield in shields.values() if shield is not None]
        keep_all(self.session, self.account, [shield.vault for shield in found])
        for shield in found:
            shield.vault.sealed.clear()
            shield.keep()

    def _find_contacts(self, talks: Sequence[Talk]) -> None:
        """Whom new conversations are with: known from before, found by what is told of them, or made."""
        told = {talk.head.contact.key: talk for talk in talks if talk.head and talk.head.contact}
        wanted = [talk.head.contact for talk in told.values() if talk.head and talk.head.contact]
        found = contacts_of(self.session, self.keys, self.job, wanted)
        self.out.counts["contacts"] += found.made
        self.out.rejects += [Reject(_row(told[key]), "bad_contact") for key in found.refused]
        for talk in talks:
            contact = talk.head.contact if talk.head else None
            talk.contact = (found.ids.get(contact.key) if contact else None) or self.contact
            talk.bot = self.bot
        if self.options.links:
            self._find_links(talks)

    def _find_links(self, talks: Sequence[Talk]) -> None:
        """What new conversations name themselves; who is not known here is not linked to."""
        told = [(talk, talk.head) for talk in talks if talk.head]
        found = find_links(self.session, self.keys, self.account, [head.links for _, head in told])
        for talk, head in told:
            own = {name: found.get((name, key)) for name, key in head.links.items()}
            talk.contact, talk.task = own.get("contact", talk.contact), own.get("task")
            talk.bot = own.get("bot", None if head.backstory or head.model else talk.bot)

    def _locked(self, known: Mapping[bytes, Known]) -> dict[uuid.UUID, Any]:
        ids = sorted({one.target for one in known.values()})
        values = {"ids": ids, "account": self.account}
        return {row.id: row for row in self.session.execute(LOCK, values)} if ids else {}

    def _plan(
        self,
        key: bytes,
        piece: Piece,
        known: dict[bytes, Known],
        there: Mapping[uuid.UUID, Any],
        fresh_id: uuid.UUID,
    ) -> None:
        """Decides what is new of a piece, and gives it its places."""
        record, counts = piece.record, self.out.counts
        if not isinstance(record, Conversation):
            return
        before = known.get(key)
        if before is not None and key not in self.talks and before.target not in there:
            counts["deleted"] += len(record.messages)  # here, since it was imported
            return
        fresh, members = self._fresh(record, before)
        counts["known"] += len(record.messages) - len(fresh)
        if before is None:
            try:
                record = checked_head(record)
            except InvalidInput:
                self.out.rejects.append(Reject(record.row, "bad_settings"))
                self.out.failed.add(record.row)
                return
            before = known[key] = Known(fresh_id)
            self.talks[key] = Talk(before.target, key, 0, head=record)
            counts["conversations"] += 1
        elif not fresh:
            return
        elif key not in self.talks:
            row = there[before.target]
            self.talks[key] = Talk(row.id, key, before.number, row.next_seq, row.last_message_at)
            self.talks[key].updated_at = record.updated_at if piece.number > 1 else None
        counts["messages"] += self.talks[key].add(record.row, fresh, members, self.now)
        before.add(before.number + 1, b"".join(members))
        self.out.wrote.add(record.row)

    def _fresh(self, record: Conversation, known: Known | None) -> tuple[list[Message], list[bytes]]:
        members = [self.keys.member(record.key, message.key) for message in record.messages]
        if known is None or not known.members:
            return list(record.messages), members
        new = [
            (message, member)
            for message, member in zip(record.messages, members, strict=True)
            if member not in known.members
        ]
        return [message for message, _ in new], [member for _, member in new]

    def _shields(self, new: Sequence[Talk], old: Sequence[Talk]) -> dict[uuid.UUID, Shield | None]:
        found: dict[uuid.UUID, Shield | None] = dict(kept_shields_of(self.session, [talk.id for talk in old]))
        makers: dict[tuple[Any, ...], Callable[[uuid.UUID], Shield | None]] = {}
        for talk in new:
            head = talk.head
            assert head is not None  # noqa: S101 (those that are made have one)
            privacy, policy = self.options.privacy or head.privacy, head.policy
            alike = (talk.bot, talk.contact, privacy, repr(policy))
            if alike not in makers:
                makers[alike] = shields_alike(
                    self.session,
                    self.account,
                    bot=talk.bot,
                    contact=talk.contact,
                    privacy=privacy,
                    policy=policy,
                )
            found[talk.id] = makers[alike](talk.id)
        return found

    def _write_conversations(self, talks: Sequence[Talk], shields: Mapping[uuid.UUID, Shield | None]) -> None:
        with copied_in(self.session, "conversations", CONVERSATIONS) as write:
            for talk in talks:
                write(self.rows.conversation(talk, shields[talk.id]))

    def _write_messages(self, talks: Sequence[Talk], shields: Mapping[uuid.UUID, Shield | None]) -> None:
        ids = iter(new_ids(sum(len(talk.placed) for talk in talks)))
        waiting: list[Row] = []
        with copied_in(self.session, "messages", MESSAGES) as write:
            for talk in talks:
                shield = shields.get(talk.id)
                asked = self.rows.waits(shield)
                for placed in talk.placed:
                    message_id = next(ids)
                    try:
                        write(self.rows.message(message_id, talk, placed, shield))
                    except InvalidInput:
                        self.out.rejects.append(Reject(placed.row, "too_long"))
                        self.out.counts["messages"] -= 1
                        continue
                    if asked:
                        waiting.append(Row(id=message_id, account_id=self.account, conversation_id=talk.id))
        if waiting:
            enqueue_annotations(self.session, waiting)

    def _extend(self, talks: Sequence[Talk]) -> None:
        if talks:
            values = {
                "ids": [talk.id for talk in talks],
                "seqs": [talk.next_seq for talk in talks],
                "ats": [talk.last_at for talk in talks],
                "updates": [talk.updated_at for talk in talks],
            }
            self.session.execute(EXTEND, values)

    def _note(self, talks: Sequence[Talk]) -> None:
        entries = [
            Entry(
                talk.key,
                talk.number + at,
                talk.id,
                talk.head is not None and at == 1,
                part.members,
                part.first_seq,
                part.last_seq,
            )
            for talk in talks
            for at, part in enumerate(talk.parts, 1)
        ]
        self.keys.store(self.job.id, ImportKind.CONVERSATION, entries)


def _row(talk: Talk) -> int:
    return talk.head.row if talk.head else 0
