"""What a text is stored as: its words after privacy has looked at them, and what is known of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.entities import Entity
from core.privacy.kinds import LABELS
from core.privacy.operators import Entry, Redacted, Taken, read_stored, stored
from core.privacy.policy import Operator
from core.privacy.policy_documents import kind_of as kind_of_word
from core.privacy.wire import given_spans, redacted_documents
from models import Message

GIVEN = "given"
SOURCES = frozenset({"structured", "known", GIVEN, "model", "denied", "token"})


@dataclass(frozen=True)
class Said:
    """A text as it is stored, and what was found in it."""

    text: str = field(repr=False)
    taken: tuple[Taken, ...] = ()
    tokens: tuple[Taken, ...] = ()  # real ones that stood there already

    @property
    def pii(self) -> list[dict[str, Any]] | None:
        """The entities as `messages.pii` keeps them: places in the stored text, and nothing of its words."""
        if not self.taken and not self.tokens:
            return None
        found = [*stored(self.taken), *stored(self.tokens)]
        return sorted(found, key=lambda entity: int(entity["b"]))

    @property
    def found(self) -> list[Taken]:
        """Everything that is known of it, in order."""
        return sorted((*self.taken, *self.tokens), key=lambda one: one.stored_begin)

    def documents(self, submitted: str) -> list[dict[str, Any]]:
        """The entities as the wire shows them, to whoever sent the text."""
        return redacted_documents(Redacted(self.text, tuple(self.found)), submitted)

    @property
    def types(self) -> list[str] | None:
        return types_of(self.pii)


def types_of(pii: Sequence[Mapping[str, Any]] | None) -> list[str] | None:
    return sorted({str(entity["t"]) for entity in pii}) if pii else None


def given_alone(words: str, given: Iterable[Entity]) -> Said:
    """Where there is no privacy: what the sender knows of is written down, and the text is left alone."""
    taken = tuple(
        Taken(e.type, e.begin, e.end, e.begin, e.end, 1.0, GIVEN, Operator.ANNOTATE)
        for e in sorted(given_spans(given), key=lambda span: span.begin)
    )
    return Said(words, taken)


def kind_of(token: str) -> str:
    """The kind of what a token stands for, as far as its label tells."""
    label = token[1:].partition(":")[0]
    return LABELS.get(label, label.upper())


def told_entries(entries: Sequence[Entry]) -> list[Entry]:
    """The entities that a file tells of a text, as far as they can be ours: kinds we know of, in order, and
    without overlaps.
    """
    found: list[Entry] = []
    for one in sorted(entries, key=lambda entry: (entry.begin, -entry.end)):
        kind = kind_of_word(one.type)
        if kind is not None and (not found or found[-1].end <= one.begin):
            source = one.source if one.source in SOURCES else GIVEN
            found.append(replace(one, type=kind, source=source))
    return found


def said_elsewhere(words: str, entries: Sequence[Entry]) -> Said:
    """A text as a file tells it, where there is no privacy: with the entities the file knows of."""
    return Said(words, tuple(_as_taken(one) for one in told_entries(entries)))


def _as_taken(e: Entry) -> Taken:
    return Taken(e.type, e.begin, e.end, e.begin, e.end, e.score, e.source, e.operator)


def stored_said(words: str, pii: Sequence[dict[str, Any]] | None) -> Said:
    """A text as it is stored, with what is known of it: what was there before is not told any more."""
    return Said(words, tuple(_as_taken(one) for one in read_stored(pii)))


def tokens_at(pii: Sequence[dict[str, Any]] | None) -> list[Entry]:
    """Where the real tokens of a stored text stand."""
    return [entry for entry in read_stored(pii) if entry.operator is Operator.TOKENISE]


def tokens_of(words: str, pii: Sequence[Mapping[str, Any]] | None) -> frozenset[str]:
    """The real tokens of a stored text."""
    return frozenset(words[e["b"] : e["e"]] for e in pii or () if e["o"] == Operator.TOKENISE)


def texts_of(message: Message) -> list[str]:
    """Everything of a message that can name a token."""
    meta = json.dumps(message.meta, ensure_ascii=False)
    return [said for said in (message.text, message.name, message.description, meta) if said]
