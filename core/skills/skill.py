"""What the ways to act have in common: for whom it is done, and how it fails."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from core.errors import CrontalkError


@dataclass(frozen=True)
class Acting:
    """Who acts: a turn of a conversation, with the bot that speaks, the contact it speaks with, its task, and
    the dataset it knows.
    """

    account_id: uuid.UUID
    conversation_id: uuid.UUID | None = None
    run_id: uuid.UUID | None = None
    bot_id: uuid.UUID | None = None
    contact_id: uuid.UUID | None = None
    task_id: uuid.UUID | None = None
    dataset_id: uuid.UUID | None = None


class SkillFailed(CrontalkError):
    """An ability could not be carried out.

    `code` is static and content-free ("http_404", "refused", "too_large"): fit for logs, rows and metrics.
    The message is one sentence for the model, which goes on with it: it holds no address, no secret and
    nothing that came back. `retryable`: the same call may succeed later.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
