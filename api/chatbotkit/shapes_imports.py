"""Shapes of imports: our own, in the style of the dialect."""

from __future__ import annotations

from typing import Any

from pydantic import Field, StrictBool

from api.chatbotkit.shapes import Answer, Identified, Request, Text
from core.import_jobs import MOST_AT_ONCE


class ImportRequest(Request):
    """What an import reads, and what becomes of it."""

    fileId: Text = Field(default=None, description="Of an import: what /job/upload has taken in; or items.")
    items: list[Any] | None = Field(
        default=None,
        description="A few conversations as docs/imports.md shows them, stored at once; at most"
        f" {MOST_AT_ONCE} messages.",
    )
    columns: dict[str, str] | None = Field(
        default=None, description="What the columns of a table are called, by what they mean."
    )
    timezone: Text = Field(default=None, description="Of tasks whose file tells none.")
    contactId: Text = Field(default=None, description="Whom it was with, where the file does not tell.")
    privacy: StrictBool = Field(default=False, description="What is imported has it, whatever the bot has.")
    dryRun: StrictBool = Field(default=False, description="Stores nothing; the job tells what there is.")
    keepFile: StrictBool = Field(default=False, description="The file stays when the job has ended.")


class ImportErrorAnswer(Identified):
    row: int = Field(description="The row of the file it was met at, from 1.")
    code: str
    message: str = Field(description="What the code means; nothing of the row.")


class ImportProgress(Answer):
    """What a job of kind import has besides."""

    source: str | None = Field(default=None, description="Of a migration: the kind of server it reads.")
    found: str | None = Field(default=None, description="Of an import: the format it is read as.")
    dryRun: bool | None = None
    readBytes: int | None = None
    sizeBytes: int | None = None
    unknown: dict[str, int] | None = Field(
        default=None, description="What was met and not understood, or mended, by kind."
    )
    survey: dict[str, Any] | None = Field(default=None, description="Of a dry run: what there is.")
    refused: str | None = Field(default=None, description="Why it could not be read any further.")
    importId: str | None = Field(default=None, description="Of an undo: what it undoes.")
