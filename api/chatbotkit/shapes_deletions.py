"""Shapes of what is deleted or anonymised: our own, in the style of the dialect."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictStr, field_validator

from api.chatbotkit.shapes import Moment, Request, Text
from core.errors import InvalidInput

OneOrMany = StrictStr | list[StrictStr] | None
NAMES = {
    "conversationId": "conversation_id",
    "taskId": "task_id",
    "botId": "bot_id",
    "contactId": "contact_id",
    "everything": "all",
}


# A word that is not known may be one that was to keep something: `befor` must not delete everything.
STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)


class DeletionFilter(Request):
    """What is left out does not matter; what is given must all hold."""

    model_config = STRICT

    conversationId: OneOrMany = Field(default=None, description="One, or up to 100; as the next three.")
    taskId: OneOrMany = None
    botId: OneOrMany = None
    contactId: OneOrMany = None
    source: Text = None
    status: Text = Field(default=None, description="Of conversations: active or archived.")
    type: OneOrMany = Field(default=None, description="Of messages: user, bot, …")
    before: Moment = Field(default=None, description="Made before this instant.")
    after: Moment = Field(default=None, description="Made at this instant or after it.")
    ids: list[StrictStr] | None = Field(default=None, description="Up to 10,000; unknown ones are left out.")
    everything: StrictBool = Field(default=False, alias="all", description="All there is; nothing else then.")

    @field_validator("before", "after", mode="before")
    @classmethod
    def _is_said(cls, value: Any) -> Any:
        """Elsewhere an empty text clears; a filter that has none has no instant either."""
        if value == "":
            raise ValueError("must be epoch milliseconds or an ISO-8601 date-time with its offset")
        return value

    def wanted(self) -> dict[str, Any]:
        """As the verbs name it."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        found = {NAMES.get(name, name): value for name, value in given.items() if value is not None}
        return found if found.pop("all", False) is False else {**found, "all": True}


class DeletionRequest(Request):
    model_config = STRICT

    what: Literal["messages", "conversations"] | None = Field(
        default=None, description="Of a deletion: messages, or conversations with all they hold."
    )
    filter: DeletionFilter | None = Field(
        default=None, description="Of a deletion: what goes. Of an export: which conversations."
    )
    rate: Text = Field(default=None, description="Of a deletion: 200/s, 9000/m; at most the account's.")

    def selected(self) -> tuple[str, dict[str, Any]]:
        """What is to be deleted.

        Raises:
            InvalidInput: it does not say so.

        """
        if self.what is None or self.filter is None:
            raise InvalidInput("Say what is to be deleted: messages or conversations, and a filter.")
        return self.what, self.filter.wanted()


class PreviewDeletion(DeletionRequest):
    kind: Literal["delete", "anonymise"] = "delete"
