"""Shapes of retention: our own, in the style of the dialect."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool

from api.chatbotkit.shapes import Answer, Identified, Milliseconds, Request, Text
from api.chatbotkit.shapes_deletions import STRICT

What = Literal["conversations", "messages"]
DURATION = "30d, 12w or 1y: whole days, weeks of 7 of them, years of 365."
NAMES = {"what": "what", "anonymiseAfter": "anonymise_after", "deleteAfter": "delete_after"}
LINKS = {"taskId": "task_id", "botId": "bot_id", "source": "source"}


class ChangeRule(Request):
    model_config = STRICT  # a rule with a scope that is not known would be one of the whole account

    what: What | None = Field(
        default=None,
        description="conversations (unless told), by the age of their last message; messages, by their own.",
    )
    anonymiseAfter: Text = Field(default=None, description=f"{DURATION} Null: never.")
    deleteAfter: Text = Field(default=None, description="The same; later than anonymiseAfter. Null: never.")

    def changes(self) -> dict[str, str | None]:
        """What was sent, as the verb knows it."""
        return {name: value for name, value in self.given(NAMES).items() if name != "what" or value}


class CreateRule(ChangeRule):
    taskId: Text = Field(default=None, description="Of one of these three, or of the whole account.")
    botId: Text = None
    source: Text = None

    def fields(self) -> dict[str, str | None]:
        return self.given({**NAMES, **LINKS})


class SimulateRetention(CreateRule):
    ruleId: Text = Field(default=None, description="A stored rule; without it the one that is described.")


class RuleAnswer(Identified):
    taskId: str | None = None
    botId: str | None = None
    source: str | None = None
    what: What
    anonymiseAfter: str | None = None
    deleteAfter: str | None = None
    nextRunAt: Milliseconds
    lastRunAt: int | None = Field(default=None, description="Epoch milliseconds.")
    createdAt: Milliseconds
    updatedAt: Milliseconds


class StartedJob(Identified):
    kind: Literal["delete", "anonymise"]


class RuleRun(Identified):
    jobs: list[StartedJob] = Field(description="None where nothing is due, or it is under way.")


class HeldBack(Answer):
    conversations: int
    messages: int


class TallyAnswer(Answer):
    conversations: int
    messages: int
    oldest: int | None = Field(default=None, description="Epoch milliseconds of the age that decides.")
    held: HeldBack = Field(description="What legal holds keep back, beside these.")


class ActionsAnswer(Answer):
    anonymise: TallyAnswer | None = None
    delete: TallyAnswer | None = None


class ForecastAnswer(Answer):
    """What a rule would do; nothing was changed."""

    what: What
    today: ActionsAnswer = Field(description="What it would start with now.")
    within30Days: ActionsAnswer = Field(
        description="What comes of age within 30 days if nothing more is said, what is due today among it."
    )


class PlaceHold(Request):
    model_config = STRICT

    conversationId: Text = Field(default=None, description="One of these four, or all.")
    contactId: Text = None
    taskId: Text = None
    botId: Text = None
    everything: StrictBool = Field(default=False, alias="all", description="Everything of the account.")
    reason: Text = Field(default=None, description="Up to 4,000 bytes; it goes when the hold is released.")


class HoldAnswer(Identified):
    conversationId: str | None = None
    contactId: str | None = None
    taskId: str | None = None
    botId: str | None = None
    everything: bool | None = Field(default=None, alias="all", description="True: of the whole account.")
    reason: str | None = None
    placedBy: str | None = Field(default=None, description="token:<id>, session:<id> or cli.")
    createdAt: Milliseconds
