"""The gate: which matchers a text can interest, told in one pass by google-re2 where it is installed.

A family is told by its words or by its shape: both are what a matcher's finds always hold. Case is left
aside; texts that need folding are told as such, and asked for again once they are folded, so that both
engines answer alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

from core.privacy import fold
from core.privacy.passwords import CALLED_FAR, SHORT
from core.privacy.pins import CODES, LOGINS, PINS
from core.privacy.secrets import CALLED
from core.privacy.tops import BARE_TOPS
from core.privacy.words import words

try:
    import re2
except ImportError:  # a platform it has no build for
    re2 = None


class Gate(IntEnum):
    """The families of matchers, in the order of their signs: any digit first, then what needs one or not."""

    NUMERAL = 0
    DIGITS = 1
    EMAIL = 2
    URL = 3
    IP = 4
    MAC = 5
    LETTERED = 6
    IBAN = 7
    SECRET = 8
    CALLED = 9  # passwords
    CODE = 10  # PINs and doors
    LOGIN = 11
    WALLET = 12
    BIC = 13
    BIRTH = 14
    PAPER = 15
    BANK = 16
    ODD = 17  # characters that have to be folded first


class Sign(NamedTuple):
    """`words` stand anywhere, `starts` at the beginning of a word; these and `shape` each suffice.

    A shape with `digit` holds one, or else a mark of `marks`.
    """

    words: frozenset[str] = frozenset()
    starts: frozenset[str] = frozenset()
    shape: str = ""
    digit: bool = False
    marks: tuple[str, ...] = ()


# Where no word goes on. What counts letters counts them from here alone: what counts them from each letter on
# makes the engine a state for every word there is.
_EDGE = "(?:\\A|[^a-z0-9_])"
_KEY_WORDS = words("""
    akia gho_ ghp_ ghr_ ghs_ ghu_ github_pat_ glpat- gldt- glrt- glptt- glsoat- glcbt- glagent- gloas-
    xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs- xapp- sk_live sk_test rk_live rk_test pk_live pk_test whsec_
    aiza ya29. gocspx- npm_ pypi- hf_ dop_v1_ shpat_ shpca_ shppa_ shpss_ sq0atp- sq0csp- eaac rdme_ lin_api_
    xai- gsk_ r8_ pplx- nvapi-
""")
_BIRTH_WORDS = words("""
    birth date-of-birth born dob d.o.b do.b d.ob bday geboren geburts geb. geb naissance né née nacimiento
    naci nací nasci nasc nasce nac cumple anniv aniversário niver naiss ddn fdn dn d.n f.n
""")
_PAPER_WORDS = words("""
    passport reisepass passnummer pass-n passn passeport pasaporte passaporte license licence driver
    driving dl d.l führerschein fuehrerschein fs-n fsn fahrerlaubnis permis licencia carnet
    conducir condução motorista cnh habilitação carteira carné
""")
_BANK_WORDS = words("""
    account acct bank checking chequing savings routing aba deposit konto kto compte banque bancaire cuenta
    conta banco bancaria bancária poupança iban
""")
_BIC_WORDS = _BANK_WORDS | {"swift"}
_SPACE = r"\t\n\v\f\r "
SIGNS: Sequence[Sign] = (
    Sign(shape="[0-9]"),
    Sign(
        shape=r"[0-9](?:[ .\-/()]{0,3}[0-9]){6}"
        r"|(?:phone|tel|fax|fon|fono|fone)(?: number| no)?\.?: ?[0-9]{2}",
        digit=True,
    ),
    Sign(shape=rf"[^{_SPACE}\x00•]@[^{_SPACE}\x00]", marks=("@",)),
    Sign(
        shape=rf"[a-z]://[^{_SPACE}]|www\.|[a-z0-9]\.(?:{BARE_TOPS})(?:[^a-z0-9_]|\z)"
        r"|[a-z0-9]\.[a-z]{2}(?::[0-9]+)?/",
        marks=(".", "://"),
    ),
    Sign(
        shape=r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|::[0-9a-f]|[0-9a-f]:[0-9a-f]{0,4}:[0-9a-f:]",
        digit=True,
        marks=(":",),
    ),
    Sign(
        shape=r"[0-9a-f]{2}[:-][0-9a-f]{2}[:-][0-9a-f]{2}[:-][0-9a-f]{2}[:-]"
        r"|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}",
        marks=(":", "-", "."),
    ),
    Sign(
        shape=rf"{_EDGE}(?:[0-9]{{2}}\.?[0-9]{{3}}\.?[0-9]{{3}}[- ]?[a-z]"
        r"|[klm][0-9]{7}[a-z]|[xyz][- ]?[0-9]{7}[- ]?[a-z]"
        r"|[a-z]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[a-d]"
        r"|[a-z]{6}[0-9lmnp-v]{2}[a-ehlmprst][0-9lmnp-v]{2}[a-z][0-9lmnp-v]{3}[a-z]"
        r"|[a-z]{5}[0-9]{4}[a-z])|[0-9] ?2[ab] ?[0-9]{3}",
    ),
    Sign(shape=r"[a-z]{2}[0-9]{2}[ -]{0,2}[a-z0-9]{2}", digit=True),
    Sign(
        words=frozenset({"-----begin"}),
        shape=rf"{_EDGE}(?:{'|'.join(map(re.escape, sorted(_KEY_WORDS)))}"
        r"|a(?:sia|roa|ida|gpa)[a-z0-9]{9}|anpa[a-z0-9]{9}|sk-[a-z0-9]|sg\.[a-z0-9_-]{9}"
        r"|(?:sk|ac)[0-9a-f]{16}|key-[0-9a-f]{9}|eyj[a-z0-9_-]{8})|[0-9]{8}:aa",
    ),
    Sign(
        shape=rf"(?:{CALLED})[\"']?(?: ?[:=]| ?->| (?:is|ist|lautet|est|es|é|war|was|are)[ :])"
        rf"|{CALLED_FAR}|(?:\A|[^a-z]|zugriffs|zugangs)(?:{SHORT})(?:[^a-z]|\z)",
    ),
    Sign(
        shape=rf"(?:\A|[^a-z])(?:{PINS})(?:[^a-z]|\z)|(?:{CODES})(?:[^a-z]|\z)|{LOGINS} ?[:=]"
        rf"|(?:-u|--user) [^{_SPACE}:]{{1,64}}:",
    ),
    Sign(
        shape=rf"://[^{_SPACE}/:@]{{1,64}}:[^{_SPACE}/:@]{{3}}|(?:bearer|basic) [a-z0-9+/_.=~-]{{16}}",
    ),
    Sign(shape=rf"{_EDGE}[13lmtd][1-9a-z]{{25}}|(?:bc1|ltc1|addr1)[02-9a-z]{{11}}|0x[0-9a-f]{{40}}"),
    Sign(starts=_BIC_WORDS, shape=r"bic(?:code)?(?:[^a-z]|\z)"),
    Sign(starts=_BIRTH_WORDS, shape="zur welt"),
    Sign(starts=_PAPER_WORDS, shape=r"(?:\A|[^a-z])pass(?:[^a-z]|\z)"),
    Sign(starts=_BANK_WORDS),
)
_START = "(?:\\A|[^a-zß-öø-ÿ])"


def _arms(sign: Sign) -> list[str]:
    arms = [re.escape(word) for word in sorted(sign.words)] + ([sign.shape] if sign.shape else [])
    if sign.starts:
        arms.append(f"{_START}(?:{'|'.join(map(re.escape, sorted(sign.starts)))})")
    return arms


def _any_in(marks: tuple[str, ...], text: str) -> bool:
    return any(mark in text for mark in marks)


def _by_stdlib() -> Callable[[str], list[int]]:
    digit = re.compile("[0-9]").search
    each = []
    for gate, sign in enumerate(SIGNS):
        shape = "|".join(_arms(sign._replace(words=frozenset())))
        search = re.compile(shape.replace(r"\z", r"\Z"), re.IGNORECASE).search if shape else None
        each.append((int(gate), sign, tuple(sign.words), tuple(sign.starts), search))

    def hits(text: str) -> list[int]:
        if fold.odd(text):
            return [Gate.ODD]
        low = text.lower()
        digits = digit(low) is not None
        found: list[int] = []
        for gate, sign, said, starts, search in each:
            if any(word in low for word in said):
                found.append(gate)
                continue
            if search is None or (starts and not sign.shape and not _any_in(starts, low)):
                continue
            if sign.digit and not digits and not sign.marks:
                continue
            if sign.marks and not (sign.digit and digits) and not _any_in(sign.marks, low):
                continue
            if search(low):
                found.append(gate)
        return found

    return hits


def _by_re2() -> Callable[[str], list[int]] | None:
    if re2 is None:
        return None
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    options.case_sensitive = False
    options.max_mem = 64 << 20
    signs = re2.Set.SearchSet(options)
    for sign in SIGNS:
        signs.Add("|".join(_arms(sign)))
    signs.Add(f"(?-i:{fold.ODD})")
    signs.Compile()
    match = signs._set.Match  # noqa: SLF001 (its wrapper costs as much as the search itself)

    def hits(text: str) -> list[int]:
        try:
            encoded = text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair: only the standard library can read on
            return by_stdlib(text)
        found: list[int] = match(encoded)
        if len(found) > 1:
            found.sort()
            if found[-1] == Gate.ODD:
                return [Gate.ODD]
        return found

    return hits


by_stdlib = _by_stdlib()
by_re2 = _by_re2()
hits = by_re2 or by_stdlib
