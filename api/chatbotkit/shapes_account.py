"""Shapes of usage, models, teams and the event log; in the manner of api/chatbotkit/shapes.py."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.chatbotkit.shapes import Answer, Instance, Milliseconds, Request, Whole


class Kept(Answer):
    datasets: int
    records: int
    skillsets: int
    abilities: int
    files: int
    users: int


class TotalsAnswer(Answer):
    tokens: int
    conversations: int
    messages: int
    database: Kept = Field(description="How many of each there are.")


class DayTotal(Answer):
    date: Milliseconds
    total: int


class SeriesAnswer(Answer):
    tokens: list[DayTotal]
    conversations: list[DayTotal]
    messages: list[DayTotal]


class UsedItemAnswer(Instance):
    type: Literal["token", "conversation", "message"]
    count: int


class ModelAnswer(Instance):
    type: Literal["language"]
    provider: str
    family: str
    maxTokens: int
    maxInputTokens: int
    maxOutputTokens: int


class FollowRequest(Request):
    historyLength: Whole = Field(default=None, description="0 to 1000 events told first, oldest first.")


class EventAnswer(Instance):
    type: Literal[
        "conversation.create",
        "task.interact",
        "task.interact.completed",
        "task.interact.aborted",
        "task.interact.skipped",
    ]
    conversationId: str | None = None
    taskId: str | None = None
    botId: str | None = None
    contactId: str | None = None
