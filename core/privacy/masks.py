"""Masks: a value with most of its characters covered, so that people can still tell which one is meant.

A mask that counts covers nothing: what is short, what opens something and what the length would tell of is
covered whole.
"""

from __future__ import annotations

import re
import string

from core.privacy.kinds import KINDS, Group

COVER = "•"
SHOWN = 4
LEAST_DIGITS = 8
# A domain of more digits may be a number itself.
_MOST_IN_A_DOMAIN = 5
_WHOLE = COVER * 8
# Kinds people tell apart by their last digits.
_NUMBERS = {"PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_BANK_NUMBER"} | {
    name
    for name, kind in KINDS.items()
    if kind.group is Group.IDENTITY and name not in {"PERSON", "DATE_OF_BIRTH"}
}
_SEPARATORS = re.escape(f"{string.punctuation}{string.whitespace}\u00a0\u202f–—‑·")
_OPEN = re.compile(rf"[^{_SEPARATORS}]")
_OPEN_LETTER = re.compile(rf"[^{_SEPARATORS}\d]")
_DIGIT = re.compile(r"\d")
_LENGTH_TELLS = {"URL", "SECRET", "CRYPTO", "DENIED"}


def masked(kind: str, value: str) -> str:
    """A card as `•••• •••• •••• 1111`, an e-mail as `j••@example.com`, a name as `•••• •••••`."""
    if kind == "EMAIL_ADDRESS" and value.count("@") == 1:
        return _email(value)
    if kind in _LENGTH_TELLS:
        return _WHOLE
    digits = len(_DIGIT.findall(value))
    shown = SHOWN if kind in _NUMBERS and digits >= LEAST_DIGITS else 0
    covered = _covered(value, digits - shown)
    return covered if COVER in covered else _WHOLE


def _email(value: str) -> str:
    name, domain = value.split("@")
    if len(_DIGIT.findall(domain)) > _MOST_IN_A_DOMAIN:
        return _WHOLE
    first = name[:1] if len(name) > 1 and name[:1].isalnum() else COVER
    return f"{first}{COVER * 2}@{domain}"


def _covered(value: str, hidden: int) -> str:
    """Everything covered but what separates, and the digits beyond these."""
    if hidden >= len(_DIGIT.findall(value)):
        return _OPEN.sub(COVER, value)
    digits = _DIGIT.finditer(value)
    shown = next((digit.start() for place, digit in enumerate(digits) if place == hidden), len(value))
    return _OPEN.sub(COVER, value[:shown]) + _OPEN_LETTER.sub(COVER, value[shown:])
