"""Presets of privacy: what happens to each kind of personal data, and the words for it."""

from __future__ import annotations

from enum import StrEnum

from core.privacy.kinds import KINDS, Group

# The kind of words a policy takes always.
DENIED = "DENIED"


class Operator(StrEnum):
    """What happens to personal data. `keep` is not looked for and not told."""

    KEEP = "keep"
    ANNOTATE = "annotate"  # told, and left in the text
    MASK = "mask"  # •••• •••• •••• 1111
    REPLACE = "replace"  # <CREDIT_CARD>
    HASH = "hash"  # <CREDIT_CARD:hx4k2m7q3w5t6y2a>, the same for the same value
    TOKENISE = "tokenise"  # [credit_card:a7x2b], restored for those who may read it
    REDACT = "redact"  # <REDACTED>: not even its kind is told


# What these find stays in the text as it is.
LEAVING = frozenset({Operator.KEEP, Operator.ANNOTATE})


class Preset(StrEnum):
    """`recommended` hides what does harm and tells what may; `tokenise` is the one that can be undone."""

    OFF = "off"
    ANNOTATE = "annotate"
    RECOMMENDED = "recommended"
    STRICT = "strict"
    TOKENISE = "tokenise"


class Direction(StrEnum):
    """Inbound is what people write, outbound what bots answer."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    BOTH = "both"


# For kinds that nobody named: a caller's own words, and those of an operator's model.
DEFAULTS = {
    Preset.OFF: Operator.KEEP,
    Preset.ANNOTATE: Operator.ANNOTATE,
    Preset.RECOMMENDED: Operator.ANNOTATE,
    Preset.STRICT: Operator.REPLACE,
    Preset.TOKENISE: Operator.TOKENISE,
}

_RECOMMENDED_GROUPS = {
    Group.CONTACT: Operator.MASK,
    Group.IDENTITY: Operator.MASK,
    Group.FINANCE: Operator.MASK,
    Group.SECRET: Operator.REDACT,
    Group.TRACE: Operator.ANNOTATE,
}
_RECOMMENDED = {"PERSON": Operator.ANNOTATE, "DATE_OF_BIRTH": Operator.ANNOTATE, DENIED: Operator.REPLACE}


def _operators(preset: Preset) -> dict[str, Operator]:
    every = dict.fromkeys((*KINDS, DENIED), DEFAULTS[preset])
    if preset is Preset.RECOMMENDED:
        return every | {name: _RECOMMENDED_GROUPS[kind.group] for name, kind in KINDS.items()} | _RECOMMENDED
    if preset is Preset.TOKENISE:
        return every | {name: Operator.REDACT for name, kind in KINDS.items() if kind.group is Group.SECRET}
    return every


PRESETS = {preset: _operators(preset) for preset in Preset}
