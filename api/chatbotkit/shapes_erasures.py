"""Shapes of receipts and of the audit; in the manner of api/chatbotkit/shapes.py."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.chatbotkit.shapes import Identified, Milliseconds


class ErasureAnswer(Identified):
    """The receipt of a deletion."""

    kind: Literal[
        "message", "conversation", "contact", "task", "memory", "account", "messages", "conversations"
    ]
    targetId: str = Field(description="The id of what was deleted; of many at once, of this part of them.")
    jobId: str | None = Field(default=None, description="Of many at once: the deletion that removed them.")
    conversationId: str | None = Field(default=None, description="Of a message, where it stood.")
    messages: int
    conversations: int
    attachments: int
    actor: str | None = Field(
        default=None, description="Who asked: token:<id>, session:<id> or cli; without one the program did."
    )
    createdAt: Milliseconds
    completedAt: int | None = Field(
        default=None, description="Epoch milliseconds; absent while it is still going, slice by slice."
    )


class AuditAnswer(Identified):
    """Somebody was shown what is private, or placed or released a legal hold."""

    action: Literal["message.read", "message.reveal", "conversation.read", "hold.place", "hold.release"]
    actor: str | None = None
    targetId: str | None = Field(default=None, description="Of one message, conversation or hold, its id.")
    details: dict[str, Any] = Field(
        description="How many messages or conversations, and entities by kind; or what a hold is on."
    )
    createdAt: Milliseconds
