"""What an export reads at once: the next conversations it selects, or a part of one, as records.

Conversations are walked in the order of their ids, messages in that of their places, each page by statements
of its own: nothing is held open between two, and however long a conversation is, a page is small. What
belongs to an export is what was there when it was asked for; it is written as it stands when it is read.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from core.exporters.veil import Kept, Mode
from core.importers.records import MEBIBYTE, Attachment, Contact, Conversation, Message
from core.privacy.operators import read_stored
from core.privacy.placeholders import TOKENS
from core.selection import Selection, conversations_from
from core.shields import shields_of
from core.vault import values_in
from models import MessageType, PiiState

CONVERSATIONS = 100
MESSAGES = 4000
BYTES = 4 * MEBIBYTE
MOST_FILES = 10_000
LAST_SEQ = 2**31 - 1

# The place of the last thing a bot has said that a model would be shown.
ANSWERED = (
    "(SELECT max(m.seq) FROM messages m WHERE m.conversation_id = c.id AND m.type = 'bot' AND m.id < :bound"
    " AND m.pii_state IS DISTINCT FROM 'blocked'"
    " AND COALESCE(m.meta -> 'hidden', 'null') IN ('null', 'false')"
    " AND COALESCE(m.meta -> 'archived', 'null') IN ('null', 'false'))"
)
HEADS = (
    "SELECT c.*, b.backstory AS bot_backstory, k.fingerprint, k.name AS contact_name, k.email, k.phone,"
    " k.nick, k.meta AS contact_meta, {answered} AS answered FROM conversations c"
    " LEFT JOIN bots b ON b.id = c.bot_id LEFT JOIN contacts k ON k.id = c.contact_id"
    " WHERE c.id = ANY(CAST(:in AS uuid[]))"
)
# The texts of as many messages as have room, and of the others that they are there. What nobody may see is
# not read.
SAID = text(
    "SELECT id, conversation_id, seq, type, pii_state, run_id, created_at, updated_at, fits,"
    " CASE WHEN shown THEN text END AS text, CASE WHEN shown THEN name END AS name,"
    " CASE WHEN shown THEN description END AS description, "
    # An empty meta is most of what JSON there is, and is not worth a parser.
    " CASE WHEN shown THEN NULLIF(meta, CAST('{}' AS jsonb)) END AS meta,"
    " CASE WHEN shown THEN pii END AS pii FROM (SELECT q.*, q.before < :bytes AS fits,"
    "  q.before < :bytes AND q.pii_state IS DISTINCT FROM 'blocked' AS shown FROM (SELECT p.*,"
    "   sum(p.weight) OVER (ORDER BY p.conversation_id, p.seq) - p.weight AS before FROM ("
    "    SELECT m.*, octet_length(m.text) + pg_column_size(m.meta) + COALESCE(octet_length(m.name), 0)"
    "     + COALESCE(octet_length(m.description), 0) + COALESCE(pg_column_size(m.pii), 0) AS weight"
    "     FROM messages m WHERE m.conversation_id = ANY(CAST(:in AS uuid[]))"
    "     AND (m.conversation_id, m.seq) > (:at, :seq) AND m.id < :bound"
    "     ORDER BY m.conversation_id, m.seq LIMIT :most) AS p) AS q) AS r ORDER BY conversation_id, seq"
)
FILES = text(
    "SELECT a.conversation_id, a.message_id, b.name, b.type, b.size FROM attachments a"
    " JOIN blobs b ON b.attachment_id = a.id AND b.state = 'stored'"
    " WHERE a.conversation_id = ANY(CAST(:in AS uuid[]))"
    " AND (a.message_id IS NULL OR a.message_id = ANY(CAST(:messages AS uuid[]))) ORDER BY a.id LIMIT :most"
)
KNOWN = text(
    "SELECT conversation_id, token FROM pii_tokens WHERE (conversation_id, token) IN"
    " (SELECT * FROM unnest(CAST(:conversations AS uuid[]), CAST(:tokens AS text[])))"
)


@dataclass(frozen=True)
class Asked:
    """What is exported, and how far it is to be seen."""

    account: uuid.UUID
    selection: Selection
    mode: Mode
    training: bool = False


@dataclass(frozen=True)
class Place:
    """Where an export stands: behind this message of this conversation, or behind all of it."""

    at: uuid.UUID = field(default=uuid.UUID(int=0))
    seq: int = LAST_SEQ

    @property
    def within(self) -> bool:
        return self.seq < LAST_SEQ


@dataclass(frozen=True)
class Part:
    """A conversation, or a part of one, with what is known beside it. `looked`: which messages privacy has
    looked at.
    """

    conversation: Conversation
    first: bool
    last: bool
    kept: Kept = field(default_factory=Kept)
    looked: Sequence[bool] = ()


@dataclass(frozen=True)
class Page:
    """What was read at once. `place` is where the next begins; None: this was the end."""

    parts: Sequence[Part]
    place: Place | None
    read: int = 0
    blocked: int = 0
    unanswered: int = 0


def read_page(session: Session, asked: Asked, place: Place) -> Page:
    """The next of what is asked for. A conversation that has gone in the middle is given an end."""
    begin = place.at if place.within else uuid.UUID(int=place.at.int + 1)
    found = conversations_from(session, asked.selection, asked.account, begin, CONVERSATIONS)
    page = Page((), None)
    if found:
        page = _Reading(session, asked, place, [row.id for row in _some(found, place)]).page()
    if place.within and all(part.conversation.key != str(place.at) for part in page.parts):
        end = Part(Conversation(str(place.at)), first=False, last=True)
        page = replace(page, parts=[end, *page.parts])
    return page


def _some(found: Sequence[Row[Any]], place: Place) -> Sequence[Row[Any]]:
    """The first of these, until they may hold as many messages as are read at once."""
    among, places = [], 0
    for row in found:
        among.append(row)
        places += row.next_seq - (place.seq if place.within and row.id == place.at else 0)
        if places > MESSAGES:
            break
    return among


class _Reading:
    """The reading of one page."""

    def __init__(self, session: Session, asked: Asked, place: Place, among: list[uuid.UUID]) -> None:
        self._session, self._asked, self._place, self._among = session, asked, place, among
        self._values = asked.selection.values(asked.account)

    def page(self) -> Page:
        heads = self._heads()
        within = self._place.at if self._place.within else None
        told = [one for one in self._among if one == within or (one in heads and heads[one].answered)]
        rows = self._said(told)
        fitting = list(takewhile(lambda row: row.fits, rows))
        cut = len(fitting) < len(rows) or len(rows) == MESSAGES
        if cut and self._asked.training:
            fitting = _without_open_calls(fitting)
        place = Place(fitting[-1].conversation_id, fitting[-1].seq) if cut else Place(self._among[-1])
        reached = [one for one in self._among if one <= place.at]
        told = [one for one in told if one <= place.at and one in heads]
        return Page(
            self._parts([heads[one] for one in told], fitting, within, place),
            place,
            read=len(fitting),
            blocked=sum(row.pii_state == PiiState.BLOCKED for row in fitting),
            unanswered=len(reached) - len(told),
        )

    def _heads(self) -> dict[uuid.UUID, Row[Any]]:
        query = HEADS.format(answered=ANSWERED if self._asked.training else str(LAST_SEQ))
        values = {"in": self._among, "bound": self._values["bound"]}
        return {row.id: row for row in self._session.execute(text(query), values)}

    def _said(self, among: list[uuid.UUID]) -> Sequence[Row[Any]]:
        values = {
            "in": among,
            "at": self._place.at,
            "seq": self._place.seq,
            "bound": self._values["bound"],
            "most": MESSAGES,
            "bytes": BYTES,
        }
        return self._session.execute(SAID, values).all() if among else ()

    def _parts(
        self, heads: Sequence[Row[Any]], rows: Sequence[Row[Any]], within: uuid.UUID | None, place: Place
    ) -> list[Part]:
        said: defaultdict[uuid.UUID, list[Row[Any]]] = defaultdict(list)
        answered = {head.id: head.answered or 0 for head in heads}
        for row in rows:
            # What nobody has answered is no example of an answer.
            if row.pii_state != PiiState.BLOCKED and row.seq <= answered.get(row.conversation_id, 0):
                said[row.conversation_id].append(row)
        files = self._files([head.id for head in heads], [row.id for each in said.values() for row in each])
        kept = self._kept(heads, said)
        return [
            Part(
                _conversation(head, said[head.id], files, self._asked),
                first=head.id != within,
                last=not (place.within and head.id == place.at),
                kept=kept[head.id],
                looked=[row.pii_state is not None or bool(row.pii) for row in said[head.id]],
            )
            for head in heads
        ]

    def _files(
        self, conversations: list[uuid.UUID], messages: list[uuid.UUID]
    ) -> Mapping[uuid.UUID, list[Attachment]]:
        values = {"in": conversations, "messages": messages, "most": MOST_FILES}
        files: defaultdict[uuid.UUID, list[Attachment]] = defaultdict(list)
        for row in self._session.execute(FILES, values):
            place = row.message_id or row.conversation_id
            files[place].append(Attachment(row.name, row.type, row.size))
        return files

    def _kept(
        self, heads: Sequence[Row[Any]], said: Mapping[uuid.UUID, Sequence[Row[Any]]]
    ) -> dict[uuid.UUID, Kept]:
        """What each conversation's tokens are, as far as its texts name any."""
        texts = [
            (row.conversation_id if "conversation_id" in row._fields else row.id, words)
            for row in (*heads, *(one for head in heads for one in said.get(head.id, ())))
            for words in (getattr(row, "text", None), row.name, row.description, str(row.meta or ""))
            if words and "[" in words
        ]
        mode = self._asked.mode
        if mode is Mode.ORIGINAL:
            values = values_in(self._session, self._asked.account, texts)
            return {head.id: Kept(values=values.get(head.id, {})) for head in heads}
        tokens = self._tokens(texts)
        shields = shields_of(self._session, [head.id for head in heads]) if mode is Mode.TOKENISED else {}
        return {head.id: Kept(tokens[head.id], looked=head.id in shields) for head in heads}

    def _tokens(self, texts: Sequence[tuple[uuid.UUID, str]]) -> Mapping[uuid.UUID, set[str]]:
        named = {(place, token) for place, words in texts for token in TOKENS.findall(words)}
        found: defaultdict[uuid.UUID, set[str]] = defaultdict(set)
        if named:
            conversations, tokens = zip(*named, strict=True)
            values = {"conversations": list(conversations), "tokens": list(tokens)}
            for row in self._session.execute(KNOWN, values):
                found[row.conversation_id].add(row.token)
        return found


def _without_open_calls(rows: list[Row[Any]]) -> list[Row[Any]]:
    """So far that no call of a tool is parted from its answer by the end of a page, where that can be."""
    end = len(rows)
    while end and rows[end - 1].type == MessageType.ACTIVITY:
        end -= 1
    return rows[:end] if end and rows[end - 1].conversation_id == rows[-1].conversation_id else rows


def _conversation(
    head: Row[Any], said: Sequence[Row[Any]], files: Mapping[uuid.UUID, list[Attachment]], asked: Asked
) -> Conversation:
    backstory = head.backstory or (head.bot_backstory if asked.training else None)
    links = {"botId": head.bot_id, "taskId": head.task_id, "runId": head.run_id}
    return Conversation(
        key=str(head.id),
        title=head.name,
        description=head.description,
        created_at=head.created_at,
        updated_at=head.updated_at,
        meta=head.meta,
        messages=tuple(_message(row, files.get(row.id, ())) for row in said),
        contact=_contact(head, asked.mode),
        source=head.source,
        status=head.status,
        model=head.model,
        backstory=backstory,
        moderation=head.moderation,
        privacy=head.privacy,
        policy=head.privacy_policy,
        expires_at=head.expires_at,
        attachments=tuple(files.get(head.id, ())),
        links={name: str(value) for name, value in links.items() if value},
    )


def _contact(head: Row[Any], mode: Mode) -> Contact | None:
    """The caller's own name for a contact is often an address of theirs."""
    if head.contact_id is None:
        return None
    return Contact(
        key=head.fingerprint if mode is Mode.ORIGINAL else str(head.contact_id),
        name=head.contact_name,
        email=head.email,
        phone=head.phone,
        nick=head.nick,
        meta=head.contact_meta or {},
    )


def _message(row: Row[Any], files: Sequence[Attachment]) -> Message:
    return Message(
        key=str(row.id),
        type=row.type,
        text=row.text,
        created_at=row.created_at,
        updated_at=row.updated_at,
        name=row.name,
        description=row.description,
        meta=row.meta or {},
        entities=read_stored(row.pii) if row.pii else (),
        attachments=tuple(files),
    )
