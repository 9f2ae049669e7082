"""The shapes of sessions: tokens for one conversation."""

from __future__ import annotations

from typing import Any

from pydantic import Field, StrictStr

from api.chatbotkit.shapes import Answer, Identified, Milliseconds, Request, Whole

MOST_MESSAGES = 100


class SessionRequest(Request):
    durationInSeconds: Whole = Field(default=None, description="1800 to 86400; 3600 unless told.")


class FirstMessage(Request):
    type: StrictStr = Field(description="user, bot, context, instruction, …")
    text: StrictStr


class BotSessionRequest(SessionRequest):
    messages: list[FirstMessage] | None = Field(
        default=None, max_length=MOST_MESSAGES, description="What the conversation begins with."
    )
    meta: dict[str, Any] | None = Field(default=None, description="The meta of the conversation.")


class SessionAnswer(Identified):
    token: str = Field(description="The bearer token of this conversation alone: `cts_…`.")
    expiresAt: Milliseconds


class Said(Answer):
    type: str
    text: str


class BotSessionAnswer(SessionAnswer):
    conversationId: str
    messages: list[Said] | None = None
