"""What a delivery says: one document for webhooks, one plain text for e-mail. Pure.

Without `text` neither holds a word of a conversation or of a task: ids, states, figures and times only.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.documents import milliseconds
from models import Event, RunState

TYPES = {
    Event.SUCCESS: "run.succeeded",
    Event.RECOVERY: "run.recovered",
    Event.FAILURE: "run.failed",
    Event.MISSED: "run.missed",
    Event.BUDGET: "budget.reached",
    Event.PAUSED: "task.paused",
    Event.TEST: "subscription.test",
}
SENTENCES = {
    Event.SUCCESS: "A run has succeeded",
    Event.RECOVERY: "A run has succeeded again after a failure",
    Event.FAILURE: "A run has failed",
    Event.MISSED: "A run that was due did not take place",
    Event.BUDGET: "A task has reached its budget",
    Event.PAUSED: "A task was paused",
    Event.TEST: "This is a test",
}
ENDED = {RunState.SUCCEEDED: "success", RunState.FAILED: "failure"}
A_MOMENT = 0.05


@dataclass(frozen=True)
class Figures:
    """What is compared between two runs. `length` is the answer's in characters, None without one."""

    state: str
    seconds: float | None
    tokens: int
    length: int | None


@dataclass(frozen=True)
class RunFacts:
    """A run as it is told of."""

    id: uuid.UUID
    conversation_id: uuid.UUID | None
    trigger: str
    scheduled_for: datetime | None
    covers_from: datetime | None
    covers_count: int | None
    reason: str | None
    error_class: str | None
    input_tokens: int
    output_tokens: int
    model_calls: int
    figures: Figures
    before: Figures | None
    same_answer: bool | None


@dataclass(frozen=True)
class Letter:
    """What is to be told. `task_name` and `text` are None unless the account's policy lets them out."""

    event: Event
    at: datetime
    task_id: uuid.UUID
    pause_reason: str | None
    run: RunFacts | None
    base_url: str
    task_name: str | None = None
    text: str | None = None

    @property
    def url(self) -> str:
        """Where people find the rest."""
        return f"{self.base_url}/runs/{self.run.id}" if self.run else self.base_url


def change_line(run: RunFacts) -> str | None:
    """One line on what changed since the run before it; None where there is nothing to compare."""
    now, before = run.figures, run.before
    if now.state not in ENDED:
        return None
    if before is None:
        return "This is the first run of the task."
    parts = [_state_change(now.state, before.state)]
    if now.seconds is not None and before.seconds is not None:
        parts.append(_difference(now.seconds - before.seconds, "{:.1f} s", "longer", "shorter", A_MOMENT))
    parts.append(_difference(now.tokens - before.tokens, "{:.0f} tokens", "more", "fewer", 0.5))
    if run.same_answer:
        parts.append("the same answer")
    elif now.length is not None and before.length is not None:
        characters = _difference(now.length - before.length, "{:.0f} characters", "longer", "shorter", 0.5)
        parts.append(f"another answer, {characters or 'of the same length'}")
    return "; ".join(filter(None, parts)) + "."


def webhook_body(letter: Letter) -> bytes:
    """The JSON document of a webhook. The same row gives the same document at every attempt."""
    document = {
        "type": TYPES[letter.event],
        "timestamp": letter.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": _without_nulls(
            {
                "taskId": str(letter.task_id),
                "taskName": letter.task_name,
                "pauseReason": letter.pause_reason if letter.event == Event.PAUSED else None,
                "url": letter.url,
                **(_run_document(letter.run) if letter.run else {}),
                "text": letter.text,
            }
        ),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def mail_subject(letter: Letter) -> str:
    name = "".join(sign for sign in " ".join((letter.task_name or "").split()) if sign.isprintable())
    return f"{SENTENCES[letter.event]}: {name[:200]}" if name else f"{SENTENCES[letter.event]}."


def mail_text(letter: Letter) -> str:
    run = letter.run
    lines = [f"{SENTENCES[letter.event]}.", "", letter.url, ""]
    facts: dict[str, Any] = {"task": letter.task_id}
    if letter.event == Event.PAUSED:
        facts["paused because"] = letter.pause_reason
    if run:
        due = run.scheduled_for
        facts |= {
            "run": run.id,
            "state": run.figures.state,
            "because": run.error_class or run.reason,
            "was due": due.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if due else None,
            "occurrences": run.covers_count,
            "tokens": run.input_tokens + run.output_tokens or None,
            "since the run before": change_line(run),
        }
    lines += [f"{name}: {value}" for name, value in facts.items() if value is not None]
    if letter.text is not None:
        lines += ["", letter.text]
    return "\n".join(lines) + "\n"


def _run_document(run: RunFacts) -> dict[str, Any]:
    return {
        "runId": str(run.id),
        "conversationId": str(run.conversation_id) if run.conversation_id else None,
        "trigger": run.trigger,
        "scheduledFor": milliseconds(run.scheduled_for),
        "coversFrom": milliseconds(run.covers_from),
        "coversCount": run.covers_count,
        "state": run.figures.state,
        "errorClass": run.error_class,
        "reason": run.reason,
        "usage": {
            "token": run.input_tokens + run.output_tokens,
            "inputTokens": run.input_tokens,
            "outputTokens": run.output_tokens,
            "modelCalls": run.model_calls,
        },
        "change": change_line(run),
    }


def _state_change(now: str, before: str) -> str:
    verb = str(now)
    if now == before:
        return f"{verb} as before"
    return f"{verb} after a {ENDED[RunState(before)]}"


def _difference(by: float, form: str, more: str, less: str, nothing: float) -> str:
    if abs(by) < nothing:
        return ""
    return f"{form.format(abs(by))} {more if by > 0 else less}"


def _without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}
