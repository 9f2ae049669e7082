"""The shapes of turns: what may come along, and what is answered (contract section 3.5)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, StrictBool, StrictStr, field_validator

from api.chatbotkit.shapes import Answer, Milliseconds, Request, Text, Whole
from api.chatbotkit.shapes_conversations import ContactShape, EntityShape, MessageRequest
from core.turn_requests import Function

MOST_FUNCTIONS = 64
IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,63}")


def _at_least_one(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (whole and 1 <= value <= 100_000):
        raise ValueError("must be a whole number from 1 to 100000")
    return value


Count = Annotated[int | None, BeforeValidator(_at_least_one)]


class CallRequest(Request):
    start: StrictBool = False
    end: StrictBool = False


class FunctionRequest(Request):
    name: StrictStr
    description: StrictStr = Field(max_length=10_000)
    parameters: dict[str, Any]
    result: dict[str, Any] | None = Field(
        default=None, description='{"data": …} or {"channel": "…"}; without it the caller answers the call.'
    )
    call: CallRequest | None = None

    @field_validator("name")
    @classmethod
    def _identifier(cls, name: str) -> str:
        if not IDENTIFIER.fullmatch(name):
            raise ValueError("must be a JavaScript identifier of at most 64 characters")
        return name

    @field_validator("parameters")
    @classmethod
    def _schema(cls, schema: dict[str, Any]) -> dict[str, Any]:
        required = schema.get("required", [])
        if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
            raise ValueError('must be {"type": "object", "properties": {…}}')
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise ValueError("required must be a list of names")
        return schema

    @field_validator("result")
    @classmethod
    def _source(cls, result: dict[str, Any] | None) -> dict[str, Any] | None:
        from core.talking import checked_channel

        if result is None or "data" in result:
            return result
        if "channel" not in result:
            raise ValueError("must have data or a channel")
        return {"channel": checked_channel(result["channel"])}

    def function(self) -> Function:
        call = self.call or CallRequest()
        return Function(
            self.name, self.description, self.parameters, self.result, start=call.start, end=call.end
        )


class InlineRecord(Request):
    text: StrictStr = Field(max_length=262_144)
    source: Text = None
    meta: dict[str, Any] | None = None


class DatasetExtension(Request):
    name: Text = None
    description: Text = None
    records: list[InlineRecord] = Field(default_factory=list, max_length=1000)


class InlineAbility(Request):
    """An ability for this turn only; docs/skills.md."""

    name: StrictStr = Field(min_length=1, max_length=1000)
    description: StrictStr = Field(default="", max_length=10_000)
    instruction: StrictStr = Field(default="", max_length=262_144)
    secretId: Text = Field(default=None, validation_alias=AliasChoices("secretId", "linkedSecretId"))
    parameters: dict[str, Any] | None = None
    action: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None


class SkillsetExtension(Request):
    name: Text = None
    description: Text = None
    abilities: list[InlineAbility] = Field(default_factory=list, max_length=128)


class Extensions(Request):
    """What the bot is told for this turn only."""

    backstory: Text = None
    datasets: list[DatasetExtension] | None = Field(default=None, max_length=100)
    skillsets: list[SkillsetExtension] | None = Field(default=None, max_length=100)
    features: list[dict[str, Any]] | None = None


class LimitsRequest(Request):
    iterations: Count = None
    continuations: Count = None
    calls: Count = None


class TurnShape(Request):
    functions: list[FunctionRequest] | None = Field(default=None, max_length=MOST_FUNCTIONS)
    extensions: Extensions | None = None

    @field_validator("functions")
    @classmethod
    def _told_apart(cls, functions: list[FunctionRequest] | None) -> list[FunctionRequest] | None:
        names = [function.name for function in functions or ()]
        if len(names) != len(set(names)):
            raise ValueError("two functions have the same name")
        return functions


class SendRequest(TurnShape):
    text: StrictStr
    entities: list[EntityShape] | None = None


class ReceiveRequest(TurnShape):
    limits: LimitsRequest | None = None


class CompleteRequest(ReceiveRequest):
    text: Text = None
    entities: list[EntityShape] | None = None
    # The Python README shows this with a conversation: its last user message is taken for the text.
    messages: list[Any] | None = None


class AttachmentRequest(Request):
    url: StrictStr | None = Field(default=None, description="An https or a data address.")


class StatelessRequest(ReceiveRequest):
    messages: list[MessageRequest] = Field(description="Oldest first.")
    botId: Text = None
    backstory: Text = None
    datasetId: Text = None
    skillsetId: Text = None
    model: StrictStr | dict[str, Any] | None = None
    contactId: StrictStr | ContactShape | None = None
    privacy: StrictBool | None = Field(
        default=None, description="The model sees tokens in place of personal data; its answer is restored."
    )
    moderation: StrictBool | None = Field(
        default=None,
        description="What is said is looked at by the operator's endpoint before the model is asked.",
    )
    attachments: list[AttachmentRequest] | None = Field(default=None, max_length=20)


class DispatchRequest(CompleteRequest):
    channelId: Text = None


class StatelessDispatchRequest(StatelessRequest):
    channelId: Text = None


class PublishRequest(Request):
    message: dict[str, Any]


class HistoryRequest(Request):
    historyLength: Whole = None


class TokensUsed(Answer):
    token: int


class Ended(Answer):
    reason: Literal["length", "stop", "activity", "abort", "error", "iteration"]


class StatelessTurnAnswer(Answer):
    text: str
    usage: TokensUsed
    end: Ended


class TurnAnswer(StatelessTurnAnswer):
    id: str


class Dispatched(Answer):
    channelId: str


class ChannelEvent(Answer):
    type: str
    data: Any


class TaskEventAnswer(ChannelEvent):
    createdAt: Milliseconds
