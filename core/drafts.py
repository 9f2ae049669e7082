"""Drafts: messages as they are handed in, checked before any of them is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.entities import Entity, read_entities
from core.errors import InvalidInput
from core.meta import checked_meta
from core.rows import checked_text
from models import MAX_TEXT_BYTES, MessageType

DESCRIPTION_BYTES = 64 * 1024
ACTIVITIES = frozenset({"request", "response", "trigger"})


@dataclass(frozen=True)
class Draft:
    """A message that can be stored, and the entities its sender knows of in it."""

    type: MessageType
    text: str = field(repr=False)
    name: str | None = field(default=None, repr=False)
    description: str | None = field(default=None, repr=False)
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)
    entities: tuple[Entity, ...] = field(default=(), repr=False)


def draft_of(fields: Mapping[str, Any]) -> Draft:
    """A draft of `type`, `text` and, where given, `name`, `description`, `meta` and `entities`.

    Raises:
        InvalidInput: a field that cannot be stored.

    """
    kind, said = checked_type(fields.get("type")), checked_words(fields.get("text"))
    return Draft(
        type=kind,
        text=said,
        **checked_labels(fields),
        meta=checked_meta(fields.get("meta")),
        entities=read_entities(fields.get("entities"), said),
    )


def drafts_of(
    items: Sequence[Mapping[str, Any]], *, least: int = 0, most: int, activities: bool = False
) -> list[Draft]:
    """Drafts of `least` to `most` messages; all of them or none.

    `activities`: messages of type activity must say in their meta which, as a model will read it.

    Raises:
        InvalidInput: the first that cannot be stored, by its place; too few or too many.

    """
    if not least <= len(items) <= most:
        raise InvalidInput(f"There must be {least} to {most} messages.")
    drafts = []
    for place, item in enumerate(items, 1):
        try:
            draft = draft_of(item)
            if activities:
                _refuse_vague_activity(draft)
        except InvalidInput as error:
            raise InvalidInput(f"Message {place}: {error}") from error
        drafts.append(draft)
    return drafts


def draft_document(draft: Draft) -> dict[str, Any]:
    """A message as it was handed in: it has no id yet."""
    document = {
        "type": draft.type.value,
        "text": draft.text,
        "name": draft.name,
        "description": draft.description,
        "meta": dict(draft.meta) or None,
    }
    return {key: value for key, value in document.items() if value is not None}


def checked_type(value: Any) -> MessageType:
    """One of the contract's message types.

    Raises:
        InvalidInput: anything else.

    """
    if not isinstance(value, str) or value not in set(MessageType):
        raise InvalidInput(f"The type of a message is one of {', '.join(MessageType)}.")
    return MessageType(value)


def checked_words(value: Any) -> str:
    """What a message says.

    Raises:
        InvalidInput: empty, over 256 KiB, or not storable text.

    """
    said = checked_text(value, "The text", longest=MAX_TEXT_BYTES)
    if said is None:
        raise InvalidInput("The text must not be empty.")
    return said


LABELS: Mapping[str, Callable[[Any], str | None]] = {
    "name": lambda value: checked_text(value, "The name", longest=1000, empty=True),
    "description": lambda value: checked_text(
        value, "The description", longest=DESCRIPTION_BYTES, empty=True
    ),
}


def checked_labels(fields: Mapping[str, Any]) -> dict[str, str | None]:
    """The name and the description, as far as they are given.

    Raises:
        InvalidInput: too long, or not storable text.

    """
    return {name: check(fields[name]) for name, check in LABELS.items() if name in fields}


def _refuse_vague_activity(draft: Draft) -> None:
    if draft.type != MessageType.ACTIVITY:
        return
    activity = draft.meta.get("activity")
    kind, function = (
        (activity.get("type"), activity.get("function")) if isinstance(activity, Mapping) else (None, None)
    )
    named = isinstance(function, Mapping) and isinstance(function.get("name"), str)
    if kind not in ACTIVITIES or not named:
        raise InvalidInput(
            "The meta.activity of an activity has a type, request, response or trigger,"
            " and a function with a name."
        )
