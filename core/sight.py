"""Sight: what whoever may read the values behind tokens is shown.

The caller of a turn sees its answer restored; lists and fetches are restored for tokens with the scope
`pii:read` alone. A stored text is restored where its tokens were written, and nowhere else: what a person
typed that looks like one stays as it is.
"""

from __future__ import annotations

import base64
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from core.audit import Action, note_audit
from core.context import account_of
from core.keys import AccountKey, KeyUnusable, account_key
from core.privacy.declared import restored_at
from core.privacy.operators import Taken, read_stored, stored
from core.privacy.placeholders import TOKENS
from core.privacy.restoring import Restorer, restore_altered
from core.privacy.tokens import restore_spans
from core.said import kind_of, tokens_at
from core.telling import RESTORES
from core.vault import open_value, values_in
from models import Conversation, Message

RUNS = text("SELECT conversation_id FROM runs WHERE id = :id AND account_id = :account")
SCOPE = "pii:read"


@dataclass
class Sight:
    """What the caller of a turn may see: its conversation's values, and those that come up meanwhile."""

    key: AccountKey | None = None
    values: dict[str, str] = field(default_factory=dict, repr=False)

    def unlock(self, sealed: Mapping[str, str]) -> None:
        """Learns the values that an event `vault` tells."""
        for token, value in sealed.items() if self.key else ():
            assert self.key is not None  # noqa: S101 (looked at above)
            self.values[token] = open_value(self.key, token, base64.b64decode(value))

    def tree(self, value: Any) -> Any:
        """Words of a turn's with their values, wherever they stand in what is told."""
        if not self.values:
            return value
        if isinstance(value, str):
            return restore_altered(value, self.values)
        if isinstance(value, Mapping):
            return {self.tree(key): self.tree(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(inner) for inner in value]
        return value

    def told(self, data: Mapping[str, Any], *, caller: bool) -> Any:
        """An event as it leaves: wholly restored for the caller of the turn on its own stream. To others the
        calls of functions go with values in those arguments alone that declare it.
        """
        paths = data.get(RESTORES, ())
        said = {key: value for key, value in data.items() if key != RESTORES}
        place = None if caller else _called(said)
        if place is None:
            return self.tree(said)
        kept, inner = said, said
        for key in place[:-1]:
            inner[key] = inner = dict(inner[key])
        inner[place[-1]] = restored_at(inner[place[-1]], paths, self.tree)
        return kept

    def restorer(self) -> Restorer:
        """Restores the answer while it is told."""
        return Restorer(self.values)


def _called(data: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Where an event has the arguments of a call, if it tells of one."""
    if "channel" in data and isinstance(data.get("function"), Mapping):
        return ("function", "args")
    meta = data.get("meta")
    activity = meta.get("activity") if isinstance(meta, Mapping) else None
    function = activity.get("function") if isinstance(activity, Mapping) else None
    held = isinstance(function, Mapping) and "arguments" in function
    return ("meta", "activity", "function", "arguments") if held else None


def sight_of(session: Session, run_id: uuid.UUID) -> Sight:
    """What the caller of a turn may see of it as it begins: nothing, and the means to learn what it tells."""
    account = account_of(session)
    if session.scalar(RUNS, {"id": run_id, "account": account}) is None:
        return Sight()
    try:
        return Sight(account_key(session, account))
    except KeyUnusable:
        return Sight()


def restored(
    session: Session, said: str, pii: Sequence[dict[str, Any]] | None, conversation: uuid.UUID
) -> str:
    """A stored text with its values."""
    return restored_with(session, said, pii, None, conversation)[0]


def restored_with(
    session: Session,
    said: str,
    pii: Sequence[dict[str, Any]] | None,
    meta: Mapping[str, Any] | None,
    conversation: uuid.UUID,
) -> tuple[str, Any]:
    """A stored text and the meta beside it, with their values."""
    words = [(conversation, one) for one in (said if pii else "", str(meta or "")) if "[" in one]
    values = values_in(session, account_of(session), words).get(conversation) if words else None
    if not values:
        return said, meta
    return restore_spans(said, read_stored(pii), values)[0], Sight(values=values).tree(meta)


def seen_messages(
    session: Session,
    messages: Sequence[Message | Row[Any]],
    action: Action = Action.READ_MESSAGES,
) -> list[Message | Row[Any]]:
    """Messages as whoever has the scope may see them, with the values behind their tokens.

    What was restored is written into the audit; a reveal is, whatever it restored.
    """
    texts = [
        (message.conversation_id, said)
        for message in messages
        if message.pii_state is not None or message.pii
        for said in (message.text, message.name, message.description, str(message.meta))
        if said
    ]
    values = values_in(session, account_of(session), texts) if texts else {}
    kinds = [_kinds_of(message, values.get(message.conversation_id, {})) for message in messages]
    read = [message for message, found in zip(messages, kinds, strict=True) if found]
    if not read and action is Action.REVEAL:
        read = list(messages)
    if read:
        places = {str(message.conversation_id) for message in read}
        details: dict[str, Any] = {"messages": len(read), "kinds": dict(sum(kinds, Counter()))}
        if len(places) == 1:
            details["conversationId"] = places.pop()
        note_audit(session, action, read[0].id if len(read) == 1 else None, details)
    return [
        _seen(message, Sight(values=values[message.conversation_id]))
        if message.conversation_id in values
        else message
        for message in messages
    ]


def _kinds_of(message: Message | Row[Any], values: Mapping[str, str]) -> Counter[str]:
    """What of a message is restored with these values, by kinds."""
    if not values:
        return Counter()
    standing = tokens_at(message.pii)
    seen = Counter(e.type for e in standing if message.text[e.begin : e.end] in values)
    return seen + _kinds_in(message, values)


def _kinds_in(row: Message | Conversation | Row[Any], values: Mapping[str, str]) -> Counter[str]:
    """The same of a name, a description and a meta."""
    said = [words for words in (row.name, row.description, str(row.meta)) if words]
    return Counter(kind_of(token) for words in said for token in TOKENS.findall(words) if token in values)


def _seen(message: Message | Row[Any], sight: Sight) -> Message:
    """A copy, so that nothing of it is ever stored."""
    text, moved = restore_spans(message.text, read_stored(message.pii), sight.values)
    return Message(
        id=message.id,
        account_id=message.account_id,
        conversation_id=message.conversation_id,
        type=message.type,
        text=text,
        name=sight.tree(message.name),
        description=sight.tree(message.description),
        meta=sight.tree(message.meta),
        pii=stored(
            Taken(e.type, e.begin, e.end, e.begin, e.end, e.score, e.source, e.operator) for e in moved
        ),
        pii_state=message.pii_state,
        run_id=message.run_id,
        created_at=message.created_at,
        updated_at=message.updated_at,
    )


def see_conversations(session: Session, conversations: Iterable[Conversation]) -> None:
    """The same for the names, descriptions and metas of conversations."""
    shown = list(conversations)
    texts = [(one.id, said) for one in shown for said in (one.name, one.description, str(one.meta)) if said]
    values = values_in(session, account_of(session), texts)
    seen: Counter[str] = Counter()
    ids = []
    for one in shown:
        if known := values.get(one.id):
            session.expunge(one)
            kinds, sight = _kinds_in(one, known), Sight(values=known)
            one.name, one.description = sight.tree(one.name), sight.tree(one.description)
            one.meta = sight.tree(one.meta)
            seen += kinds
            ids += [one.id] if kinds else []
    if ids:
        details = {"conversations": len(ids), "kinds": dict(seen)}
        note_audit(session, Action.READ_CONVERSATIONS, ids[0] if len(ids) == 1 else None, details)
