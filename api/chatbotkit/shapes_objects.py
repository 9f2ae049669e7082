"""Shapes of bots, contacts and ratings; in the manner of api/chatbotkit/shapes.py."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, StrictBool, StrictStr

from api.chatbotkit.shapes import (
    Answer,
    Instance,
    Meta,
    Milliseconds,
    Moment,
    Request,
    Text,
    Whole,
)


class BotRequest(Request):
    name: Text = None
    description: Text = None
    backstory: Text = None
    model: StrictStr | dict[str, Any] | None = Field(
        default=None, description="`name/key=value`, or an object with a name and a config."
    )
    datasetId: Text = None
    skillsetId: Text = None
    privacy: StrictBool | None = None
    moderation: StrictBool | None = None
    visibility: Text = Field(default=None, description="private, protected or public.")
    alias: Text = None
    meta: Meta = None


class VoteRequest(Request):
    value: Whole = Field(default=None, description="1 to 100 up, -100 to -1 down; in full unless told.")
    reason: Text = None


class ContactRequest(Request):
    fingerprint: Text = Field(default=None, description="Your own name for them; one contact has it.")
    name: Text = None
    description: Text = None
    email: Text = None
    phone: Text = Field(default=None, description="Kept in E.164; American unless it names its country.")
    nick: Text = None
    preferences: Text = None
    verifiedAt: Moment = Field(default=None, description="Epoch milliseconds or ISO 8601.")
    meta: Meta = None


class BotAnswer(Instance):
    backstory: str | None = None
    model: str | None = None
    datasetId: str | None = None
    skillsetId: str | None = None
    privacy: bool
    moderation: bool
    visibility: Literal["private", "protected", "public"]
    alias: str | None = None
    default: bool | None = None


class ContactAnswer(Instance):
    fingerprint: str
    email: str | None = None
    phone: str | None = None
    nick: str | None = None
    preferences: str | None = None
    verifiedAt: Milliseconds | None = None


class RatingAnswer(Instance):
    botId: str | None = None
    contactId: str | None = None
    conversationId: str | None = None
    messageId: str | None = None
    value: int
    reason: str | None = None


class UsedAnswer(Answer):
    tokens: int
    conversations: int
    messages: int
