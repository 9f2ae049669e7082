"""The structured detector: gate, matchers, checks, context, one list of spans.

A pure function of the text and the scope. No text, and no part of one, leaves it in an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from core.privacy import birth, contact, finance, national, network, numbers, papers, phones, secrets, streets
from core.privacy.fold import BLANK, TAKEN, blank, fold
from core.privacy.found import Found
from core.privacy.gate import Gate, hits
from core.privacy.kinds import KINDS
from core.privacy.known import Known
from core.privacy.resolve import around_urls, resolve
from core.privacy.spans import Span

_REVISION = 5
DEFAULT_THRESHOLD = 0.4
_SURE = 0.7
_ROUNDS = 4


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "0"


# What a result depends on. The gate only saves time: both of its engines give the same spans.
DETECTOR = f"structured@{_REVISION}+phone{_version_of('phonenumbers')}+stdnum{_version_of('python-stdnum')}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked for.

    `regions` are ISO codes whose national phone numbers are read first; `kinds` of None are all that are
    looked for by default; `thresholds` hold the least score per kind; `known` the conversation's identities.
    """

    regions: tuple[str, ...] = ()
    kinds: frozenset[str] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    known: Known | None = None


DEFAULT = Scope()
_ALL = frozenset(name for name, kind in KINDS.items() if kind.default)
_MATCHERS: Mapping[int, Callable[[str, list[Found]], None]] = {
    Gate.EMAIL: contact.emails,
    Gate.URL: network.urls,
    Gate.IP: network.ips,
    Gate.MAC: network.macs,
    Gate.LETTERED: national.find,
    Gate.IBAN: finance.ibans,
    Gate.SECRET: secrets.find,
    Gate.WALLET: finance.wallets,
    Gate.BIC: finance.bics,
    Gate.BIRTH: birth.find,
    Gate.PAPER: papers.find,
}

# What is made of digits, however it is called.
_IN_DIGITS = frozenset({Gate.BIRTH, Gate.PAPER})
# What may be without a digit and without an at sign.
_IN_LETTERS = frozenset({Gate.URL, Gate.SECRET, Gate.WALLET, Gate.BIC, Gate.IP, Gate.MAC})
_LEFT = re.compile("[0-9@]")
_ONLY_A_DIGIT = [Gate.NUMERAL]
_FOLD_FIRST = [Gate.ODD]


def detect(text: str, scope: Scope = DEFAULT) -> list[Span]:
    """The personal data of a text: ordered, none over another, in code points of exactly this text.

    Where something was found the rest is looked at again without it, until nothing more is: neighbours that
    are glued together hide each other, and what is taken from a text must not lay bare what nobody saw.
    """
    plain = text
    gates = hits(text)
    if gates == _FOLD_FIRST:
        plain = fold(text)
        gates = hits(plain)
    street = scope.kinds is not None and "STREET_ADDRESS" in scope.kinds
    if (not gates or gates == _ONLY_A_DIGIT) and scope.known is None and not street:
        return []
    plain = blank(plain)
    spans: list[Span] = []
    for _ in range(_ROUNDS):
        found, sources = _found(plain, gates, scope, street=street)
        if not found:
            break
        kept = _kept(found, scope)
        wanted = _ALL if scope.kinds is None else scope.kinds
        spans += [
            Span(kind, begin, end, score, "known" if (score, begin, end, kind) in sources else "structured")
            for score, begin, end, kind in kept
            if kind in wanted
        ]
        plain = _blanked(plain, kept)
        if not kept or not _asks(scope, street=street, gates=gates, left=plain):
            break
        gates = hits(plain)
        if (not gates or gates == _ONLY_A_DIGIT) and scope.known is None and not street:
            break
    if len(spans) > 1:
        spans.sort(key=_begin)
    return spans


def _asks(scope: Scope, *, street: bool, gates: list[int], left: str) -> bool:
    """Whether the rest of a text can hold anything, told without the gate."""
    return (
        street
        or scope.known is not None
        or not _IN_LETTERS.isdisjoint(gates)
        or _LEFT.search(left) is not None
    )


def _begin(span: Span) -> int:
    return span.begin


def _found(
    plain: str, gates: list[int], scope: Scope, *, street: bool
) -> tuple[list[Found], Collection[Found]]:
    """The candidates of every matcher, and those among them that are known identities."""
    found: list[Found] = []
    numeral = bool(gates) and gates[0] == Gate.NUMERAL
    for gate in gates:
        matcher = _MATCHERS.get(gate)
        if matcher is not None and (numeral or gate not in _IN_DIGITS):
            matcher(plain, found)
    if Gate.DIGITS in gates:
        _digits(_without(plain, found), gates, scope, found)
    if street:
        streets.find(plain, found)
    if scope.known is None:
        return found, ()
    of_known: list[Found] = []
    scope.known.find(plain, of_known, digits=Gate.DIGITS in gates)
    return found + of_known, set(of_known)


def _blanked(text: str, found: list[Found]) -> str:
    parts: list[str] = []
    done = 0
    for _, begin, end, _ in found:
        parts += (text[done:begin], BLANK * (end - begin))
        done = end
    return "".join((*parts, text[done:]))


def _without(text: str, found: list[Found]) -> str:
    """The text with what is surely no bare number blanked out, so that no number reaches into it."""
    for score, begin, end, kind in found:
        if score >= _SURE and kind != "URL":
            text = f"{text[:begin]}{TAKEN * (end - begin)}{text[end:]}"
    return text


def _digits(text: str, gates: list[int], scope: Scope, found: list[Found]) -> None:
    if Gate.BANK in gates:
        finance.bank_numbers(text, found)
    regions = (*scope.regions, *phones.DEFAULT_REGIONS) if scope.regions else phones.DEFAULT_REGIONS
    numbers.find(text, found, numbers.Regions(regions, scope.regions))


def _kept(found: list[Found], scope: Scope) -> list[Found]:
    """Of the candidates, those that stand: in order, none over another.

    A kind nobody wants still keeps others off its place, but for an address of a page, which holds others.
    """
    found = around_urls(found)
    if scope.kinds is not None and "URL" not in scope.kinds:
        found = [one for one in found if one[3] != "URL"]
    if scope.thresholds:
        found = [one for one in found if one[0] >= scope.thresholds.get(one[3], DEFAULT_THRESHOLD)]
    return resolve(found) if len(found) > 1 else found


def warm() -> None:
    """Loads the numbering plans and the checks, so that the first message is not slow."""
    national.warm()
    phones.warm()
