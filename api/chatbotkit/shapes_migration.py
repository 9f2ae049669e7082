"""The shape of what a migration is asked for: our own, in the style of the dialect."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool, StrictStr

from api.chatbotkit.shapes import Moment, Request


class MigrationRequest(Request):
    source: Literal["chatbotkit"] = "chatbotkit"
    baseUrl: StrictStr = Field(
        description="Where the server is, such as https://api.chatbotkit.com; sealed, shown nowhere."
    )
    token: StrictStr = Field(
        repr=False, description="Opens that server; sealed, shown nowhere again, and gone when the job ends."
    )
    only: list[Literal["bots", "contacts", "tasks", "conversations"]] = Field(
        default=[], description="Some kinds; all unless told."
    )
    since: Moment = Field(default=None, description="No conversations that have not changed since then.")
    privacy: StrictBool = Field(default=False, description="Conversations have it, whatever their bot has.")
