"""The veil: what of a conversation leaves in which mode. Pure.

redacted   everything is looked at once more on the way out, under the preset `recommended`, and tokens and
           hashes are written as inert `<KIND>`: nothing in the file leads back, or from one text to another.
tokenised  as it is stored, wherever privacy has looked at it; what privacy has never looked at is redacted.
           Nobody knows that of labels and of files' names: they are looked at once more, and keep tokens.
original   as it is stored, with the values behind its tokens.

Whoever a conversation was with is told by name in `original` alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from core.importers.records import Attachment, Contact, Conversation, Message
from core.privacy.choosing import Entry
from core.privacy.detect import Scope, detect
from core.privacy.kinds import LABELS
from core.privacy.masks import masked
from core.privacy.operators import redact
from core.privacy.placeholders import PLACEHOLDERS
from core.privacy.policy import Policy, effective
from core.privacy.presets import LEAVING, Operator, Preset
from core.privacy.restoring import restore_altered
from core.privacy.scanning import PassingTools
from core.privacy.spans import Span
from core.privacy.tokens import restore_spans
from core.privacy.trees import labelled_tree

NAMING = frozenset({"identities", "allow", "deny"})  # of a policy: what may name people
_LINKED = frozenset({Operator.TOKENISE, Operator.HASH})
_HASH = re.compile(r"<([A-Z][A-Z0-9_]{1,40}):[a-z2-7]{16}>")


class Mode(StrEnum):
    """How much of personal data is in an export."""

    REDACTED = "redacted"
    TOKENISED = "tokenised"
    ORIGINAL = "original"


@dataclass(frozen=True)
class Kept:
    """What of a conversation is known beside it: its tokens, and in `original` the values behind them.

    `looked`: privacy looks at what the conversation says of itself, from some time on.
    """

    tokens: Collection[str] = frozenset()
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    looked: bool = False


NOTHING = Kept()


def veiled_conversation(conversation: Conversation, mode: Mode, kept: Kept) -> Conversation:
    """A conversation as it leaves, its messages left alone."""
    if mode is Mode.ORIGINAL:
        return replace(
            conversation,
            title=_restored(conversation.title, kept),
            description=_restored(conversation.description, kept),
            meta=_restored_tree(conversation.meta, kept),
        )
    veil = _Veil(kept.tokens)
    own = _Veil(kept.tokens, keeps=mode is Mode.TOKENISED and kept.looked)
    contact, policy = conversation.contact, conversation.policy
    return replace(
        conversation,
        title=own.label(conversation.title),
        description=own.label(conversation.description),
        meta=own.tree(conversation.meta),
        source=veil.label(conversation.source),
        backstory=veil.label(conversation.backstory),
        contact=contact and _unnamed(contact),
        policy=policy and {name: value for name, value in policy.items() if name not in NAMING},
        attachments=own.files(conversation.attachments),
    )


def veiled_message(message: Message, mode: Mode, kept: Kept, *, looked: bool) -> Message:
    """A message as it leaves; `looked`: privacy has looked at it when it was stored."""
    if mode is Mode.ORIGINAL:
        return _seen(message, kept) if kept.values else message
    if mode is Mode.TOKENISED and looked:
        files = _Veil(kept.tokens, keeps=True).files(message.attachments)
        return replace(message, attachments=files) if files else message
    veil = _Veil(kept.tokens)
    text, entities = veil.text(message.text, message.entities)
    if not (message.name or message.description or message.meta or message.attachments or entities) and (
        text == message.text and not message.entities
    ):
        return message  # as most are
    name, description = veil.label(message.name), veil.label(message.description)
    meta, attachments = veil.tree(message.meta), veil.files(message.attachments)
    return replace(
        message,
        text=text,
        entities=entities,
        name=name,
        description=description,
        meta=meta,
        attachments=attachments,
    )


def _seen(message: Message, kept: Kept) -> Message:
    text, entities = restore_spans(message.text, message.entities, kept.values)
    return replace(
        message,
        text=text,
        entities=entities,
        name=_restored(message.name, kept),
        description=_restored(message.description, kept),
        meta=_restored_tree(message.meta, kept),
    )


def _restored(text: str | None, kept: Kept) -> str | None:
    return restore_altered(text, kept.values) if text and kept.values else text


def _restored_tree(value: Any, kept: Kept) -> Any:
    if not kept.values:
        return value
    if isinstance(value, str):
        return restore_altered(value, kept.values)
    if isinstance(value, Mapping):
        return {_restored(key, kept): _restored_tree(inner, kept) for key, inner in value.items()}
    if isinstance(value, list):
        return [_restored_tree(inner, kept) for inner in value]
    return value


def _unnamed(contact: Contact) -> Contact:
    """A contact that can be told from others, and by whom it is known."""
    kinds = {"name": "PERSON", "nick": "PERSON", "email": "EMAIL_ADDRESS", "phone": "PHONE_NUMBER"}
    told = {name: (said := getattr(contact, name)) and masked(kind, said) for name, kind in kinds.items()}
    return replace(contact, **told, meta={})


def _recommended() -> tuple[Policy, Scope]:
    policy = effective({"preset": Preset.RECOMMENDED.value})
    return policy, Scope(kinds=policy.kinds(), thresholds=policy.thresholds)


_POLICY, _SCOPE = _recommended()
_TOOLS = PassingTools()


@dataclass(frozen=True)
class _Veil:
    """Makes texts harmless. `tokens`: those that lead to a value; a label of ours is always taken for one.

    `keeps`: tokens and hashes stay.
    """

    tokens: Collection[str]
    keeps: bool = False

    def label(self, text: str | None) -> str | None:
        return self.text(text)[0] if text else text

    def tree(self, value: Any) -> Any:
        """A meta as it leaves."""
        return labelled_tree(value, self.label) if value else value

    def files(self, attachments: Sequence[Attachment]) -> tuple[Attachment, ...]:
        return tuple(replace(one, name=self.label(one.name)) for one in attachments)

    def text(self, text: str, entities: Sequence[Entry] = ()) -> tuple[str, tuple[Entry, ...]]:
        """A text as it leaves, and its entities where they then stand."""
        if not self.keeps and ("[" in text or "<" in text):
            text, entities = self._inert(text, entities)
        spans = detect(text, _SCOPE)
        if not spans and not entities:
            return text, ()
        # What was only told before is judged anew, what was altered stays as it is.
        told = [Span(e.type, e.begin, e.end, e.score, e.source) for e in entities if e.operator in LEAVING]
        made = redact(text, [*spans, *told], _POLICY, _TOOLS, settled=entities)
        return made.text, tuple(
            Entry(one.type, one.stored_begin, one.stored_end, one.score, one.source, one.operator)
            for one in made.taken
        )

    def _inert(self, text: str, entities: Sequence[Entry]) -> tuple[str, tuple[Entry, ...]]:
        """Tokens and hashes as placeholders that are the same for every value of a kind."""
        known = {(one.begin, one.end): one for one in entities}
        places = dict(self._placeholders(text))
        places |= {place: one.type for place, one in known.items() if one.operator in _LINKED}
        parts: list[str] = []
        moved: list[Entry] = []
        done = length = 0
        for begin, end in _apart(places.keys() | known.keys()):
            entry, kind = known.get((begin, end)), places.get((begin, end))
            written = f"<{kind}>" if kind else text[begin:end]
            length += begin - done
            parts += (text[done:begin], written)
            if entry:
                operator = Operator.REPLACE if kind else entry.operator
                moved.append(replace(entry, begin=length, end=length + len(written), operator=operator))
            done, length = end, length + len(written)
        return "".join((*parts, text[done:])), tuple(moved)

    def _placeholders(self, text: str) -> Iterable[tuple[tuple[int, int], str]]:
        for found in PLACEHOLDERS.finditer(text):
            said = found.group()
            label = said[1:-1].partition(":")[0]
            if hashed := _HASH.fullmatch(said):
                yield found.span(), hashed[1]
            elif said[0] == "[" and (label in LABELS or said in self.tokens):
                yield found.span(), LABELS.get(label, label.upper())


def _apart(places: Collection[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """The places in order; of two that overlap the one that begins first, and the longer."""
    done = 0
    for begin, end in sorted(places, key=lambda place: (place[0], -place[1])):
        if begin >= done:
            yield begin, end
            done = end
