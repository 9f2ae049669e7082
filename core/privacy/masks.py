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
_SEPARATORS = frozenset(f"{string.punctuation}{string.whitespace}\u00a0\u202f–—‑·")
_DIGIT = re.compile(r"\d")


_HOLE = "\0"  # what is covered, as long as it is bytes


class _Covering(dict[int, str]):
    """What covers each character: nothing covers what separates, nor digits where they are shown.

    `plain` is the same for ASCII, as bytes: most values are, and are covered so at a third of the cost.
    """

    def __init__(self, *, digits: bool) -> None:
        super().__init__()
        self.digits = digits
        plain = "".join(self[code] for code in range(128)).replace(COVER, _HOLE)
        self.plain = plain.encode().ljust(256, b"?")

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        stays = letter in _SEPARATORS or not (self.digits or _DIGIT.match(letter) is None)
        return letter if stays else COVER


_ALL, _LETTERS = _Covering(digits=True), _Covering(digits=False)
_NO_DIGITS = bytes(code for code in range(128) if not chr(code).isdigit())
_LENGTH_TELLS = {"URL", "SECRET", "CRYPTO", "DENIED"}


def masked(kind: str, value: str) -> str:
    """A card as `•••• •••• •••• 1111`, an e-mail as `j••@example.com`, a name as `•••• •••••`."""
    if kind == "EMAIL_ADDRESS" and value.count("@") == 1:
        return _email(value)
    if kind in _LENGTH_TELLS:
        return _WHOLE
    if value.isascii():
        return _plain(kind, value.encode())
    digits = [digit.start() for digit in _DIGIT.finditer(value)] if kind in _NUMBERS else ()
    if len(digits) >= LEAST_DIGITS:
        shown = digits[-SHOWN]
        covered = value[:shown].translate(_ALL) + value[shown:].translate(_LETTERS)
    else:
        covered = value.translate(_ALL)
    return covered if COVER in covered else _WHOLE


def _plain(kind: str, value: bytes) -> str:
    """The same of ASCII."""
    if kind in _NUMBERS and len(value.translate(None, _NO_DIGITS)) >= LEAST_DIGITS:
        shown = len(value) - SHOWN
        while len(value[shown:].translate(None, _NO_DIGITS)) < SHOWN:
            shown -= 1
        covered = value[:shown].translate(_ALL.plain) + value[shown:].translate(_LETTERS.plain)
    else:
        covered = value.translate(_ALL.plain)
    written = covered.decode().replace(_HOLE, COVER)
    return written if COVER in written else _WHOLE


def _email(value: str) -> str:
    name, domain = value.split("@")
    if len(_DIGIT.findall(domain)) > _MOST_IN_A_DOMAIN:
        return _WHOLE
    first = name[:1] if len(name) > 1 and name[:1].isalnum() else COVER
    return f"{first}{COVER * 2}@{domain}"
