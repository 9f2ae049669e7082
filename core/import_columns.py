"""The rows of imported conversations and messages, column by column, as privacy lets them be stored."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from core.bots import BACKSTORY_BYTES
from core.chat.model_name import model_string
from core.import_rows import Placed, Talk
from core.importers.records import Conversation, Reject
from core.privacy.policy import Direction
from core.privacy.policy_documents import read_policy
from core.said import said_elsewhere, types_of
from core.shield import Shield
from core.texts import checked_text
from models import ConversationStatus, PiiState

NAME, SOURCE, DESCRIPTION, META = 1000, 100, 64 * 1024, 64 * 1024  # bytes, as the API takes them
OWN = "crontalk"
_DONE = PiiState.DONE.value
CONVERSATIONS = (
    "id", "account_id", "bot_id", "contact_id", "task_id", "source", "name", "description", "meta", "status",
    "model", "backstory", "moderation", "privacy", "privacy_policy", "expires_at", "next_seq",
    "last_message_at", "created_at", "updated_at",
)  # fmt: skip
MESSAGES = (
    "id", "account_id", "conversation_id", "seq", "type", "name", "description", "text", "meta", "pii",
    "pii_types", "pii_state", "pii_version", "created_at", "updated_at",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What an import was asked to make of what it reads.

    `links`: a record that names its own bot, contact or task hangs on what was imported under their ids.
    """

    format: str
    bot_id: uuid.UUID | None = None
    contact_id: uuid.UUID | None = None
    privacy: bool = False
    links: bool = False


class RowMaker:
    """Makes the rows of one batch; `rejects` are what could not be stored of them."""

    def __init__(self, account: uuid.UUID, options: Options, with_model: bool, now: datetime) -> None:
        """`with_model`: the operator has a model of their own, whom policies may ask."""
        self.rejects: list[Reject] = []
        self._account = str(account)
        self._options, self._with_model, self._now = options, with_model, now
        self._talk: Talk | None = None  # of the last message
        self._talk_id = ""

    def waits(self, shield: Shield | None) -> bool:
        """The operator's model is still to look at what is said under this shield."""
        return self._with_model and shield is not None and shield.asks_model(Direction.INBOUND)

    def conversation(self, talk: Talk, shield: Shield | None) -> tuple[Any, ...]:
        """The row of a conversation that is made; see CONVERSATIONS."""
        head, options = talk.head, self._options
        assert head is not None  # noqa: S101 (those that are made have one)
        begun = min(talk.created_at or self._now, self._now)
        name, description = cut(head.title, NAME), cut(head.description, DESCRIPTION)
        meta = head.meta if options.format == OWN else {**head.meta, "imported": _origin(head, options)}
        if shield is not None:
            name, description, meta = shield.label(name), shield.label(description), shield.tree(meta)
        return (
            talk.id, self._account, talk.bot, talk.contact, talk.task,
            cut(head.source, SOURCE) or options.format, name, description, self._json(meta, head.row),
            head.status or ConversationStatus.ACTIVE, head.model, head.backstory, head.moderation,
            options.privacy or head.privacy,
            orjson.dumps(head.policy).decode() if head.policy else None, head.expires_at, talk.next_seq,
            talk.last_at, begun, self._past(head.updated_at) or begun,
        )  # fmt: skip

    def message(
        self, message_id: uuid.UUID, talk: Talk, placed: Placed, shield: Shield | None
    ) -> tuple[Any, ...]:
        """The row of a message; see MESSAGES.

        Raises:
            InvalidInput: too long with what stands for its entities. PrivacyFailed: nothing may be stored.

        """
        said = placed.message
        text, meta, pii, state, version = said.text, said.meta, None, None, None
        name, description = cut(said.name, NAME), cut(said.description, DESCRIPTION)
        if shield is None:
            pii = said_elsewhere(text, said.entities).pii if said.entities else None
        else:
            safe = shield.said_elsewhere(text, said.entities) if said.entities else shield.said(text)
            if safe.taken:
                text, pii = safe.text, safe.pii
            if name or description:
                name, description = shield.label(name), shield.label(description)
            if meta:
                meta = shield.tree(shield.unnamed(meta, ()) if said.type == "activity" else meta)
            state = shield.state.value if self.waits(shield) else _DONE
            version = shield.version
        if talk is not self._talk:
            self._talk, self._talk_id = talk, str(talk.id)
        at = str(placed.at)
        updated = self._past(said.updated_at)
        return (
            # Texts are copied at a third of the cost of ids, instants and states.
            f"{message_id.int:032x}", self._account, self._talk_id, placed.seq, said.type, name, description,
            text, self._json(meta, placed.row) if meta else "{}",
            orjson.dumps(pii).decode() if pii else None, types_of(pii) if pii else None, state, version,
            at, at if updated is None else str(updated),
        )  # fmt: skip

    def _past(self, told: datetime | None) -> datetime | None:
        """Nothing was changed in the future either."""
        return min(told, self._now) if told else None

    def _json(self, meta: Mapping[str, Any], row: int) -> str:
        """A meta as it is stored; one that cannot be is dropped and told of, so that the rest is not lost."""
        try:
            written = orjson.dumps(meta)
        except TypeError:
            written = b""
        if not 0 < len(written) <= META:
            self.rejects.append(Reject(row, "meta_dropped"))
            return "{}"
        return written.decode()


def checked_head(head: Conversation) -> Conversation:
    """A conversation whose settings can be stored as they are told; an end that has come is left out.

    Raises:
        InvalidInput.

    """
    if head.model is None and head.policy is None and head.backstory is None and head.expires_at is None:
        return head
    checked_text(head.backstory, "The backstory", longest=BACKSTORY_BYTES, empty=True)
    return replace(
        head,
        model=model_string(head.model),
        policy=read_policy(head.policy) if head.policy is not None else None,
        expires_at=head.expires_at if head.expires_at and head.expires_at > datetime.now(UTC) else None,
    )


def cut(words: str | None, most: int) -> str | None:
    """A label within `most` bytes, cut where it is longer; nothing of a letter is left behind."""
    if words is None or len(words) * 4 <= most:
        return words
    return words.encode()[:most].decode(errors="ignore")


def _origin(head: Conversation, options: Options) -> dict[str, str]:
    return {"from": options.format, "id": cut(head.key, NAME) or ""}
