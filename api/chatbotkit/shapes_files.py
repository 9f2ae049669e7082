"""Shapes of files and attachments (contract sections 3.3 and 6)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictStr, field_validator

from api.chatbotkit.shapes import Answer, Identified, Instance, Request, Text, Whole


class UploadRequest(Request):
    type: StrictStr = Field(description="The media type.")
    size: Annotated[int, Whole.__metadata__[0]] = Field(ge=0, description="Bytes.")
    name: Text = None


class FileBrought(Request):
    file: StrictStr | UploadRequest = Field(
        description="{type, size, name} announces a file; a text is its data URL or its http(s) URL."
    )

    @field_validator("file", mode="before")
    @classmethod
    def _one_of_two(cls, file: Any) -> Any:
        if isinstance(file, str):
            return file
        if not isinstance(file, dict):
            raise ValueError("must be a URL or {type, size, name}")  # noqa: TRY004 (pydantic's protocol)
        return UploadRequest.model_validate(file)


class UploadLink(Answer):
    method: Literal["PUT"]
    url: str = Field(description="Takes the bytes, once, without a token.")
    headers: dict[str, str]


class Uploaded(Identified):
    name: str | None = None
    uploadRequest: UploadLink | None = None


class AttachmentAnswer(Instance):
    conversationId: str
    messageId: str | None = None
    type: str = Field(description="A media type.")
    size: int = Field(description="Bytes.")


class FileRequest(Request):
    name: Text = None
    description: Text = None
    alias: Text = None
    blueprintId: Text = None
    visibility: Text = Field(default=None, description="private, protected or public.")
    meta: dict[str, Any] | None = None


class FileAnswer(Instance):
    alias: str | None = None
    blueprintId: str | None = None
    visibility: Literal["private", "protected", "public"]
    type: str | None = Field(default=None, description="The content's media type.")
    size: int | None = Field(default=None, description="Bytes.")
    fileName: str | None = None


class Link(Answer):
    url: str = Field(description="Gives the bytes out, once, without a token; for fifteen minutes.")
