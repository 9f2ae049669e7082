"""What a turn came to, as its callers are told: read from its rows, so that it can be read again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import account_of
from core.outcomes import Answer, Failure
from core.sight import restored
from models import ErrorClass, MessageType, PiiState

# The last message a run stored that is an answer, or the request it ended with.
LAST = text(
    "SELECT r.state, r.error_class, r.end_reason, r.input_tokens + r.output_tokens AS tokens,"
    " r.conversation_id, m.id AS message_id, m.text, m.type, m.meta, m.step, m.pii, m.pii_state"
    " FROM runs r LEFT JOIN LATERAL ("
    "  SELECT * FROM messages WHERE run_id = r.id AND step <> 'prompt' ORDER BY seq DESC LIMIT 1"
    " ) AS m ON true WHERE r.id = :id AND r.account_id = :account AND r.finished_at IS NOT NULL"
)
SENTENCES = {
    ErrorClass.TIMEOUT: "The turn took too long.",
    ErrorClass.CANCELLED: "The turn was cancelled.",
    ErrorClass.NO_BOT: "The conversation has no bot.",
    ErrorClass.LIMIT: "The turn reached its limit.",
    ErrorClass.TOOL_LOOP: "The model called the same function again and again.",
    ErrorClass.REFUSED: "The model refused to answer.",
    ErrorClass.QUOTA: "The model accepts no more requests for now.",
    ErrorClass.CONTEXT_TOO_LONG: "The conversation is too long for the model.",
    ErrorClass.MISCONFIGURED: "The model is not configured correctly.",
    ErrorClass.EMPTY_OUTPUT: "The model gave an empty answer.",
}
CODES = {ErrorClass.TIMEOUT: "TIMEOUT", ErrorClass.CANCELLED: "CONFLICT"}


@dataclass(frozen=True)
class TurnResult:
    """A turn that has ended. With an `error_class` it failed: what is stored stays, and says so.

    `message_id` is the message it ended with, if it is still there.
    """

    message_id: uuid.UUID | None
    text: str = field(repr=False)
    tokens: int
    end: str
    message: dict[str, Any] | None = field(repr=False)
    error_class: ErrorClass | None = None
    pii: list[dict[str, Any]] | None = None
    conversation_id: uuid.UUID | None = None

    def restored(self, session: Session) -> TurnResult:
        """As the caller of the turn may see it: with the values behind its tokens."""
        if not self.pii or self.conversation_id is None:
            return self
        said = restored(session, self.text, self.pii, self.conversation_id)
        message = self.message and {**self.message, "text": said}
        return replace(self, text=said, message=message)

    def document(self) -> dict[str, Any]:
        return {
            "id": str(self.message_id),
            "text": self.text,
            "usage": {"token": self.tokens},
            "end": {"reason": self.end},
        }

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events that end a stream of this turn."""
        if self.error_class is not None:
            yield "error", failed(self.error_class)
            return
        if self.message is not None:
            yield "message", self.message
        yield "result", self.document()


def failed(error_class: ErrorClass) -> dict[str, Any]:
    """The error of a turn that failed. No 5xx and no 429: the Node SDK would do it all once more."""
    words = SENTENCES.get(error_class, "The model gave no usable answer.")
    return {"message": words, "code": CODES.get(error_class, "UNPROCESSABLE_ENTITY")}


def cut(failure: Failure) -> Answer | None:
    """The answer of a turn that failed for its length alone: its caller judges what there is of it."""
    if failure.error_class is not ErrorClass.TRUNCATED or not failure.answer.text:
        return None
    return replace(failure.answer, end="length")


def stateless_events(answer: Answer, tokens: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events that end a stateless turn's stream."""
    if answer.text:
        yield "message", {"type": MessageType.BOT.value, "text": answer.text}
    end = {"reason": answer.end or "stop"}
    yield "result", {"text": answer.text, "usage": {"token": tokens}, "end": end}


def result_of(session: Session, run_id: uuid.UUID) -> TurnResult | None:
    """What the turn came to; None while it goes on, or while nobody may see its answer.

    An answer that was cut at the model's length is the caller's to judge: it is told with the reason
    `length`, though the run counts as failed.
    """
    values = {"id": run_id, "account": account_of(session)}
    row = session.execute(LAST, values).mappings().one_or_none()
    if row is None or row["pii_state"] == PiiState.BLOCKED:
        return None
    cut = row["error_class"] == ErrorClass.TRUNCATED and row["step"] == "partial"
    failed = None if cut or row["error_class"] is None else ErrorClass(row["error_class"])
    last = row["step"] in {"reply", "partial"}
    said = row["text"] if last or row["type"] == "bot" else ""
    return TurnResult(
        message_id=row["message_id"] or row["conversation_id"] or run_id,
        text=said or "",
        tokens=row["tokens"],
        end="length" if cut else row["end_reason"] or "stop",
        message={"type": row["type"], "text": row["text"]} if last else None,
        error_class=failed,
        pii=row["pii"],
        conversation_id=row["conversation_id"],
    )
