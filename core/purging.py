"""Purging: many messages or conversations that go in one transaction, with all that hangs on them.

What deleting one does (core/messages.py, core/conversations.py), set by set: the others keep their ids and
places, replies that are being made from what goes are discarded, and what was told or summed up of it goes as
well: runs' summaries, checkpoints, live channels, values behind tokens, files.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import account_of, silence_after_commit
from core.conversations import SLICE
from core.privacy.placeholders import TOKEN, TOKENS
from core.runs import cancel_turns_of_all
from core.talking import channels_of

# The order of locks: conversations, then runs, then messages; conversations in the order of their ids.
LOCK = text(
    "SELECT id FROM conversations WHERE id = ANY(CAST(:ids AS uuid[])) AND account_id = :account"
    " ORDER BY id FOR NO KEY UPDATE"
)
LOCK_WHOLE = text(
    "SELECT id FROM conversations WHERE id = ANY(CAST(:ids AS uuid[])) AND account_id = :account"
    " ORDER BY id FOR UPDATE"
)
FOUND = text(
    "SELECT id, conversation_id, seq, run_id, step FROM messages WHERE id = ANY(CAST(:ids AS uuid[]))"
    " AND conversation_id = ANY(CAST(:conversations AS uuid[]))"
)
# What turns have summed up after the first that goes of each conversation.
SUMMARIES = text(
    "SELECT m.id, m.run_id, m.step FROM unnest(CAST(:conversations AS uuid[]), CAST(:seqs AS int[]))"
    " AS first (conversation_id, seq) JOIN messages m ON m.conversation_id = first.conversation_id"
    " AND m.seq > first.seq WHERE m.type = 'checkpoint' AND m.run_id IS NOT NULL"
)
FORGET_SUMMARIES = text(
    "UPDATE runs SET summary = NULL WHERE id IN (SELECT id FROM runs WHERE id = ANY(CAST(:ids AS uuid[]))"
    " AND summary IS NOT NULL ORDER BY id FOR NO KEY UPDATE)"
)
FORGET_SUMMARIES_OF = text(
    "UPDATE runs SET summary = NULL WHERE conversation_id = ANY(CAST(:ids AS uuid[])) AND summary IS NOT NULL"
)
TOLD_ON = text(
    "SELECT COALESCE(channel, CAST(id AS text)) FROM runs WHERE id = ANY(CAST(:runs AS uuid[]))"
    " AND trigger = 'api'"
    " UNION SELECT COALESCE(channel, CAST(id AS text)) FROM runs WHERE trigger = 'api'"
    " AND state IN ('pending', 'running') AND conversation_id = ANY(CAST(:conversations AS uuid[]))"
)
PURGE = text(
    "UPDATE conversations SET purge_epoch = purge_epoch + 1, updated_at = now()"
    " WHERE id = ANY(CAST(:ids AS uuid[]))"
)
ATTACHED = text("SELECT count(*) FROM attachments WHERE message_id = ANY(CAST(:ids AS uuid[]))")
ATTACHED_TO = text("SELECT count(*) FROM attachments WHERE conversation_id = ANY(CAST(:ids AS uuid[]))")
PRIVATE = text(
    "SELECT c.id FROM unnest(CAST(:ids AS uuid[])) AS c (id)"
    " WHERE EXISTS (SELECT FROM pii_tokens t WHERE t.conversation_id = c.id)"
)
SAID = text(
    "SELECT conversation_id, concat_ws(' ', text, name, description, meta) AS said FROM messages"
    " WHERE id = ANY(CAST(:ids AS uuid[])) AND conversation_id = ANY(CAST(:private AS uuid[]))"
    " UNION ALL SELECT conversation_id, reason FROM ratings WHERE reason IS NOT NULL"
    " AND message_id = ANY(CAST(:ids AS uuid[])) AND conversation_id = ANY(CAST(:private AS uuid[]))"
)
DELETE = text("DELETE FROM messages WHERE id = ANY(CAST(:ids AS uuid[])) RETURNING id")
# A token goes with the last text that names it. Every text that is left is read once, not once for a token.
FORGET_TOKENS = text(
    "WITH texts AS ("  # noqa: S608 (a constant)
    " SELECT conversation_id, concat_ws(' ', text, name, description, meta) AS said FROM messages"
    "  WHERE conversation_id = ANY(CAST(:private AS uuid[]))"
    " UNION ALL SELECT id, concat_ws(' ', name, description, meta) FROM conversations"
    "  WHERE id = ANY(CAST(:private AS uuid[]))"
    " UNION ALL SELECT conversation_id, reason FROM ratings WHERE reason IS NOT NULL"
    "  AND conversation_id = ANY(CAST(:private AS uuid[]))),"
    " still AS MATERIALIZED (SELECT DISTINCT x.conversation_id, n.token[1] AS token FROM texts x,"
    f"  regexp_matches(x.said, '{TOKEN.replace(':', chr(92) + ':')}', 'g') AS n (token)"
    "  WHERE strpos(x.said, '[') > 0)"
    " DELETE FROM pii_tokens t USING unnest(CAST(:conversations AS uuid[]), CAST(:tokens AS text[]))"
    "  AS gone (conversation_id, token)"
    " WHERE t.conversation_id = gone.conversation_id AND t.token = gone.token AND NOT EXISTS ("
    "  SELECT FROM still s WHERE s.conversation_id = t.conversation_id AND s.token = t.token)"
)
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
    """What has gone: of what was asked for its ids, and how much in all."""

    ids: list[uuid.UUID]
    derived: list[uuid.UUID]  # checkpoints made from them
    messages: int
    attachments: int
    counted: int = 0  # of the derived ones


NOTHING = Purged([], [], 0, 0)


def purge_messages(
    session: Session,
    message_ids: Sequence[uuid.UUID],
    conversation_ids: Sequence[uuid.UUID],
    *,
    count: Callable[[list[uuid.UUID]], int] | None = None,
) -> Purged:
    """Removes messages of these conversations; those that have gone meanwhile, or are foreign, are left out.

    Checkpoints that turns have made from them go with them; `count` is asked how many of these count as well.
    """
    ours = _locked(session, LOCK, conversation_ids)
    found = session.execute(FOUND, {"ids": as_array(message_ids), "conversations": ours}).all()
    if not found:
        return NOTHING
    first: dict[uuid.UUID, int] = {}
    for one in found:
        first[one.conversation_id] = min(one.seq, first.get(one.conversation_id, one.seq))
    places = sorted(first)
    asked = {one.id for one in found}
    summaries = [
        one
        for one in session.execute(
            SUMMARIES, {"conversations": places, "seqs": [first[place] for place in places]}
        )
        if one.id not in asked
    ]
    derived = [one.id for one in summaries]
    counted = count(derived) if count and derived else 0
    every = [*found, *summaries]
    ids = as_array([one.id for one in every])
    runs = sorted({one.run_id for one in every if one.run_id is not None and one.step != "prompt"})
    if runs:
        session.execute(FORGET_SUMMARIES, {"ids": runs})
    told = session.scalars(TOLD_ON, {"runs": runs, "conversations": places})
    silence_after_commit(session, told.all())
    session.execute(PURGE, {"ids": places})
    attachments = session.execute(ATTACHED, {"ids": ids}).scalar_one()
    tokens = _tokens_of(session, ids, places)
    gone = set(session.scalars(DELETE, {"ids": ids}))
    if tokens:
        named = sorted(tokens)
        values = {"conversations": [place for place, _ in named], "tokens": [token for _, token in named]}
        session.execute(FORGET_TOKENS, {**values, "private": sorted({place for place, _ in named})})
    return Purged(
        [one for one in message_ids if one in gone],
        [one.id for one in summaries if one.id in gone],
        len(gone),
        attachments,
        counted,
    )


def purge_conversations(session: Session, conversation_ids: Sequence[uuid.UUID]) -> Purged:
    """Removes conversations with all they hold; those that have gone meanwhile, or are foreign, are left out.

    Turns under way in them are cancelled. Their runs stay without their summaries.
    """
    ours = _locked(session, LOCK_WHOLE, conversation_ids)
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
    return Purged([one for one in conversation_ids if one in ids], [], messages, attachments)


def trim_conversation(session: Session, conversation_id: uuid.UUID) -> Purged:
    """Removes a slice of a conversation that is going and too long to go in one piece."""
    ours = _locked(session, LOCK_WHOLE, [conversation_id])
    if not ours:
        return NOTHING
    _silence(session, ours)
    session.execute(PURGE, {"ids": ours})
    before = session.execute(ATTACHED_TO, {"ids": ours}).scalar_one()
    gone = int(session.execute(DELETE_SOME, {"ids": ours, "slice": SLICE}).rowcount)  # type: ignore[attr-defined]
    return Purged([], [], gone, before - session.execute(ATTACHED_TO, {"ids": ours}).scalar_one())


def as_array(ids: Sequence[uuid.UUID]) -> str:
    """Ids as PostgreSQL writes an array; element by element the driver takes ten times as long."""
    return "{" + ",".join(map(str, ids)) + "}"


def _locked(session: Session, lock: object, ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    wanted = {"ids": sorted(set(ids)), "account": account_of(session)}
    return list(session.scalars(lock, wanted))  # type: ignore[call-overload]


def _silence(session: Session, conversations: list[uuid.UUID]) -> None:
    """Ends the turns of conversations that go, and forgets what was told of them."""
    cancel_turns_of_all(session, conversations)
    silence_after_commit(session, channels_of(session, conversations))
    session.execute(FORGET_SUMMARIES_OF, {"ids": conversations})


def _tokens_of(session: Session, ids: str, conversations: list[uuid.UUID]) -> set[tuple[uuid.UUID, str]]:
    """The tokens that texts which go name, each with its conversation."""
    private = list(session.scalars(PRIVATE, {"ids": conversations}))
    if not private:
        return set()
    said = session.execute(SAID, {"ids": ids, "private": private})
    return {(one.conversation_id, token) for one in said for token in TOKENS.findall(one.said or "")}
