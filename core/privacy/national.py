"""Numbers states give to people. Where only a check digit tells one from any number, a cue word must too."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from operator import mul

from core.privacy.context import Cue, after, says, topics
from core.privacy.found import Found

_SSN = re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{3} [0-9]{2} [0-9]{4}|[0-9]{3}\.[0-9]{2}\.[0-9]{4}")
# Groups 50 to 65 were added in 2012 and 2017.
_ITIN = re.compile(r"9[0-9]{2}(?:5[0-9]|6[0-5]|7[0-9]|8[0-8]|9[0-24-9])[0-9]{4}")
_SAMPLES = frozenset({"123456789", "078051120", "078051121", "219099999"})
_CPF = re.compile(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}[-/][0-9]{2}")
_NIR = re.compile(r"[1-478][0-9]{2}(?:0[1-9]|1[0-2]|[2-9][0-9])[0-9]{10}")
_LETTERED = re.compile(
    r"(?<![\w•])(?:"
    r"(?P<nif>[0-9]{8}[- ]?[A-Z]|[0-9]{2}\.[0-9]{3}\.[0-9]{3}[- ]?[A-Z]|[KLM][0-9]{7}[A-Z])"
    r"|(?P<nie>[XYZ][- ]?[0-9]{7}[- ]?[A-Z])"
    r"|(?P<nino>[A-Z]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[A-D])"
    r"|(?P<cf>[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z])"
    r"|(?P<pan>[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z])"
    r"|(?P<nir>[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9]) ?(?:2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2})"
    r")(?![\w•])(?!-[0-9A-Z])",
    re.IGNORECASE,
)
_SPANISH = "TRWAGMYFPDXBNJZSQVHLCKE"
_SPANISH_STARTS = str.maketrans("XYZ", "012", "KLM")
_NINO = re.compile(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][0-9]{6}[A-D]")
_NEAR = 20
TEN = 10
_SPOKEN = 60
_SENTENCE = re.compile(r"[.!?;][ \n]|(?<![:=])\r?\n")
_NO_DIGIT = re.compile("[^0-9]+")
_NHS_WEIGHTS = range(10, 0, -1)
_ORDERED = re.compile(
    r"(?<![^\W_])(?:order|bestell|invoice|rechnung|ticket|tracking|sendung|commande|facture|colis|pedido|factura"
    r"|encomenda|fatura)[a-z]*\W{0,3}(?:n[ro]?[.º°]?|number)?\W{0,3}\Z",
    re.IGNORECASE,
)
# Asked for, and no order: a participle behind what makes it one: `conforme pedido`, `me has pedido`.
_ASKED_FOR = re.compile(
    r"(?<![^\W_])(?:conforme|como|según|segundo|foi|é|era|tinham?|haviam?|têm|tem|ter|haver|ser|sido|sendo"
    r"|fue|es|he|has|ha|hemos|han|haber|había[sn]?|habíamos)(?: (?:me|nos|te|le|les|lhe|lhes))? pedid[oa]s?"
    r"\W{0,3}\Z",
    re.IGNORECASE,
)
_FAR = 240
_NHS = re.compile(r"(?<![^\W_])nhs(?![^\W_])|health[ -]service|health number", re.IGNORECASE)
_PATIENT = re.compile(r"(?<![^\W_])pa[tc]ient|(?<![^\W_])paciente", re.IGNORECASE)
_NHS_SHAPE = re.compile(r"[0-9]{3} [0-9]{3} [0-9]{4}")
_NO_NHS = Cue.PHONE | Cue.OTHER
_NO_NINO = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})
_KINDS = {
    "nif": "ES_NIF", "nie": "ES_NIE", "nino": "UK_NINO", "cf": "IT_FISCAL_CODE",
    "pan": "IN_PAN", "nir": "FR_NIR",
}  # fmt: skip

_CHECKS = {"cf": "it.codicefiscale", "pan": "in_.pan", "nir": "fr.nir"}


@cache
def _check(name: str) -> Callable[[str], bool]:
    """The check of python-stdnum under this name, imported when first asked for."""
    from importlib import import_module

    check: Callable[[str], bool] = import_module(f"stdnum.{name}").is_valid
    return check


def warm() -> None:
    """Imports the checks."""
    for name in (
        *_CHECKS.values(),
        "us.itin",
        "nl.bsn",
        "gb.nhs",
        "br.cpf",
        "pl.pesel",
        "de.idnr",
        "in_.aadhaar",
    ):
        _check(name)


def by_digits(digits: str, written: str, cues: list[int], behind: int) -> tuple[str, float] | None:
    """The identity number these digits are, and how sure that is."""
    reader = _READERS.get(len(digits))
    if reader is None:
        return None
    spoken = behind
    for cue in cues:
        # What stands nearer to the number speaks first.
        if cue == Cue.PHONE:
            break
        spoken |= cue
    return reader(digits, written, spoken)


def _nine(digits: str, written: str, spoken: int) -> tuple[str, float] | None:
    shaped = _SSN.fullmatch(written) is not None
    if spoken & Cue.BSN and _check("nl.bsn")(digits):
        return ("NL_BSN", 0.85)
    if not shaped and not (written.isdigit() and spoken & (Cue.SSN | Cue.ITIN | Cue.NIR)):
        return None
    if digits[0] == "9":
        told = bool(spoken & (Cue.ITIN | Cue.SSN))
        return ("US_ITIN", 0.85 if told else 0.65) if _ITIN.fullmatch(digits) else None
    if spoken & (Cue.SSN | Cue.NIR):
        return ("US_SSN", 0.85) if digits in _SAMPLES or _real_ssn(digits) else None
    alone = "-" in written and digits not in _SAMPLES and not spoken & Cue.OTHER
    return ("US_SSN", 0.6) if alone and _real_ssn(digits) else None


def _real_ssn(digits: str) -> bool:
    return digits[:3] not in {"000", "666"} and digits[3:5] != "00" and digits[5:] != "0000"


def _eight(digits: str, _written: str, spoken: int) -> tuple[str, float] | None:
    return ("NL_BSN", 0.85) if spoken & Cue.BSN and _check("nl.bsn")("0" + digits) else None


def _ten(digits: str, _written: str, spoken: int) -> tuple[str, float] | None:
    return ("UK_NHS", 0.85) if spoken & Cue.NHS and _check("gb.nhs")(digits) else None


def nhs(
    held: tuple[str, float] | None, text: str, begin: int, end: int, cues: list[int]
) -> tuple[str, float] | None:
    """What ten digits are: those of an order are no NHS number, and those of one may stand far from its name.

    Nobody says `NHS` by chance, and a patient's number is written as one is. A word nearer to the number that
    says it is another's goes first.
    """
    if held is not None:
        return None if _ordered(text, begin) else held
    digits = _NO_DIGIT.sub("", text[begin:end])
    if digits[0] in "012" or sum(map(mul, _NHS_WEIGHTS, map(int, digits))) % 11:
        return None  # as most: this costs the least
    ended = list(_SENTENCE.finditer(text, max(0, begin - _SPOKEN), begin))
    if ended:  # what the sentence before this one speaks of is no word for this number
        cues = topics(text, begin, begin - ended[-1].end())
    nearest = next((cue for cue in cues if cue != Cue.NUMBER), 0)
    if nearest & _NO_NHS or not _check("gb.nhs")(digits):
        return None
    around = text[max(0, begin - _FAR) : end + _FAR]
    if _NHS.search(around):
        return ("UK_NHS", 0.8)
    shaped = not nearest and _NHS_SHAPE.fullmatch(text[begin:end])
    return ("UK_NHS", 0.65) if shaped and _PATIENT.search(around) else None


def _ordered(text: str, begin: int) -> bool:
    if not _ORDERED.search(text, max(0, begin - _NEAR), begin):
        return False
    return not _ASKED_FOR.search(text, max(0, begin - _SPOKEN), begin)


def _eleven(digits: str, written: str, spoken: int) -> tuple[str, float] | None:
    if (spoken & Cue.CPF or _CPF.fullmatch(written)) and _check("br.cpf")(digits):
        return ("BR_CPF", 0.85)
    if spoken & Cue.PESEL and _check("pl.pesel")(digits):
        return ("PL_PESEL", 0.85)
    if spoken & (Cue.DE_TAX | Cue.ITIN) and _check("de.idnr")(digits):
        return ("DE_TAX_ID", 0.85)
    return None


def _twelve(digits: str, _written: str, spoken: int) -> tuple[str, float] | None:
    return ("IN_AADHAAR", 0.85) if spoken & Cue.AADHAAR and _check("in_.aadhaar")(digits) else None


def _fifteen(digits: str, written: str, spoken: int) -> tuple[str, float] | None:
    told = bool(spoken & (Cue.NIR | Cue.SSN))
    alone = digits[0] in "12" and not spoken & Cue.OTHER
    if not (told or alone) or not _NIR.fullmatch(digits) or not _check("fr.nir")(digits):
        return None
    return ("FR_NIR", 0.9 if told else 0.6 if " " in written else 0.5)


_READERS: dict[int, Callable[[str, str, int], tuple[str, float] | None]] = {
    8: _eight, 9: _nine, 10: _ten, 11: _eleven, 12: _twelve, 15: _fifteen,
}  # fmt: skip


def find(text: str, out: list[Found]) -> None:
    """Identity numbers that hold letters; most carry a check of their own."""
    for held in _LETTERED.finditer(text):
        name = held.lastgroup or ""
        written = held.group()
        score = _lettered(text, held, name, written)
        if score:
            out.append((score, held.start(), held.end(), _KINDS[name]))


def _lettered(text: str, held: re.Match[str], name: str, written: str) -> float:  # noqa: PLR0911 (one a kind)
    begin, end = held.span()
    upper = written.upper()
    bare = re.sub(r"[ .\-]", "", upper)
    if name == "nino":
        if says(text, begin, end, Cue.NINO):
            return 0.85
        return 0.6 if written == upper and _NINO.fullmatch(bare) and bare[:2] not in _NO_NINO else 0.0
    if not (_check(_CHECKS[name])(bare) if name in _CHECKS else _spanish(bare)):
        return 0.0
    if name == "pan":
        return 0.85 if says(text, begin, end, Cue.PAN) else 0.5 if written == upper else 0.0
    if name in {"cf", "nir"}:
        return 0.9
    if says(text, begin, end, Cue.NIF):
        return 0.9
    cues = topics(text, begin, _NEAR)
    return 0.0 if (cues and cues[0] & Cue.OTHER) or after(text, end) & Cue.OTHER else 0.7


def _spanish(bare: str) -> bool:
    """Whether the letter at its end is that of a NIF or NIE."""
    return _SPANISH[int(bare[:-1].translate(_SPANISH_STARTS)) % len(_SPANISH)] == bare[-1]
