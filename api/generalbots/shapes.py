"""What this dialect answers with: ISO 8601, ids as text, and its one shape of errors (contract section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Row

from core.conversing import Listed
from core.suggestions import suggestions_of
from models import Conversation, Message, PiiState

LONGEST_LAST = 200  # characters of a last message in a list


class TalkError(BaseModel):
    """Every answer of this dialect that is not 200."""

    error: str = Field(
        description="invalid_message, invalid_request, unauthorized, forbidden, not_found, rate_limited, …"
    )
    message: str = Field(description="A sentence for people.")


SAID = {
    400: "A message, or a parameter, that cannot be accepted; the message says why.",
    401: "No valid token.",
    403: "Somebody else's, or out of the token's scope.",
    404: "There is no such conversation, or bot.",
    409: "What is private cannot be opened with this installation's key.",
    413: "Too large.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many calls; come back after Retry-After.",
    500: "A fault of ours.",
    503: "Come back after Retry-After; nothing was stored.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": TalkError, "description": words} for status, words in SAID.items()
}


class AttachmentItem(BaseModel):
    """Something brought along with a message: by the `id` of an attachment of the conversation, by a `url`,
    which is kept and not fetched, or as bytes in `data` or a data URL.
    """

    id: str | None = None
    url: str | None = Field(None, description="http(s), or a data URL whose bytes are stored.")
    data: str | None = Field(None, description="The bytes in base64; only ever sent.")
    attachment_type: str | None = Field(None, description="image, audio, video, document or file.")
    mime_type: str | None = None
    filename: str | None = None
    size: int | None = None
    thumbnail_url: str | None = None


class StartRequest(BaseModel):
    """What a conversation begins with."""

    bot_id: str | None = Field(None, description="An id or a name; the default bot unless told.")
    initial_message: str | None = None


class Started(BaseModel):
    """A new conversation. Both ids mean the same one."""

    conversation_id: str
    session_id: str
    status: str


class SendRequest(BaseModel):
    """A message; without words it has attachments."""

    content: str | None = None
    attachments: list[AttachmentItem] = []


class Delivered(BaseModel):
    """The message is stored, and a bot has been asked; its answer stands in the history."""

    message_id: str
    timestamp: str
    status: str


class SuggestionItem(BaseModel):
    """A quick reply: what is shown, and what is said by choosing it."""

    text: str
    value: str


class MessageItem(BaseModel):
    id: str
    sender: str = Field(description="user or bot.")
    content: str
    timestamp: str
    attachments: list[AttachmentItem] | None = None
    suggestions: list[SuggestionItem] | None = None
    incomplete: bool | None = Field(None, description="What a turn that failed had said so far.")


class HistoryAnswer(BaseModel):
    """Messages, oldest first."""

    messages: list[MessageItem]
    has_more: bool


class ConversationItem(BaseModel):
    id: str
    bot_id: str | None
    bot_name: str | None
    last_message: str | None
    last_activity: str
    status: str


class ConversationsAnswer(BaseModel):
    """A page of conversations, the latest active first."""

    conversations: list[ConversationItem]
    total: int


class StatusRequest(BaseModel):
    """An extension: how a conversation is archived, and made active again."""

    status: str = Field(description="active or archived.")


class StatusAnswer(BaseModel):
    """The conversation as it is now."""

    id: str
    bot_id: str | None
    status: str


def iso(instant: datetime) -> str:
    """With microseconds, since pages are cut at instants."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def started(conversation_id: object) -> dict[str, Any]:
    return {"conversation_id": str(conversation_id), "session_id": str(conversation_id), "status": "active"}


def delivered(message: Message) -> dict[str, Any]:
    return {"message_id": str(message.id), "timestamp": iso(message.created_at), "status": "delivered"}


def message_item(message: Message | Row[Any]) -> dict[str, Any]:
    """A message; one that nobody may see before it was annotated has no words yet."""
    blocked = message.pii_state == PiiState.BLOCKED
    meta: Mapping[str, Any] = {} if blocked else message.meta or {}
    attached = meta.get("attachments")
    more = {
        "attachments": attached if isinstance(attached, list) and attached else None,
        "suggestions": suggestions_of(meta) or None,
        "incomplete": True if meta.get("incomplete") is True else None,
    }
    return {
        "id": str(message.id),
        "sender": message.type,
        "content": "" if blocked else message.text,
        "timestamp": iso(message.created_at),
        **{name: value for name, value in more.items() if value is not None},
    }


def conversation_item(listed: Listed) -> dict[str, Any]:
    one, last = listed.conversation, listed.last
    said = None if last is None else message_item(last)["content"]
    return {
        **_of(one),
        "bot_name": listed.bot_name,
        "last_message": said[:LONGEST_LAST] if said is not None else None,
        "last_activity": iso(listed.last_activity),
    }


def status_item(conversation: Conversation) -> dict[str, Any]:
    return _of(conversation)


def _of(conversation: Conversation) -> dict[str, Any]:
    bot = conversation.bot_id
    return {
        "id": str(conversation.id),
        "bot_id": None if bot is None else str(bot),
        "status": str(conversation.status),
    }
