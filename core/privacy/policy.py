"""Policies of privacy: which personal data is looked for, and what happens to it.

An account, a bot and a conversation may each name a document; the later is the more specific. Whatever is
named by none is as if privacy were off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from core.privacy.kinds import KINDS
from core.privacy.policy_documents import Document, read_policy
from core.privacy.presets import DEFAULTS, DENIED, PRESETS, Direction, Operator, Preset

__all__ = [
    "DENIED",
    "PRESETS",
    "Direction",
    "Document",
    "Member",
    "Operator",
    "Policy",
    "Preset",
    "effective",
    "read_policy",
]

# Grows when an operator writes something else, so that texts are annotated anew.
_FORM = 1
_ALTERING = frozenset(Operator) - {Operator.KEEP, Operator.ANNOTATE}


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody a policy names, to be recognised wherever they are mentioned."""

    name: str | None = None
    email: str | None = None
    phone: str | None = None


@dataclass(frozen=True)
class Policy:
    """What holds for one text.

    `operators` names every kind of ours and those the documents name, `default` is for the others. `allow`
    is case-folded. `opted` are the kinds that are looked for although they are not by default. `model` of
    None asks the operator's own model where there is one, as true does.
    """

    operators: Mapping[str, Operator] = field(default_factory=lambda: PRESETS[Preset.OFF])
    preset: Preset = field(default=Preset.OFF, compare=False, kw_only=True)  # what the operators began as
    default: Operator = Operator.KEEP
    thresholds: Mapping[str, float] = field(default_factory=dict)
    allow: frozenset[str] = frozenset()
    deny: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    direction: Direction = Direction.BOTH
    block_until_annotated: bool = False
    model: bool | None = None
    identities: tuple[Member, ...] = ()
    opted: frozenset[str] = frozenset()

    @cached_property
    def on(self) -> bool:
        """Something is looked for."""
        return bool(self.kinds() or (self.deny and self.operator(DENIED) is not Operator.KEEP))

    @property
    def alters(self) -> bool:
        """Something of what is found does not stay in the text as it is."""
        return self.on and not _ALTERING.isdisjoint((*self.operators.values(), self.default))

    @property
    def asks_model(self) -> bool:
        """What the operator's own model finds counts, where there is one."""
        return self.on and self.model is not False

    def operator(self, kind: str) -> Operator:
        return self.operators.get(kind, self.default)

    def kinds(self) -> frozenset[str]:
        """The kinds to look for: one that is not looked for by default only where a document names it."""
        return self._kinds

    def applies(self, direction: Direction) -> bool:
        """Texts of this direction are looked at."""
        return self.on and (self.direction is Direction.BOTH or self.direction is direction)

    @cached_property
    def _kinds(self) -> frozenset[str]:
        return frozenset(
            kind
            for kind, operator in self.operators.items()
            if operator is not Operator.KEEP and kind != DENIED and (kind in self.opted or _sought(kind))
        )

    @cached_property
    def version(self) -> str:
        """Sixteen hexadecimal digits, the same in every process for the same policy and form of operators."""
        words = asdict(self) | {"allow": sorted(self.allow), "opted": sorted(self.opted), "form": _FORM}
        del words["preset"]
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]


def _sought(kind: str) -> bool:
    return kind not in KINDS or KINDS[kind].default


def effective(
    account: Document | None = None,
    bot: Document | None = None,
    conversation: Document | None = None,
    *,
    bot_flag: bool = False,
    conversation_flag: bool = False,
) -> Policy:
    """The policy for a text of this conversation, from documents that `read_policy` accepted.

    The more specific document wins field by field, for operators and thresholds kind by kind; allow, deny
    and identities add up. A preset also ends the operators of broader documents, and `off` their denied
    words; a kind they opted into stays one to look for. A flag that is set makes `tokenise` of what would
    be off so far; one that is not set changes nothing.
    """
    merged = _Merged()
    merged.add(account)
    merged.add(bot)
    merged.switch(on=bot_flag)
    merged.add(conversation)
    merged.switch(on=conversation_flag)
    return merged.policy()


class _Merged:
    """Documents, the broadest first."""

    def __init__(self) -> None:
        self._preset = Preset.OFF
        self._operators: dict[str, Operator] = {}
        self._opted: set[str] = set()
        self._fields: dict[str, Any] = {}
        self._lists: dict[str, list[Any]] = {"allow": [], "deny": [], "identities": []}
        self._thresholds: dict[str, float] = {}

    def add(self, document: Document | None) -> None:
        if not document:
            return
        if "preset" in document:
            self._preset = Preset(document["preset"])
            self._operators = {}
            if self._preset is Preset.OFF:
                self._lists["deny"] = []
        named = {kind: Operator(word) for kind, word in document.get("operators", {}).items()}
        self._operators |= named
        self._opted |= {kind for kind, operator in named.items() if operator is not Operator.KEEP}
        self._thresholds |= document.get("thresholds", {})
        for name, entries in self._lists.items():
            entries.extend(document.get(name, ()))
        self._fields |= {name: document[name] for name in _SINGLE if name in document}

    def switch(self, *, on: bool) -> None:
        if on and self._preset is Preset.OFF:
            self._preset = Preset.TOKENISE

    def policy(self) -> Policy:
        operators = PRESETS[self._preset] | self._operators
        # Words to deny are a wish of their own: no preset has to be named for them.
        if self._lists["deny"] and self._preset is Preset.OFF and DENIED not in self._operators:
            operators[DENIED] = Operator.REPLACE
        return Policy(
            operators=operators,
            preset=self._preset,
            default=DEFAULTS[self._preset],
            thresholds=self._thresholds,
            allow=frozenset(value.casefold() for value in self._lists["allow"]),
            deny=tuple({word.casefold(): word for word in self._lists["deny"]}.values()),
            regions=tuple(self._fields.get("regions", ())),
            direction=Direction(self._fields.get("direction", Direction.BOTH)),
            block_until_annotated=self._fields.get("blockUntilAnnotated", False),
            model=self._fields.get("model"),
            identities=tuple(dict.fromkeys(Member(**known) for known in self._lists["identities"])),
            opted=frozenset(self._opted),
        )


_SINGLE = ("regions", "direction", "blockUntilAnnotated", "model")
