"""Payment cards: the number ranges of the issuers (ISO/IEC 7812) and the Luhn digit."""

from __future__ import annotations

import re

from core.privacy.context import Cue

SHORTEST = 12
LONGEST = 19
_SURE = 14
# Issuer and length; beside a word for a card the check digit suffices.
_ISSUED = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}|[0-9]{6})?"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-59]|[689][0-9])[0-9]{11,16}"  # Diners Club
    r"|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12,15}"  # Discover
    r"|35[0-9]{14}(?:[0-9]{3})?"  # JCB
    r"|(?:1800|2131)[0-9]{11}"  # JCB, the old range
    r"|62[0-9]{14,17}|81[0-9]{14,17}"  # UnionPay
    r"|(?:50[0-9]{2}|5[6-8][0-9]{2}|6[0-9]{3})[0-9]{8,15}"  # Maestro, RuPay
    r"|220[0-4][0-9]{12,15}"  # Mir
    r"|9792[0-9]{12}"  # Troy
    r"|(?:60400100|60420[01][0-9]{2})[0-9]{8}"  # UkrCard, Naranja
)
_ZERO = ord("0")
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check of the others."""
    codes = digits.encode()
    total = sum(codes[-1::-2]) + sum(codes[-2::-2].translate(_DOUBLED))
    return (total - _ZERO * len(codes)) % 10 == 0


def valid(digits: str, cues: list[int], behind: int) -> bool:
    """Whether this is the number of a card that may exist, or one that is called so."""
    size = len(digits)
    if not SHORTEST <= size <= LONGEST or not luhn(digits) or len(set(digits)) == 1:
        return False
    if behind & Cue.LINKED and behind & Cue.CARD:
        return True
    nearest = next((cue for cue in cues if cue != Cue.NUMBER), behind)
    if nearest & Cue.CARD:
        return True
    # An account has any number of digits, a card that nobody names has these.
    if size < _SURE or (nearest & Cue.BANK and size not in {15, 16}):
        return False
    return _ISSUED.fullmatch(digits) is not None
