"""Shapes of datasets, records, skillsets and abilities (contract section 6)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field, StrictBool, StrictStr

from api.chatbotkit.shapes import Answer, Identified, Instance, Money, Request, Text, Whole

Meta = dict[str, Any] | None
Visible = Literal["private", "protected", "public"]
VISIBILITY = "private, protected or public."


class DatasetRequest(Request):
    name: Text = None
    description: Text = None
    alias: Text = None
    blueprintId: Text = None
    store: Text = Field(default=None, description="Kept as it is given; only at creation.")
    reranker: Text = None
    recordMaxTokens: Whole = Field(default=None, description="How long a record made of a file may be.")
    searchMinScore: Money = Field(default=None, description="From 0 to 1.")
    searchMaxRecords: Whole = Field(default=None, description="1 to 100; 10 unless told.")
    searchMaxTokens: Whole = Field(default=None, description="What a search may come to in all.")
    matchInstruction: Text = None
    mismatchInstruction: Text = None
    separators: Text = Field(
        default=None,
        description=r"Where files are cut, by commas; `\n` and `\t` may be written. Unless told: plain text"
        " at blank lines, CSV by row, JSON by item, all else by pages and headings.",
    )
    language: Text = Field(
        default=None, description="Ours: what words are stemmed by, such as english (the default) or simple."
    )
    visibility: Text = Field(default=None, description=VISIBILITY)
    meta: Meta = None


class DatasetAnswer(Instance):
    alias: str | None = None
    blueprintId: str | None = None
    store: str
    reranker: str | None = None
    recordMaxTokens: int | None = None
    searchMinScore: float | None = None
    searchMaxRecords: int | None = None
    searchMaxTokens: int | None = None
    matchInstruction: str | None = None
    mismatchInstruction: str | None = None
    separators: str | None = None
    language: str | None = None
    visibility: Visible


class RecordRequest(Request):
    text: Text = None
    source: Text = None
    meta: Meta = None


class RecordAnswer(Instance):
    text: str
    source: str | None = None
    fileId: str | None = Field(default=None, description="The file it was made of.")


class SearchRequest(Request):
    search: StrictStr
    filter: dict[str, Any] | None = Field(
        default=None, description="{key: value} or {key: {$eq, $ne, $gt, $gte, $lt, $lte: value}} over meta."
    )


class MatchAnswer(Identified):
    text: str
    source: str | None = None
    meta: dict[str, Any] | None = None
    score: float = Field(description="From 0 to 1.")


class SearchAnswer(Identified):
    records: list[MatchAnswer]


class SyncAnswer(Identified):
    jobId: str | None = Field(
        default=None,
        description="Ours: /job/{jobId}/fetch tells how it goes; none where nothing is attached.",
    )


class AttachRequest(Request):
    type: Text = Field(default=None, description="source.")


class DetachRequest(Request):
    deleteRecords: StrictBool | None = Field(default=None, description="Also the records made of it.")


class SkillsetRequest(Request):
    name: Text = None
    description: Text = None
    alias: Text = None
    blueprintId: Text = None
    visibility: Text = Field(default=None, description=VISIBILITY)
    state: Text = Field(default=None, description="enabled or disabled.")
    meta: Meta = None


class SkillsetAnswer(Instance):
    alias: str | None = None
    blueprintId: str | None = None
    visibility: Visible
    state: Literal["enabled", "disabled"]


class AbilityRequest(Request):
    name: Text = None
    description: Text = None
    instruction: Text = Field(
        default=None, description="What the model is given when it asks for an ability without an action."
    )
    parameters: dict[str, Any] | None = Field(
        default=None, description="A JSON schema of the arguments; without one the action's own."
    )
    action: dict[str, Any] | None = Field(
        default=None, description='How it is carried out: {"type": "request", …}; docs/skills.md.'
    )
    secretId: Text = Field(default=None, validation_alias=AliasChoices("secretId", "linkedSecretId"))
    fileId: Text = Field(default=None, validation_alias=AliasChoices("fileId", "linkedFileId"))
    botId: Text = Field(default=None, validation_alias=AliasChoices("botId", "linkedBotId"))
    spaceId: Text = Field(default=None, validation_alias=AliasChoices("spaceId", "linkedSpaceId"))
    blueprintId: Text = None
    meta: Meta = None


class AbilityAnswer(Answer):
    id: str
    name: str
    description: str
    instruction: str
    parameters: dict[str, Any] | None = None
    action: dict[str, Any] | None = None
    secretId: str | None = None
    fileId: str | None = None
    botId: str | None = None
    spaceId: str | None = None
    blueprintId: str | None = None
    linkedSecretId: str | None = None
    linkedFileId: str | None = None
    linkedBotId: str | None = None
    linkedSpaceId: str | None = None
    meta: dict[str, Any] | None = None
    createdAt: int
    updatedAt: int


class ExecuteRequest(Request):
    input: Text = Field(
        default=None, description="The arguments as a JSON object, or a text to make them of."
    )
    contactId: Text = Field(default=None, description="Whom it is done for.")


class TokensSpent(Answer):
    token: int


class ExecutionAnswer(Answer):
    usage: TokensSpent
    error: str | None = None
    result: Any = None
    messages: list[dict[str, Any]]
