"""What becomes of rows that are made anonymous: messages, and all that was made or hangs on them.

Every conversation is locked already. The order of locks: runs, then messages and what belongs to them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from core.annotations import enqueue_annotations
from core.anonymous import without_names
from core.context import silence_after_commit
from core.privacy.anonymous import Anonymiser
from core.privacy.operators import stored
from core.settlement import SUMMARY
from core.talking import channels_of
from core.vault import forget_tokens
from models import MAX_TEXT_BYTES, Conversation, Message, MessageType, PiiState

log = structlog.get_logger()

LOCK_RUNS = text(
    "SELECT id FROM runs WHERE id = ANY(CAST(:ids AS uuid[])) AND summary IS NOT NULL"
    " ORDER BY id FOR NO KEY UPDATE"
)
SUMMARISE = text(
    "UPDATE runs r SET summary = u.summary FROM unnest(CAST(:ids AS uuid[]), CAST(:summaries AS text[]))"
    " AS u (id, summary) WHERE r.id = u.id AND r.summary IS NOT NULL"
)
# Summaries of answers that are not there any more.
FORGET_SUMMARIES = text(
    "UPDATE runs SET summary = NULL WHERE id IN (SELECT r.id FROM runs r"
    " WHERE r.conversation_id = ANY(CAST(:ids AS uuid[])) AND r.summary IS NOT NULL AND NOT EXISTS"
    " (SELECT FROM messages m WHERE m.run_id = r.id AND m.step = 'reply') ORDER BY r.id FOR NO KEY UPDATE)"
)
WRITE = text(
    "UPDATE messages m SET text = u.text, name = CASE WHEN u.keeps THEN m.name END,"
    " description = u.description, meta = u.meta, pii = u.pii, pii_types = CASE WHEN u.pii IS NOT NULL THEN"
    "  ARRAY(SELECT DISTINCT e ->> 't' FROM jsonb_array_elements(u.pii) AS e ORDER BY 1) END,"
    " text_rev = m.text_rev + u.changed::int, updated_at = now(),"
    " anonymised_at = CASE WHEN NOT u.keeps THEN now() END FROM jsonb_to_recordset(CAST(:rows AS jsonb))"
    "  AS u (id uuid, text text, description text, meta jsonb, pii jsonb, changed bool, keeps bool)"
    " WHERE m.id = u.id"
)
DROP_FILES = text("DELETE FROM attachments WHERE message_id = ANY(CAST(:ids AS uuid[]))")
DROP_FILES_OF = text("DELETE FROM attachments WHERE conversation_id = ANY(CAST(:ids AS uuid[]))")
FORGET_VOTERS = text(
    "UPDATE ratings SET reason = NULL, contact_id = NULL WHERE message_id = ANY(CAST(:ids AS uuid[]))"
)
FORGET_VOTERS_OF = text(
    "UPDATE ratings SET reason = NULL, contact_id = NULL WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"
)
FORGET_VALUES = text("DELETE FROM pii_tokens WHERE conversation_id = ANY(CAST(:ids AS uuid[]))")
# Replies that are being made from what was said before are discarded (core/settlement.py).
PURGE = text(
    "UPDATE conversations SET purge_epoch = purge_epoch + 1, updated_at = now()"
    " WHERE id = ANY(CAST(:ids AS uuid[]))"
)
# What turns have remembered of what is anonymous now, from the first of it on.
FORGET_MEMORIES = text(
    "DELETE FROM memories x USING (SELECT conversation_id, min(seq) AS seq FROM messages"
    "  WHERE id = ANY(CAST(:ids AS uuid[])) GROUP BY conversation_id) AS first"
    " WHERE x.conversation_id = first.conversation_id AND x.seq >= first.seq"
)
FORGET_MEMORIES_OF = text("DELETE FROM memories WHERE conversation_id = ANY(CAST(:ids AS uuid[]))")
LABELS = ("name", "description", "backstory")
LEFT = text(
    "SELECT DISTINCT conversation_id FROM messages WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"
    " AND anonymised_at IS NULL"
)


@dataclass(frozen=True)
class Rewritten:
    """A message as it was, and as it is to be stored; with its author's name it is not anonymous yet."""

    before: Row[Any]
    text: str = field(repr=False)
    description: str | None = field(repr=False)
    meta: Any = field(repr=False)
    pii: list[dict[str, Any]] | None
    keeps_name: bool = False

    @property
    def changed(self) -> bool:
        return bool(self.text != self.before.text)

    def document(self) -> dict[str, Any]:
        row = {"id": str(self.before.id), "text": self.text, "description": self.description}
        return {**row, "meta": self.meta, "pii": self.pii, "changed": self.changed, "keeps": self.keeps_name}


@dataclass(frozen=True)
class Closed:
    """Conversations of which something could not be made anonymous, and how many files have gone."""

    failed: set[uuid.UUID]
    files: int


def rewritten(message: Row[Any], anonymiser: Anonymiser, *, keeps_name: bool = False) -> Rewritten:
    """What a message is to be stored as; pure, and may raise whatever a text can break.

    `keeps_name`: an author's name stays for now, for the texts that are still to come.
    """
    found = anonymiser.text(message.text, message.pii)
    words, pii = found.text, stored(found.taken)
    if len(words) > len(message.text) and len(words.encode()) > MAX_TEXT_BYTES:
        words = words.encode()[:MAX_TEXT_BYTES].decode(errors="ignore")
        pii = [one for one in pii if one["e"] <= len(words)]
    meta = anonymiser.tree(message.meta)
    json.dumps(meta, allow_nan=False)  # a number that JSON cannot say would break the whole batch
    keeps = keeps_name and message.type == MessageType.USER and message.name is not None
    return Rewritten(message, words, anonymiser.label(message.description), meta, pii or None, keeps)


def rewrite_messages(session: Session, made: Sequence[Rewritten]) -> int:
    """Stores them, and takes what hangs on what they were; answers how many files have gone."""
    if not made:
        return 0
    ids, places = [one.before.id for one in made], sorted({one.before.conversation_id for one in made})
    _summarise(session, made)
    session.execute(WRITE, {"rows": json.dumps([one.document() for one in made])})
    files = int(session.execute(DROP_FILES, {"ids": ids}).rowcount)  # type: ignore[attr-defined]
    session.execute(FORGET_VOTERS, {"ids": ids})
    session.execute(FORGET_MEMORIES, {"ids": ids})
    for place in places:
        texts = [said for one in made if one.before.conversation_id == place for said in _texts(one.before)]
        forget_tokens(session, place, texts)
    _look_again(session, made)
    silence_after_commit(session, channels_of(session, places))
    session.execute(PURGE, {"ids": places})
    return files


def close_conversations(
    session: Session, ids: Sequence[uuid.UUID], anonymisers: Mapping[uuid.UUID, Anonymiser]
) -> Closed:
    """Makes anonymous what these conversations say of themselves, now that all their messages are."""
    if not ids:
        return Closed(set(), 0)
    values = {"ids": list(ids)}
    session.execute(FORGET_SUMMARIES, values)
    failed = set(session.scalars(LEFT, values))
    rows = session.scalars(select(Conversation).where(Conversation.id.in_(ids)).order_by(Conversation.id))
    for conversation in rows.all():
        if not _blanked(conversation, anonymisers[conversation.id]):
            failed.add(conversation.id)
        conversation.anonymised_seq = None if conversation.id in failed else conversation.next_seq
    session.flush()
    files = int(session.execute(DROP_FILES_OF, values).rowcount)  # type: ignore[attr-defined]
    session.execute(FORGET_VOTERS_OF, values)
    session.execute(FORGET_MEMORIES_OF, values)
    session.execute(FORGET_VALUES, {"ids": [one for one in ids if one not in failed]})
    silence_after_commit(session, channels_of(session, ids))
    session.execute(PURGE, values)
    return Closed(failed, files)


def _blanked(conversation: Conversation, anonymiser: Anonymiser) -> bool:
    """Whether what it says of itself could be made anonymous; its contact is unlinked only then."""
    try:
        labels = {name: anonymiser.label(getattr(conversation, name)) for name in LABELS}
        meta = anonymiser.tree(conversation.meta)
    except Exception as error:  # noqa: BLE001 (one that breaks must not keep the others; no traceback: it holds text)
        log.error(
            "conversation_not_anonymised", conversation=str(conversation.id), error=type(error).__name__
        )
        return False
    for name, words in labels.items():
        setattr(conversation, name, words)
    conversation.meta = meta
    conversation.privacy_policy = without_names(conversation.privacy_policy)
    conversation.contact_id = None
    return True


def _summarise(session: Session, made: Sequence[Rewritten]) -> None:
    """The summary of a run is the beginning of its reply."""
    told = {
        one.before.run_id: " ".join(one.text.split())[:SUMMARY] or None
        for one in made
        if one.before.run_id is not None and one.before.step == "reply"
    }
    if told:
        session.execute(LOCK_RUNS, {"ids": list(told)})
        session.execute(SUMMARISE, {"ids": list(told), "summaries": list(told.values())})


def _texts(before: Row[Any]) -> list[str]:
    meta = json.dumps(before.meta, ensure_ascii=False)
    return [said for said in (before.text, before.name, before.description, meta) if said]


def _look_again(session: Session, made: Sequence[Rewritten]) -> None:
    """What a worker was still to look at is looked at as it is now: a model may find what rules do not."""
    for one in made:
        if one.changed and one.before.pii_state in {PiiState.PENDING, PiiState.BLOCKED}:
            before = one.before
            message = Message(
                id=before.id, account_id=before.account_id, conversation_id=before.conversation_id
            )
            enqueue_annotations(session, [message], text_rev=before.text_rev + 1)
