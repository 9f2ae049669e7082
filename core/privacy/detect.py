"""The structured detector: gate, matchers, checks, context, one list of spans.

A pure function of the text and the scope. No text, and no part of one, leaves it in an error.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from core.privacy import (
    birth,
    contact,
    finance,
    national,
    network,
    numbers,
    papers,
    phones,
    pins,
    secrets,
    streets,
)
from core.privacy.fold import BLANK, TAKEN, blank, fold
from core.privacy.found import Found
from core.privacy.gate import Gate, hits
from core.privacy.kinds import KINDS
from core.privacy.known import Known
from core.privacy.resolve import around_urls, resolve
from core.privacy.spans import Span

_REVISION = 6
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
    read: numbers.Regions = field(init=False, repr=False, compare=False)
    street: bool = field(init=False)
    quiet: bool = field(init=False)  # nothing is looked for that the gate does not know

    def __post_init__(self) -> None:
        street = self.kinds is not None and "STREET_ADDRESS" in self.kinds
        every = (*self.regions, *phones.DEFAULT_REGIONS) if self.regions else phones.DEFAULT_REGIONS
        object.__setattr__(self, "read", numbers.Regions(every, self.regions))
        object.__setattr__(self, "street", street)
        object.__setattr__(self, "quiet", self.known is None and not street)


DEFAULT = Scope()
_ALL = frozenset(name for name, kind in KINDS.items() if kind.default)
_MATCHERS: Mapping[int, Callable[[str, list[Found]], None]] = {
    Gate.EMAIL: contact.emails,
    Gate.URL: network.urls,
    Gate.IP: network.ips,
    Gate.MAC: network.macs,
    Gate.LETTERED: national.find,
    Gate.IBAN: finance.ibans,
    Gate.SECRET: secrets.keys,
    Gate.CALLED: secrets.called,
    Gate.CODE: pins.find,
    Gate.LOGIN: secrets.logins,
    Gate.WALLET: finance.wallets,
    Gate.BIC: finance.bics,
    Gate.BIRTH: birth.find,
    Gate.PAPER: papers.find,
}

# What is made of digits, however it is called.
_IN_DIGITS = frozenset({Gate.BIRTH, Gate.PAPER, Gate.CODE})
# In the order of the gates; None where another matcher reads them. Plain numbers, for enumerations cost time.
_WITH_DIGITS = tuple(_MATCHERS.get(gate) for gate in Gate)
_WITHOUT = tuple(None if gate in _IN_DIGITS else _MATCHERS.get(gate) for gate in Gate)
_NUMERAL, _DIGITS, _BANK, _ODD = int(Gate.NUMERAL), int(Gate.DIGITS), int(Gate.BANK), int(Gate.ODD)
# What may be without a digit and without an at sign.
_IN_LETTERS = frozenset(
    map(int, {Gate.URL, Gate.SECRET, Gate.CALLED, Gate.LOGIN, Gate.WALLET, Gate.BIC, Gate.IP, Gate.MAC})
)
_made = tuple.__new__  # of a named tuple, in half the time
_LEFT = re.compile("[0-9@]")
_FREE_BEFORE = re.compile(r"(?:\A|[^0-9+(\x00\x01•][:=,.!?]?[ \n])[(\"'*«]?\Z")
_FREE_BEHIND = re.compile(r"[)\"'*»]?[.,;!?]{0,3}(?:\Z|\r?[ \n](?![ 0-9+(\x00\x01•/.-]))")
_ONLY_A_DIGIT = [_NUMERAL]
_FOLD_FIRST = [_ODD]


def detect(text: str, scope: Scope = DEFAULT) -> list[Span]:
    """The personal data of a text: ordered, none over another, in code points of exactly this text.

    Where something was found the rest is looked at again without it, until nothing more is: neighbours that
    are glued together hide each other, and what is taken from a text must not lay bare what nobody saw.
    """
    gates = hits(text)
    if len(gates) < 2:
        if gates == _FOLD_FIRST:
            text = fold(text)
            gates = hits(text)
        if scope.quiet and (not gates or gates == _ONLY_A_DIGIT):
            return []
    return _looked(blank(text), gates, scope)


def _looked(plain: str, gates: list[int], scope: Scope) -> list[Span]:
    spans: list[Span] = []
    wanted = _ALL if scope.kinds is None else scope.kinds
    quiet = scope.quiet
    mixed = False
    for _ in range(_ROUNDS):
        found, known = _found(plain, gates, scope)
        kept = _kept(found, scope) if found else found
        if not kept:
            break
        mixed = bool(spans)  # each round tells its own in order
        for one in kept:
            score, begin, end, kind = one
            if kind in wanted:
                source = "known" if known and one in known else "structured"
                spans.append(_made(Span, (kind, begin, end, score, source)))
        seen, plain = plain, _blanked(plain, kept)
        if quiet and _IN_LETTERS.isdisjoint(gates) and _LEFT.search(plain) is None:
            break
        gates = hits(plain)
        if quiet and (not gates or gates == _ONLY_A_DIGIT):
            break
        # The words beside a number may have been another's, so these are looked at in any case.
        if _DIGITS not in gates and _free(seen, found, kept):
            break
    if mixed:
        spans.sort(key=_begin)
    return spans


def _begin(span: Span) -> int:
    return span.begin


def _found(plain: str, gates: list[int], scope: Scope) -> tuple[list[Found], Collection[Found]]:
    """The candidates of every matcher, and those among them that are known identities."""
    found: list[Found] = []
    for matcher in map((_WITH_DIGITS if _NUMERAL in gates else _WITHOUT).__getitem__, gates):
        if matcher is not None:
            matcher(plain, found)
    digits = _DIGITS in gates
    if digits:
        _digits(_without(plain, found) if found else plain, gates, scope, found)
    if scope.street:
        streets.find(plain, found)
    if scope.known is None:
        return found, ()
    of_known: list[Found] = []
    scope.known.find(plain, of_known, digits=digits)
    return found + of_known, set(of_known)


def _blanked(text: str, found: list[Found]) -> str:
    if len(found) == 1:
        _, begin, end, _ = found[0]
        return f"{text[:begin]}{BLANK * (end - begin)}{text[end:]}"
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


def _free(text: str, found: list[Found], kept: list[Found]) -> bool:
    """Whether what was found hides nothing, so that there is no need to look again without it.

    Each stands by itself: nothing is glued to it, no number is next to it, and what was found but not kept
    lies within what was.
    """
    for _, begin, end, _ in kept:
        if not _FREE_BEFORE.search(text, max(0, begin - 4), begin) or not _FREE_BEHIND.match(text, end):
            return False
    if len(found) == len(kept):
        return True
    begins = [one[1] for one in kept]
    return all((at := bisect_right(begins, begin)) and end <= kept[at - 1][2] for _, begin, end, _ in found)


def _digits(text: str, gates: list[int], scope: Scope, found: list[Found]) -> None:
    if _BANK in gates:
        finance.bank_numbers(text, found)
    numbers.find(text, found, scope.read)


def _kept(found: list[Found], scope: Scope) -> list[Found]:
    """Of the candidates, those that stand: in order, none over another.

    A kind nobody wants still keeps others off its place, but for an address of a page, which holds others.
    """
    if len(found) > 1:
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
