"""Prompts under privacy: what a task says is redacted when the task is saved, since firing is set-based.

A task keeps its redacted prompt, where entities stand in it and the sealed values behind its tokens, in
`tasks.shield`; firing copies them to the prompt's message and conversation in its own statement. A task that
was saved under other policies than those of today is redacted anew before it fires.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.keys import account_key
from core.planning import Prompt
from core.privacy.policy import Direction
from core.said import Said, tokens_of
from core.shield import Shield
from core.shields import shield_for, shield_of
from core.vault import open_value
from models import Task

STAMP = "concat_ws('.', a.privacy_rev, b.id, b.privacy_rev, b.privacy)"
STAMP_OF = text(
    f"SELECT {STAMP} FROM accounts a LEFT JOIN bots b ON b.id = CAST(:bot AS uuid) WHERE a.id = :account"  # noqa: S608 (constants)
)
OUTDATED = text(
    "SELECT t.id FROM tasks t JOIN accounts a ON a.id = t.account_id LEFT JOIN bots b ON b.id = t.bot_id"  # noqa: S608 (constants)
    " WHERE t.id = ANY(CAST(:ids AS uuid[]))"
    " AND (a.privacy_policy IS NOT NULL OR b.privacy OR b.privacy_policy IS NOT NULL)"
    f" AND t.shield_stamp IS DISTINCT FROM {STAMP} ORDER BY t.id"
)
# What the statements that store prompts add, for a row `d` that has the `shield` of the words that are said,
# the task's or their own, and the ids of the message and the conversation.
COLUMNS = "pii, pii_types, pii_state, pii_version"
VALUES = (
    "d.shield -> 'pii',"
    " CASE WHEN d.shield -> 'pii' IS NOT NULL"
    "  THEN ARRAY(SELECT jsonb_array_elements_text(d.shield -> 'types')) END,"
    " CASE WHEN d.shield ->> 'version' IS NOT NULL THEN d.shield ->> 'state' END, d.shield ->> 'version'"
)


def vault_of(conversation: str) -> str:
    """Stores the values behind the task's tokens with the conversation that names them."""
    return (
        f"INSERT INTO pii_tokens (conversation_id, token, account_id, value)"  # noqa: S608 (columns of ours)
        f" SELECT {conversation}, v.key, d.account_id, decode(v.value, 'base64')"
        f" FROM d CROSS JOIN LATERAL jsonb_each_text(d.shield -> 'vault') AS v"
        f" WHERE {conversation} IS NOT NULL ON CONFLICT (conversation_id, token) DO NOTHING"
    )


def annotations_of(conversation: str, message: str) -> str:
    """Asks for the prompts to be looked at by a worker."""
    return (
        f"INSERT INTO annotations (message_id, account_id, conversation_id)"  # noqa: S608 (columns of ours)
        f" SELECT {message}, d.account_id, {conversation} FROM d"
        f" WHERE d.shield ->> 'version' IS NOT NULL AND {conversation} IS NOT NULL"
    )


def protect_task(session: Session, task: Task, *, said: bool = True) -> None:
    """Makes of a task's name and description what may be stored. `said`: they are written anew.

    Raises:
        PrivacyFailed: nothing may be stored.

    """
    shield = _shield(session, task)
    place = {"bot": task.bot_id, "account": task.account_id}
    task.shield_stamp = session.execute(STAMP_OF, place).scalar_one()
    vault = _vaulted(task.shield)
    if shield is None:
        task.shield = {"vault": task.shield["vault"]} if task.shield and vault else None
        return
    honoured = shield.tokens()
    found: Said | None = None
    if task.description:
        pii = None if said else (task.shield or {}).get("pii")
        found = _found(shield, task.description, pii, said=said)
        task.description = found.text
    task.name = shield.label(task.name, honoured=honoured)
    task.meta = shield.tree(task.meta, honoured=honoured)
    task.shield = _document(shield, found, vault | shield.vault.sealed)


def protected_prompt(session: Session, task: Task, prompt: Prompt) -> Prompt:
    """A prompt of its own under the policies of today: one that was said just now has no shield yet.

    The task never learns of it, nor of the values behind its tokens.

    Raises:
        PrivacyFailed: nothing may be stored.

    """
    kept = prompt.shield or {}
    shield = _shield(session, task, _vaulted(task.shield) | _vaulted(kept))
    if shield is None or kept.get("version") == shield.version:
        return prompt
    said = _found(shield, prompt.words, kept.get("pii"), said=not kept)
    named = tokens_of(said.text, said.pii)
    values = _vaulted(task.shield) | _vaulted(kept) | shield.vault.sealed
    return Prompt(said.text, _document(shield, said, {t: values[t] for t in sorted(named & values.keys())}))


def prompt_within(session: Session, task_id: uuid.UUID, conversation_id: uuid.UUID) -> Prompt | None:
    """The prompt as a conversation that has a privacy of its own may hold it; None: as the task has it."""
    task = session.get(Task, task_id, populate_existing=True)
    shield = shield_of(session, conversation_id)
    words = (task.description or task.name) if task else None
    if task is None or shield is None or not words:
        return None
    pii = (task.shield or {}).get("pii") if task.description else None
    vault = _vaulted(task.shield)
    said = shield.said_again(words, pii, author=Direction.INBOUND, honoured=vault)
    shield.keep()
    return Prompt(said.text, _document(shield, said, vault))


def refresh_prompts(session: Session, task_ids: Sequence[uuid.UUID]) -> None:
    """Redacts the prompts that were saved under other policies; the tasks' clocks must be locked."""
    for task_id in session.scalars(OUTDATED, {"ids": list(task_ids)}).all():
        task = session.scalars(
            select(Task).where(Task.id == task_id), execution_options={"populate_existing": True}
        ).one()
        protect_task(session, task, said=False)
        session.flush()


def task_values(session: Session, task: Task) -> dict[str, str]:
    """The values behind a task's tokens."""
    shield = _vaulted(task.shield)
    if not shield:
        return {}
    key = account_key(session, task.account_id)
    return {token: open_value(key, token, value) for token, value in shield.items()}


def _shield(session: Session, task: Task, kept: Mapping[str, bytes] | None = None) -> Shield | None:
    bot, contact = task.bot_id, task.contact_id
    tokens = _vaulted(task.shield) if kept is None else kept
    return shield_for(session, task.account_id, task.id, bot=bot, contact=contact, kept=tokens)


def _document(shield: Shield, said: Said | None, vault: Mapping[str, bytes]) -> dict[str, Any]:
    """A shield as it is stored with the words it protects."""
    pii = said.pii if said else None
    sealed = {token: base64.b64encode(value).decode() for token, value in vault.items()}
    return {
        "version": shield.version,
        "state": shield.state.value,
        **({"pii": pii, "types": said.types} if said and pii else {}),
        **({"vault": sealed} if sealed else {}),
    }


def _vaulted(shield: Mapping[str, Any] | None) -> dict[str, bytes]:
    vault: dict[str, str] = (shield or {}).get("vault", {})
    return {token: base64.b64decode(value) for token, value in vault.items()}


def _found(shield: Shield, words: str, pii: list[dict[str, Any]] | None, *, said: bool) -> Said:
    """Whoever edits a task has its tokens before them: they go on meaning their values."""
    honoured = shield.tokens()
    if said:
        return shield.said(words, honoured=honoured)
    return shield.said_again(words, pii, author=Direction.INBOUND, honoured=honoured)
