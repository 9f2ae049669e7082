"""Shapes of jobs: our own, in the style of the dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, StrictBool, StrictStr

from api.chatbotkit.shapes import Answer, Identified, Milliseconds, Request, Text
from api.chatbotkit.shapes_deletions import DeletionRequest
from api.chatbotkit.shapes_imports import ImportProgress, ImportRequest
from core.errors import InvalidInput
from core.exporters.formats import FORMATS
from core.importers import FORMATS as READ


class JobRequest(ImportRequest, DeletionRequest):
    kind: Literal["annotate", "delete", "anonymise", "export", "import"]
    conversationId: Text = Field(default=None, description="Of an annotation; as what follows.")
    botId: Text = Field(default=None, description="Of an annotation; of an import the bot of all it brings.")
    everything: StrictBool = Field(
        default=False, alias="all", description="The whole account; without it name a conversation or a bot."
    )
    again: StrictBool = Field(default=False, description="Messages that are current as well.")
    confirm: Text = Field(
        default=None, description="Of a deletion: what a preview answered; with it, it begins at once."
    )

    format: Text = Field(
        default=None,
        description=f"Of an export, as what follows: {', '.join(FORMATS)}; crontalk unless told. Of an import"
        f" one of {', '.join(READ)}; unless told, what the file looks like.",
    )
    mode: Text = Field(
        default=None,
        description="redacted unless told, tokenised, or original, which needs the scope pii:read.",
    )
    gzip: StrictBool = False
    bom: StrictBool = Field(default=False, description="A CSV begins with a byte order mark, for Excel.")

    def refuse_strangers(self) -> None:
        """Raises InvalidInput for fields that jobs of this kind do not take."""
        takes = TAKES[self.kind]
        given = [name for name in type(self).model_fields if name != "kind" and getattr(self, name)]
        if set(given) - set(takes):
            names = ", ".join("all" if name == "everything" else name for name in takes)
            raise InvalidInput(f"A job of kind {self.kind} takes {names}.")


# Which fields jobs of a kind take.
TAKES: Mapping[str, Sequence[str]] = {
    "annotate": ("conversationId", "botId", "everything", "again"),
    "delete": ("what", "filter", "rate", "confirm"),
    "anonymise": ("what", "filter", "rate", "confirm"),
    "export": ("filter", "format", "mode", "gzip", "bom"),
    "import": (
        "fileId",
        "items",
        "format",
        "columns",
        "timezone",
        "botId",
        "contactId",
        "privacy",
        "dryRun",
        "keepFile",
    ),
}


class JobMade(Identified):
    requiresConfirmation: bool | None = Field(
        default=None, description="Of a deletion: nothing is deleted before /job/{jobId}/confirm."
    )
    confirmation: str | None = None
    count: int | None = Field(default=None, description="Of a deletion: how much it selects.")
    conversations: int | None = Field(default=None, description="Of how many conversations that is.")
    held: int | None = Field(default=None, description="How many more a legal hold keeps back.")
    done: int | None = Field(
        default=None, description="Of an import of items, which is over: those that brought something new."
    )
    skipped: int | None = Field(default=None, description="Those that were here already.")
    failed: int | None = Field(default=None, description="Those of which nothing could be stored.")
    errors: int | None = Field(default=None, description="What /job/{jobId}/error/list tells of.")


class ConfirmRequest(Request):
    confirmation: StrictStr


class DeletionPreview(Answer):
    """What a deletion would remove as things stand."""

    what: Literal["messages", "conversations"]
    count: int
    conversations: int
    oldest: int | None = Field(default=None, description="Epoch milliseconds; as newest.")
    newest: int | None = None
    held: int = Field(description="How many more a legal hold keeps back.")
    sample: list[str] = Field(description="Up to ten ids.")
    rate: str | None = Field(default=None, description="What it would keep; without one there is no limit.")
    confirmation: str


class ReceiptAnswer(Identified):
    """What a deletion removed: never what it said."""

    what: Literal["messages", "conversations"]
    state: str
    filter: dict[str, Any] = Field(description="Ids, types and times; of a source only that there was one.")
    until: Milliseconds
    messages: int = Field(description="All that have gone, summaries made from them among them.")
    conversations: int
    attachments: int
    ids: int = Field(description="How many ids the receipts name.")
    sha256: str = Field(description="Of those ids, 16 bytes each, in ascending order.")
    verified: bool = Field(description="A last walk found nothing more.")
    actor: str | None = None
    createdAt: Milliseconds
    finishedAt: Milliseconds


class JobAnswer(ImportProgress, Identified):
    kind: str
    state: str
    errorClass: str | None = None
    taskId: str | None = None
    botId: str | None = None
    conversationId: str | None = None
    ruleId: str | None = Field(default=None, description="The rule of retention that started it.")
    datasetIds: list[str] | None = Field(
        default=None, description="Of a synchronisation: where the records of its file, fileId, are made."
    )
    what: Literal["messages", "conversations"] | None = Field(
        default=None, description="Of a deletion; as filter, rate and confirmation."
    )
    filter: dict[str, Any] | None = Field(default=None, description="Of an export as well.")
    rate: str | None = Field(default=None, description="Its own; the account's holds as well.")
    requiresConfirmation: bool | None = None
    confirmation: str | None = None
    format: str | None = Field(default=None, description="Of an export; as what follows.")
    mode: str | None = None
    gzip: bool | None = None
    until: int | None = Field(default=None, description="Nothing that was stored later is in it.")
    fileId: str | None = Field(
        default=None, description="Of /file/{fileId}/download, once it is completed; until it expires."
    )
    name: str | None = None
    size: int | None = Field(default=None, description="Bytes.")
    sha256: str | None = Field(default=None, description="Of the file.")
    counts: dict[str, int] | None = Field(
        default=None,
        description="Of an export conversations, messages by type, and what was left out and why; of an"
        " import conversations, messages, contacts and tasks, what was known, and errors.",
    )
    held: int | None = Field(default=None, description="How many legal holds kept back when it was made.")
    messages: int | None = Field(default=None, description="How many messages were made anonymous.")
    attachments: int | None = Field(default=None, description="How many files went with what they said.")
    total: int | None = Field(default=None, description="At most, until it has ended.")
    done: int
    skipped: int
    failed: int
    underWay: int
    left: int
    perSecond: float | None = None
    leftSeconds: int | None = None
    createdAt: Milliseconds
    startedAt: Milliseconds | None = None
    finishedAt: Milliseconds | None = None


class JobEventAnswer(Answer):
    type: Literal["progress", "result"]
    data: JobAnswer
