"""Purging: conversations that go in one transaction, with all they hold. Messages: core/sweeping.py.

What deleting one does (core/conversations.py), set by set: turns under way in them are cancelled, and what
was told or summed up of them goes as well: runs' summaries, live channels, values behind tokens, files.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import account_of, silence_after_commit
from core.conversations import SLICE
from core.rows import as_array
from core.runs import cancel_turns_of_all
from core.sweeping import between, sweep
from core.talking import channels_of
from models import Job

# In the order of their ids, before runs and messages.
LOCK = text(
    "SELECT id FROM conversations WHERE id = ANY(CAST(:ids AS uuid[])) AND account_id = :account"
    " ORDER BY id FOR UPDATE"
)
FORGET_SUMMARIES_OF = text(
    "UPDATE runs SET summary = NULL WHERE conversation_id = ANY(CAST(:ids AS uuid[])) AND summary IS NOT NULL"
)
SLICE_OF = text(
    "SELECT min(seq), max(seq) FROM (SELECT seq FROM messages WHERE conversation_id = :id"
    " ORDER BY seq LIMIT :slice) AS slice"
)
ATTACHED_TO = text("SELECT count(*) FROM attachments WHERE conversation_id = ANY(CAST(:ids AS uuid[]))")
DELETE_SOME = text(
    "DELETE FROM messages WHERE id IN (SELECT id FROM messages"
    " WHERE conversation_id = ANY(CAST(:ids AS uuid[])) LIMIT :slice)"
)
FORGET_SOME = text(
    "DELETE FROM pii_tokens WHERE (conversation_id, token) IN (SELECT conversation_id, token FROM pii_tokens"
    " WHERE conversation_id = ANY(CAST(:ids AS uuid[])) LIMIT :slice)"
)
DELETE_CONVERSATIONS = text(
    "DELETE FROM conversations WHERE id = ANY(CAST(:ids AS uuid[])) AND account_id = :account RETURNING id"
)


@dataclass(frozen=True)
class Purged:
    """What has gone: of the conversations that were asked for their ids, and how much in all."""

    ids: list[uuid.UUID]
    messages: int
    attachments: int


NOTHING = Purged([], 0, 0)


def purge_conversations(session: Session, conversation_ids: Sequence[uuid.UUID]) -> Purged:
    """Removes conversations with all they hold; those that have gone meanwhile, or are foreign, are left out.

    Turns under way in them are cancelled. Their runs stay without their summaries.
    """
    ours = _locked(session, conversation_ids)
    if not ours:
        return NOTHING
    values = {"ids": ours, "account": account_of(session), "slice": SLICE}
    _silence(session, ours)
    attachments = session.execute(ATTACHED_TO, values).scalar_one()
    messages = 0
    while gone := int(session.execute(DELETE_SOME, values).rowcount):  # type: ignore[attr-defined]
        messages += gone
    while session.execute(FORGET_SOME, values).rowcount == SLICE:  # type: ignore[attr-defined]
        pass
    ids = set(session.scalars(DELETE_CONVERSATIONS, values))
    return Purged([one for one in conversation_ids if one in ids], messages, attachments)


def trim_conversation(session: Session, conversation_id: uuid.UUID, job: Job) -> int:
    """Removes a slice of a conversation that is going and too long to go in one piece; answers how many
    messages.

    Whatever comes between this slice and the next, what has gone is named by a receipt, as messages.
    """
    ours = _locked(session, [conversation_id])
    if not ours:
        return 0
    _silence(session, ours)
    first, last = session.execute(SLICE_OF, {"id": conversation_id, "slice": SLICE}).one()
    if first is None:
        return 0
    chosen = between(as_array(ours), as_array([first]), as_array([last]))
    return sweep(session, chosen, job, part=f"{conversation_id}:{first}").messages


def _locked(session: Session, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    wanted = {"ids": sorted(set(ids)), "account": account_of(session)}
    return list(session.scalars(LOCK, wanted))


def _silence(session: Session, conversations: list[uuid.UUID]) -> None:
    """Ends the turns of conversations that go, and forgets what was told of them."""
    cancel_turns_of_all(session, conversations)
    silence_after_commit(session, channels_of(session, conversations))
    session.execute(FORGET_SUMMARIES_OF, {"ids": conversations})
