"""What the pages show of conversations and of what was said in them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Row

from api.dashboard.views import SPEAKERS, Instant, duration, instant, money
from core.browsing import COUNTED, Glimpse
from core.privacy.operators import read_stored
from core.privacy.policy import Operator
from core.queries import Query, written
from models import (
    OPEN,
    Conversation,
    ConversationStatus,
    Message,
    MessageType,
    PiiState,
    Run,
    RunStep,
)

CHIPS = (
    ("source", "task", "From tasks"),
    ("source", "api", "From the API"),
    ("status", "archived", "Archived"),
    ("has", "pii", "With personal data"),
    ("type", "activity", "With calls"),
)
# What is folded away until somebody wants to see it.
FOLDED = frozenset(
    {
        MessageType.REASONING,
        MessageType.CONTEXT,
        MessageType.INSTRUCTION,
        MessageType.BACKSTORY,
        MessageType.CHECKPOINT,
    }
)
LONGEST_TITLE = 120
NOTHING = "0"  # below every id


@dataclass(frozen=True)
class Chip:
    words: str
    path: str
    on: bool


@dataclass(frozen=True)
class Tag:
    kind: str
    words: str
    path: str


@dataclass(frozen=True)
class RowView:
    id: str
    path: str
    title: str
    at: Instant
    speaker: str | None
    parts: tuple[tuple[str, bool], ...]
    tags: tuple[Tag, ...]
    messages: str
    archived: bool


@dataclass(frozen=True)
class Part:
    """A stretch of a text, and what kind of personal data it is or stands for."""

    words: str
    kind: str | None = None


@dataclass(frozen=True)
class SourceView:
    """A record that an answer was made from."""

    words: str
    path: str | None


@dataclass(frozen=True)
class SaidView:
    id: str
    seq: int | None
    type: str
    speaker: str
    name: str | None
    at: Instant
    parts: tuple[Part, ...]
    folded: bool
    hidden: bool
    blocked: bool
    call: str | None
    arguments: str | None
    result: str | None
    sources: tuple[SourceView, ...]
    revealable: bool
    run_id: str | None


@dataclass(frozen=True)
class StepLine:
    step: str
    outcome: str
    took: str | None
    note: str | None


@dataclass(frozen=True)
class RunLine:
    id: str
    state: str
    trigger: str
    at: Instant
    waited: str | None
    took: str | None
    error: str | None
    model: str | None
    tokens: str | None
    cost: str | None
    steps: tuple[StepLine, ...]


def list_path(q: str, before: str | None = None) -> str:
    return _path({"q": q, "before": before})


def fresh_path(q: str, newest: str) -> str:
    """Where what has come since the newest of a list is asked for."""
    return _path({"q": q, "since": newest or NOTHING})


def _path(values: Mapping[str, str | None]) -> str:
    given = {name: value for name, value in values.items() if value}
    return f"/conversations?{urlencode(given)}" if given else "/conversations"


def filter_path(key: str, value: str) -> str:
    return list_path(written(key, value))


def chips_of(query: Query) -> list[Chip]:
    """The filters that are a click away; another click takes one away again."""
    chips = []
    for key, value, words in CHIPS:
        on = value in query.filters.get(key, ())
        chips.append(Chip(words, list_path(query.having(key, None if on else value).text), on))
    return chips


def title_of(conversation: Conversation, task: str | None = None) -> str:
    words = conversation.name or task or conversation.description or ""
    words = " ".join(words.split())[:LONGEST_TITLE]
    return words or f"Conversation of {conversation.created_at:%d %b %Y, %H:%M} UTC"


def row_views(
    conversations: Sequence[Conversation],
    glimpses: Mapping[uuid.UUID, Glimpse],
    tasks: Mapping[uuid.UUID, str | None],
    bots: Mapping[uuid.UUID, str | None],
    contacts: Mapping[uuid.UUID, str | None],
) -> list[RowView]:
    return [_row(one, glimpses.get(one.id, Glimpse()), tasks, bots, contacts) for one in conversations]


def _row(
    one: Conversation,
    glimpse: Glimpse,
    tasks: Mapping[uuid.UUID, str | None],
    bots: Mapping[uuid.UUID, str | None],
    contacts: Mapping[uuid.UUID, str | None],
) -> RowView:
    linked = (("task", one.task_id, tasks), ("bot", one.bot_id, bots), ("contact", one.contact_id, contacts))
    tags = [
        Tag(key, names.get(row_id) or "unnamed", filter_path(key, str(row_id)))
        for key, row_id, names in linked
        if row_id is not None
    ]
    if one.source and '"' not in one.source:
        tags.append(Tag("from", one.source, filter_path("source", one.source)))
    path = f"/conversations/{one.id}"
    found = any(marked for _, marked in glimpse.parts)
    if found and glimpse.seq is not None:
        path = f"{path}?after={max(0, glimpse.seq - 3)}#m{glimpse.seq}"
    count = glimpse.messages
    return RowView(
        id=str(one.id),
        path=path,
        title=title_of(one, tasks.get(one.task_id) if one.task_id else None),
        at=instant(one.created_at, None),
        speaker=SPEAKERS.get(glimpse.speaker or "") if glimpse.parts and not found else None,
        parts=glimpse.parts,
        tags=tuple(tags),
        messages=f"{count - 1}+ messages" if count >= COUNTED else f"{count} message{'s' * (count != 1)}",
        archived=one.status == ConversationStatus.ARCHIVED,
    )


def said_view(message: Message | Row[Any], *, may_see: bool, revealed: bool = False) -> SaidView:
    """A message as it is stored; without words where nobody may see them before it was annotated."""
    blocked = message.pii_state == PiiState.BLOCKED
    function = _function(message.meta)
    result = function.get("result") if function else None
    tokens = any(entry.operator is Operator.TOKENISE for entry in read_stored(message.pii))
    return SaidView(
        id=str(message.id),
        seq=getattr(message, "seq", None),
        type=message.type,
        speaker=SPEAKERS.get(message.type, message.type.capitalize()),
        name=None if blocked else message.name,
        at=instant(message.created_at, None),
        parts=() if blocked else parts_of(message.text, message.pii),
        folded=message.type in FOLDED,
        hidden=bool(message.meta.get("hidden")),
        blocked=blocked,
        call=None if blocked or not function else str(function.get("name", "")),
        arguments=None if blocked or not function else _json(function.get("arguments", {})),
        result=None if blocked or result is None else _json(result),
        sources=_sources(message.meta),
        revealable=may_see and tokens and not revealed and not blocked,
        run_id=str(message.run_id) if message.run_id else None,
    )


def parts_of(said: str, pii: Sequence[dict[str, Any]] | None) -> tuple[Part, ...]:
    """A text cut where entities begin and end."""
    parts, at = [], 0
    for entry in sorted(read_stored(pii), key=lambda one: one.begin):
        if entry.begin < at or entry.end > len(said):
            continue
        parts += [Part(said[at : entry.begin]), Part(said[entry.begin : entry.end], _kind(entry))]
        at = entry.end
    parts.append(Part(said[at:]))
    return tuple(part for part in parts if part.words)


def _kind(entry: Any) -> str:
    return f"{str(entry.type).replace('_', ' ').lower()}, {entry.operator.value}"


def _function(meta: Mapping[str, Any]) -> Mapping[str, Any] | None:
    activity = meta.get("activity")
    function = activity.get("function") if isinstance(activity, Mapping) else None
    return function if isinstance(function, Mapping) else None


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _sources(meta: Mapping[str, Any]) -> tuple[SourceView, ...]:
    """The records an answer was made from, as far as what is written down is of that form."""
    records = meta.get("records")
    found = []
    for one in records if isinstance(records, list) else ():
        if not isinstance(one, Mapping):
            continue
        dataset, record = _id(one.get("datasetId")), _id(one.get("recordId"))
        words = str(one.get("source") or one.get("dataset") or "record")[:LONGEST_TITLE]
        score = one.get("score")
        if isinstance(score, int | float) and not isinstance(score, bool):
            words += f" ({score:.2f})"
        path = f"/datasets/{dataset}/records/{record}" if dataset and record else None
        found.append(SourceView(words, path))
    return tuple(found[:50])


def _id(value: Any) -> str | None:
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def run_line(run: Run, steps: Sequence[RunStep]) -> RunLine:
    tokens = f"{run.input_tokens} in, {run.output_tokens} out" if run.model_calls else None
    return RunLine(
        id=str(run.id),
        state=run.state,
        trigger=run.trigger,
        at=instant(run.scheduled_for or run.created_at, None),
        waited=duration(run.scheduled_for or run.created_at, run.started_at),
        took=duration(run.started_at, run.finished_at),
        error=run.error_class or run.reason,
        model=run.model,
        tokens=tokens,
        cost=money(run.cost),
        steps=tuple(map(_step_line, steps)),
    )


def _step_line(step: RunStep) -> StepLine:
    return StepLine(
        step=step.step,
        outcome=step.outcome or "under way",
        took=duration(step.started_at, step.finished_at),
        note=step.error_code or step.finish_reason,
    )


def is_active(runs: Sequence[Run]) -> bool:
    return any(run.state in OPEN for run in runs)
