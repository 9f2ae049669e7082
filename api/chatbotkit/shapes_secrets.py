"""Shapes of secrets, as the SDKs know them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.chatbotkit.shapes import Instance, Milliseconds, Request, Text


class SecretRequest(Request):
    name: Text = None
    description: Text = None
    alias: Text = None
    blueprintId: Text = None
    kind: Text = Field(default=None, description="shared.")
    type: Text = Field(default=None, description="plain, basic (user:password) or bearer; plain unless told.")
    value: Text = Field(default=None, description="Never answered again; one that is sent replaces it.")
    visibility: Text = Field(default=None, description="private, protected or public.")
    meta: dict[str, Any] | None = None


class SecretAnswer(Instance):
    alias: str | None = None
    blueprintId: str | None = None
    kind: Literal["shared"]
    type: Literal["plain", "basic", "bearer"]
    visibility: Literal["private", "protected", "public"]
    lastUsedAt: Milliseconds | None = None
