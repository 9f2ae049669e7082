# ruff: noqa: S608 (statements are put together from constants and from what core/selection.py makes of names)
"""Sweeping: messages that go in one transaction, with all that hangs on them, and never leave the database.

What deleting one does (core/messages.py), set by set: the others keep their ids and places, replies that are
being made from what goes are discarded, and what was told or summed up of it goes as well: runs' summaries,
checkpoints, memories, live channels, values behind tokens, files. Which messages go is said by where they
stand, so no id of them is carried to the client and back: three statements lock, look and delete.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from core.context import account_of, silence_after_commit
from core.erasures import NOTE_EVERY, many_values
from core.privacy.placeholders import TOKEN, TOKENS
from core.rows import as_array
from models import ErasureKind, Job

# The order of locks: conversations, in the order of their ids, then runs, then messages.
LOCK = text(
    "SELECT count(*) FROM (SELECT FROM conversations WHERE id = ANY(CAST(:places AS uuid[]))"
    " AND account_id = :account ORDER BY id FOR NO KEY UPDATE) AS locked"
)
# A statement of its own behind the lock: it sees what whoever held the lock has committed.
LOOK = (
    "WITH doomed AS MATERIALIZED (SELECT m.id, m.conversation_id, m.seq, m.run_id, m.step"
    "  FROM messages m, {among} WHERE m.account_id = :account AND {where}),"
    " first AS MATERIALIZED (SELECT conversation_id, min(seq) AS seq FROM doomed GROUP BY conversation_id),"
    # What turns have summed up after the first that goes of each conversation.
    " derived AS MATERIALIZED (SELECT m.id, m.run_id, m.step FROM first"
    "  JOIN messages m ON m.conversation_id = first.conversation_id AND m.seq > first.seq"
    "  WHERE m.type = 'checkpoint' AND m.run_id IS NOT NULL AND m.id NOT IN (SELECT id FROM doomed)),"
    " ran AS MATERIALIZED (SELECT DISTINCT run_id FROM (SELECT run_id, step FROM doomed"
    "  UNION ALL SELECT run_id, step FROM derived) AS every"
    "  WHERE run_id IS NOT NULL AND step IS DISTINCT FROM 'prompt'),"
    " forgotten AS (UPDATE runs SET summary = NULL WHERE id IN (SELECT r.id FROM runs r"
    "  JOIN ran ON ran.run_id = r.id WHERE r.summary IS NOT NULL ORDER BY r.id FOR NO KEY UPDATE OF r)),"
    # What they have remembered of the first that goes, or of anything with it.
    " unlearnt AS (DELETE FROM memories x USING first WHERE x.conversation_id = first.conversation_id"
    "  AND x.seq >= first.seq)"
    " SELECT EXISTS (SELECT FROM doomed) AS found,"
    " (SELECT CAST(COALESCE(array_agg(id), '{{}}') AS text) FROM derived) AS derived,"
    " ARRAY(SELECT COALESCE(r.channel, CAST(r.id AS text)) FROM runs r JOIN ran ON ran.run_id = r.id"
    "  WHERE r.trigger = 'api' UNION SELECT COALESCE(r.channel, CAST(r.id AS text)) FROM runs r"
    "  JOIN first ON first.conversation_id = r.conversation_id"
    "  WHERE r.trigger = 'api' AND r.state IN ('pending', 'running')) AS told,"
    # By their conversations, most of which have none: a message's own are among those of its conversation.
    " CASE WHEN EXISTS (SELECT FROM first JOIN attachments a USING (conversation_id)"
    "   WHERE a.message_id IS NOT NULL) THEN (SELECT count(*) FROM attachments a"
    "   WHERE a.conversation_id IN (SELECT conversation_id FROM first)"
    "   AND a.message_id IN (SELECT id FROM doomed UNION ALL SELECT id FROM derived)) ELSE 0 END"
    "  AS attachments,"
    " (SELECT CAST(array_agg(conversation_id) AS text) FROM first WHERE EXISTS (SELECT FROM pii_tokens t"
    "  WHERE t.conversation_id = first.conversation_id)) AS private"
)
SAID = (
    "WITH going AS MATERIALIZED (SELECT m.id FROM messages m, {among} WHERE m.account_id = :account"
    "  AND {where} UNION SELECT unnest(CAST(:derived AS uuid[])))"
    " SELECT conversation_id, said FROM (SELECT m.conversation_id,"
    "  concat_ws(' ', m.text, m.name, m.description, m.meta) AS said FROM messages m JOIN going USING (id)"
    "  UNION ALL SELECT r.conversation_id, r.reason FROM ratings r JOIN going ON going.id = r.message_id"
    "  WHERE r.reason IS NOT NULL) AS texts"
    " WHERE conversation_id = ANY(CAST(:private AS uuid[])) AND strpos(said, '[') > 0"
)
# The conversations are locked already, so what is written here, and in which order, meets nobody.
DELETE = (
    "WITH gone AS (DELETE FROM messages m USING {among} WHERE m.account_id = :account AND {where}"
    "  RETURNING m.id, m.conversation_id),"
    " derived AS (DELETE FROM messages m WHERE m.id = ANY(CAST(:derived AS uuid[]))"
    "  RETURNING m.id, m.conversation_id, ({counts}) AS counts),"
    " every AS MATERIALIZED (SELECT id, conversation_id, true AS counts FROM gone"
    "  UNION ALL SELECT id, conversation_id, counts FROM derived),"
    " fenced AS (UPDATE conversations SET purge_epoch = purge_epoch + 1, updated_at = now()"
    "  WHERE id = ANY(ARRAY(SELECT DISTINCT conversation_id FROM every)))"
    "{note}"
    " SELECT count(*) AS messages, count(*) FILTER (WHERE counts) AS counted FROM every"
)
# A token goes with the last text that names it. Every text that is left is read once, not once for a token.
FORGET_TOKENS = text(
    "WITH texts AS ("
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


@dataclass(frozen=True)
class Chosen:
    """Messages m that go, as a statement says it: what they are joined with, and what holds of them.

    `counts`: what holds of the checkpoints that were meant as well, of those that go with what they sum up.
    """

    among: str
    where: str
    values: Mapping[str, Any] = field(repr=False)
    conversations: str = field(repr=False)  # the ids of all they are in, as an array
    counts: str = "false"


@dataclass(frozen=True)
class Swept:
    """How much has gone, and how many of them were meant: without checkpoints that only went along."""

    messages: int = 0
    counted: int = 0
    attachments: int = 0


NOTHING = Swept()


def sweep(session: Session, chosen: Chosen, job: Job | None = None, *, part: str | None = None) -> Swept:
    """Removes messages and what hangs on them; of a job, with a receipt that names them.

    Those that have gone meanwhile, or are foreign, are left out. Checkpoints that turns have made from them
    go with them. Of a `part` of a job the receipt is one of its own.
    """
    values = {**chosen.values, "account": account_of(session), "places": chosen.conversations}
    if not session.execute(LOCK, values).scalar_one():
        return NOTHING
    hanging = session.execute(_statement(LOOK, chosen), values).one()
    if not hanging.found:
        return NOTHING
    silence_after_commit(session, hanging.told)
    values |= {"derived": hanging.derived, "private": hanging.private}
    tokens = _tokens_in(session.execute(_statement(SAID, chosen), values)) if hanging.private else set()
    note = "" if job is None else NOTE_EVERY
    if job is not None:
        values |= many_values(session, ErasureKind.MESSAGES, job, part)
        values |= {"attachments": hanging.attachments}
    gone = session.execute(_statement(DELETE, chosen, note), values).one()
    if tokens:
        _forget(session, sorted(tokens))
    return Swept(gone.messages, gone.counted, hanging.attachments)


def by_ids(ids: Sequence[uuid.UUID], conversations: Iterable[uuid.UUID]) -> Chosen:
    """The messages with these ids that are in these conversations."""
    return Chosen(
        "unnest(CAST(:among AS uuid[])) AS r (id)",
        "m.id = r.id AND m.conversation_id = ANY(CAST(:places AS uuid[]))",
        {"among": as_array(ids)},
        as_array(sorted(set(conversations))),
    )


def between(
    conversations: str,
    firsts: str,
    lasts: str,
    *,
    where: str = "true",
    values: Mapping[str, Any] | None = None,
    counts: str = "false",
) -> Chosen:
    """The messages of conversations from a place to a place each, three arrays, of which `where` holds."""
    return Chosen(
        "unnest(CAST(:places AS uuid[]), CAST(:firsts AS int[]), CAST(:lasts AS int[]))"
        " AS r (conversation, first, last)",
        f"m.conversation_id = r.conversation AND m.seq BETWEEN r.first AND r.last AND {where}",
        {**(values or {}), "firsts": firsts, "lasts": lasts},
        conversations,
        counts,
    )


@lru_cache(maxsize=256)
def _made(pattern: str, among: str, where: str, counts: str, note: str) -> TextClause:
    return text(pattern.format(among=among, where=where, counts=counts, note=note))


def _statement(pattern: str, chosen: Chosen, note: str = "") -> TextClause:
    return _made(pattern, chosen.among, chosen.where, chosen.counts, note)


def _tokens_in(said: Iterable[Any]) -> set[tuple[uuid.UUID, str]]:
    """The tokens that texts name, each with its conversation."""
    return {(one.conversation_id, token) for one in said for token in TOKENS.findall(one.said)}


def _forget(session: Session, tokens: Sequence[tuple[uuid.UUID, str]]) -> None:
    places = [place for place, _ in tokens]
    session.execute(
        FORGET_TOKENS,
        {
            "conversations": as_array(places),
            "tokens": [token for _, token in tokens],
            "private": as_array(sorted(set(places))),
        },
    )
