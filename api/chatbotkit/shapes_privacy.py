"""Shapes of privacy and of jobs: our own, in the style of the dialect."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictStr, WithJsonSchema

from api.chatbotkit.shapes import Answer, Request, Text
from core.privacy.policy import Direction, Operator, Preset

_BY_KIND = "By kind, such as EMAIL_ADDRESS or email; your own words are kinds as well."
_WORDS = {"type": "array", "items": {"type": "string"}}
POLICY = {
    "type": "object",
    "nullable": True,
    "additionalProperties": False,
    "description": "What is left out is as a broader policy says. Null: no own policy.",
    "properties": {
        "preset": {"type": "string", "enum": list(Preset)},
        "operators": {
            "type": "object",
            "description": _BY_KIND,
            "additionalProperties": {"type": "string", "enum": list(Operator)},
        },
        "thresholds": {
            "type": "object",
            "description": _BY_KIND,
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
        },
        "allow": {**_WORDS, "description": "Values that are left alone."},
        "deny": {**_WORDS, "description": "Words that are always taken."},
        "regions": {**_WORDS, "description": "Countries whose national numbers are read first: DE."},
        "direction": {"type": "string", "enum": list(Direction)},
        "blockUntilAnnotated": {"type": "boolean"},
        "model": {"type": "boolean", "description": "false: do not ask the operator's own model."},
        "identities": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {name: {"type": "string"} for name in ("name", "email", "phone")},
            },
        },
    },
}
# Checked by the verb, whose refusals repeat nothing of what was sent.
PolicyShape = Annotated[Any, WithJsonSchema(POLICY)]


class PolicyRequest(Request):
    policy: PolicyShape = Field(description="The whole policy: it takes the place of the one before.")


class EffectiveAnswer(Answer):
    on: bool
    preset: str
    operators: dict[str, str] = Field(description="The kinds that are looked for, and what happens to them.")
    otherwise: str = Field(description="What happens to kinds that are not named.")
    direction: str
    regions: list[str]
    blockUntilAnnotated: bool
    model: bool
    thresholds: int = Field(description="How many; as what follows.")
    allow: int
    deny: int
    identities: int


class PolicyAnswer(Answer):
    policy: dict[str, Any] | None = Field(default=None, description="The own one, as it was written.")
    effective: EffectiveAnswer


class PreviewRequest(Request):
    text: StrictStr
    policy: PolicyShape = Field(default=None, description="One to try out, on top of those that are stored.")
    botId: Text = None
    conversationId: Text = None
    offsetUnit: Literal["utf16", "codepoint"] = "utf16"


class PlaceAnswer(Answer):
    begin: int
    end: int
    text: str


class FoundAnswer(PlaceAnswer):
    type: str
    kind: str
    operator: str
    score: float
    source: str = Field(description="structured, known, given, denied or model.")
    replacement: PlaceAnswer


class PreviewAnswer(Answer):
    text: str = Field(description="As it would be stored; tokens are examples.")
    entities: list[FoundAnswer]
