"""Shapes of memories; in the manner of api/chatbotkit/shapes.py."""

from __future__ import annotations

from typing import Any

from pydantic import Field, StrictStr

from api.chatbotkit.shapes import Answer, Identified, Instance, Meta, Milliseconds, Moment, Request, Text


class MemoryRequest(Request):
    botId: Text = None
    contactId: Text = None
    name: Text = None
    description: Text = None
    text: Text = Field(default=None, description="Up to 2,000 characters.")
    expiresAt: Moment = Field(default=None, description="It is deleted then. Epoch milliseconds or ISO 8601.")
    meta: Meta = None


class BotMemoryRequest(Request):
    search: StrictStr


class MemorySearchRequest(BotMemoryRequest):
    botId: Text = None
    contactId: Text = None


class MemoryAnswer(Instance):
    botId: str | None = None
    contactId: str | None = None
    conversationId: str | None = Field(default=None, description="The one that a turn has made it of.")
    text: str
    expiresAt: Milliseconds | None = None


class FoundMemory(Identified):
    text: str
    meta: dict[str, Any] | None = None


class Memories(Answer):
    items: list[FoundMemory]
