"""The detector as an account would run it: its regions, the kinds it asks for, and who takes part."""

from __future__ import annotations

from functools import cache

from benchmarks.privacy.labelled import Labelled, Who
from core.privacy.detect import Scope, detect
from core.privacy.kinds import KINDS
from core.privacy.known import Identity, known
from core.privacy.operators import redact
from core.privacy.policy import PRESETS, Operator, Policy, Preset
from core.privacy.spans import Span

_USUAL = frozenset(name for name, kind in KINDS.items() if kind.default)
# Everything found is covered, so that masking costs what it can.
_MASKED = Policy(operators=dict.fromkeys(PRESETS[Preset.STRICT], Operator.MASK), default=Operator.MASK)
CLEAN = Scope()
# Every kind is looked for, and every region asked.
EVERYTHING = Scope(regions=("US", "GB", "DE", "FR", "ES", "BR"), kinds=frozenset(KINDS))


def scope_of(message: Labelled) -> Scope:
    return _scope(message.regions, message.asked, message.identities)


@cache
def _scope(regions: tuple[str, ...], asked: frozenset[str], identities: tuple[Who, ...]) -> Scope:
    people = known([Identity(names=one.names, emails=one.emails, phones=one.phones) for one in identities])
    return Scope(regions=regions, kinds=_USUAL | asked, known=people if identities else None)


def found_in(message: Labelled) -> list[Span]:
    return detect(message.text, scope_of(message))


class _NoTools:
    """Masks need nothing of an account: to ask for a token or a number here would be a bug."""

    def token(self, kind: str, value: str) -> str:
        raise NotImplementedError

    digest = token

    def number(self, kind: str, value: str) -> int | None:
        raise NotImplementedError


_TOOLS = _NoTools()


def masked(text: str, scope: Scope) -> str:
    """What stands in for the text once it is stored."""
    return redact(text, detect(text, scope), _MASKED, _TOOLS).text
