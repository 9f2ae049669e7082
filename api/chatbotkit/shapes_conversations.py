"""Shapes of conversations and their messages; in the manner of api/chatbotkit/shapes.py."""

from __future__ import annotations

from typing import Any

from pydantic import Field, StrictBool, StrictStr

from api.chatbotkit.shapes import Answer, Identified, Moment, Request, Text, Whole

Meta = dict[str, Any] | None
TYPES = "user, bot, reasoning, context, instruction, backstory, activity or checkpoint."


class EntityShape(Request):
    """A span of the text. Its text and its replacement follow from it, so they are not read."""

    begin: Whole = Field(description="The first UTF-16 code unit of it.")
    end: Whole = Field(description="The first one after it.")
    type: Text = Field(default=None, description="What kind of data it is; unknown unless told.")


class MessageShape(Request):
    """A message of a new conversation; an activity names its function in `meta.activity`."""

    type: StrictStr = Field(description=TYPES)
    text: StrictStr
    name: Text = None
    description: Text = None
    meta: Meta = None


class MessageRequest(MessageShape):
    """A message; no bot answers it."""

    entities: list[EntityShape] | None = Field(default=None, description="Personal data you know of.")


class BatchItem(MessageRequest):
    id: Text = Field(default=None, description="Your own id of it, answered as originalId.")


class BatchRequest(Request):
    items: list[BatchItem] = Field(description="1 to 100 messages, in order; all are stored or none.")


class MessageChange(Request):
    type: Text = Field(default=None, description=TYPES)
    text: Text = None
    name: Text = None
    description: Text = None
    meta: Meta = Field(default=None, description="Merged into the stored one; null clears it.")
    entities: list[EntityShape] | None = None


class ContactShape(Request):
    """Who a conversation is with: found by the fingerprint, or made."""

    fingerprint: Text = None
    name: Text = None
    description: Text = None
    email: Text = None
    phone: Text = None
    nick: Text = None
    meta: Meta = None


class ConversationFields(Request):
    """What a conversation is told of itself. What it says of its bot goes before what the bot says."""

    name: Text = None
    description: Text = None
    meta: Meta = Field(default=None, description="On update merged into the stored one; null clears it.")
    botId: Text = Field(
        default=None, description="The default bot unless told, or unless there is a backstory or a model."
    )
    backstory: Text = None
    model: StrictStr | dict[str, Any] | None = Field(
        default=None, description="`name/key=value`, or an object with a name and a config."
    )
    datasetId: Text = None
    skillsetId: Text = None
    privacy: StrictBool | None = None
    moderation: StrictBool | None = None
    contactId: Text = None
    contact: ContactShape | None = None
    taskId: Text = None
    source: Text = Field(
        default=None,
        description="Where it comes from: widget, slack, whatsapp or any other word; api unless told.",
    )
    expiresAt: Moment = Field(default=None, description="Epoch milliseconds; it is deleted then.")


class ConversationRequest(ConversationFields):
    messages: list[MessageShape] | None = Field(
        default=None, description="Up to 1000, stored in this order with the conversation."
    )


class ConversationChange(ConversationFields):
    status: Text = Field(default=None, description="active or archived.")


class RatingRequest(Request):
    value: Whole = Field(default=None, description="1 to 100 up, -100 to -1 down; the most unless told.")
    reason: Text = None


class DraftAnswer(Answer):
    type: str
    text: str
    name: str | None = None
    description: str | None = None
    meta: dict[str, Any] | None = None


class CreatedConversation(Identified):
    messages: list[DraftAnswer] | None = Field(default=None, description="As they were sent.")


class ConversationUsage(Answer):
    tokens: int
    messages: int


class Span(Answer):
    begin: int
    end: int
    text: str


class EntityAnswer(Span):
    """A span of the text as it was sent, in UTF-16 code units, and what stands for it in the stored one."""

    type: str
    replacement: Span


class StoredMessage(Identified):
    entities: list[EntityAnswer]


class BatchAnswer(Answer):
    items: list[StoredItem]


class StoredItem(StoredMessage):
    originalId: str | None = None
